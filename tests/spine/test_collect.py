"""How `collect` begins and ends: signals, bounds, no ingest, two devices, and mistakes in device files."""

import re
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.spine.commands import Site, sim, wait_for

LIVE: dict[str, Any] = {"sim": sim(pace=1.0)}


def test_interrupt_seals_and_delivers(site: Site) -> None:
    _, port = site.ingest()
    device = site.device("rig-1", LIVE, port, trigger={"kind": "interval", "length_s": 600})
    agent = site.start("collect", device, "--local")
    wait_for(lambda: any(file.stat().st_size > 30_000 for file in site.spooled("rig-1")), "some frames on disk")
    agent.interrupt()
    assert "0 waiting" in agent.out
    (episode,) = site.json("query", "store")
    assert episode["reason"] == "truncated"
    for account in episode["account"].values():
        assert account["captured"] == account["stored"] > 0


def test_second_interrupt_does_not_wait_for_delivery(site: Site) -> None:
    device = site.device("rig-1", LIVE, 1)
    agent = site.start("collect", device, "--local", "--drain", 60)
    wait_for(lambda: len(site.spooled("rig-1")) >= 2, "two episodes")
    agent.signal(signal.SIGINT)
    wait_for(lambda: all_sealed(site), "what is open to be sealed")
    assert agent.running  # it waits for an ingest that is not there
    agent.interrupt(expect=1)
    assert "no ingest answered at tcp://127.0.0.1:1" in agent.err
    assert "pending" in site.run("spool", "spool-rig-1").out


def all_sealed(site: Site) -> bool:
    listed = site.peer("spool_peer.py", *site.spooled("rig-1"))
    return bool(listed) and all(copy["sealed"] for copy in listed)


def test_bounds(site: Site) -> None:
    _, port = site.ingest()
    site.run("collect", site.device("rig-1", LIVE, port), "--local", "--seconds", 1.5)
    site.run("collect", site.device("rig-2", {"sim": sim()}, port), "--local", "--episodes", 3)
    assert 1 <= len(site.json("query", "store", "--where", "device = 'rig-1'")) <= 3
    three = site.json("query", "store", "--where", "device = 'rig-2'", "--order-by", "start_ns")
    assert [(e["start_ns"], e["reason"]) for e in three] == [(n * 10**9, "complete") for n in range(3)]
    for episode in three:  # not one sample more or less than the interval has
        assert {name: s["rows"] for name, s in episode["streams"].items()} == {"sim.cam": 20, "sim.imu": 100}


@pytest.mark.slow
def test_two_devices_at_once(site: Site) -> None:
    ingest, port = site.ingest()
    agents = [
        site.start("collect", site.device(name, {"sim": sim(seed=n, duration_s=4.0)}, port), "--local")
        for n, name in enumerate(("rig-1", "rig-2"))
    ]
    for agent in agents:
        agent.wait()
    ledgers = site.json("ledger", "store")
    assert [(each["device"], each["begun"], each["committed"]) for each in ledgers] == [
        ("rig-1", 4, 4),
        ("rig-2", 4, 4),
    ]
    assert [each["device"] for each in site.json("ledger", "store", "--device", "rig-2")] == ["rig-2"]
    ingest.interrupt()


def test_nobody_there(site: Site) -> None:
    device = site.device("rig-1", {"sim": sim(duration_s=1.0)}, 1)
    says = ("1 episode", "no ingest answered at tcp://127.0.0.1:1", "next `sensorium collect` delivers")
    site.refused("collect", device, "--local", "--drain", 0.5, expect=1, says=says)
    assert len(site.spooled("rig-1")) == 1


def test_mistakes_in_a_device_file(site: Site) -> None:
    path = site.folder / "rig.yaml"
    path.write_text("""
device: rig 1
ingest: {url: "http://somewhere", sever_key: x}
spool: {path: spool, max_byte: 1GB, when_full: drop}
sensors: {cam: {kind: sim-planer}, sim: {kind: sim-planar, camera_hz: fast}}
trigger: {kind: intervall, length_s: 1}
missions: {name: kitchen}
""")
    command = site.run("collect", path, "--local", expect=2)
    lines = command.err.splitlines()
    for place, says in {
        "device: ": "rig 1",
        "ingest.url: ": "tcp://HOST:PORT",
        "ingest.sever_key: ": "server_key",
        "spool.max_byte: ": "max_bytes",
        "spool.when_full: ": "'block' or 'evict'",
        "sensors.cam: ": "sim-planar",
        "sensors.sim.camera_hz: ": "number",
        "trigger: ": "interval",
        "missions: ": "mission",
    }.items():
        found = [line for line in lines if re.search(rf"{path}: line [2-7]: {place}", line)]
        assert len(found) == 1, (place, lines)
        assert says in found[0], found[0]
    assert len(lines) == 9, lines
    assert not (site.folder / "spool").exists()


def test_what_cannot_begin(site: Site) -> None:
    absent = site.folder / "absent.yaml"
    site.refused("collect", absent, expect=2, says=("absent.yaml", "No such file"))
    absent.write_text("device: [")
    site.refused("collect", absent, expect=2, says=("absent.yaml", "not YAML"))
    device = site.device("rig-1", {"rig": {"kind": "replay-euroc", "path": "nowhere/mav0"}}, 1)
    site.refused("collect", device, "--local", expect=2, says=("nowhere/mav0", "no such folder", "path"))
    mixed = site.device("rig-1", {"sim": sim(), "rig": {"kind": "replay-csv", "path": "x.csv"}}, 1)
    assert site.run("collect", mixed, "--local", expect=2).err.startswith("sensorium: device file")
    busy = site.device("rig-2", {"sim": sim(duration_s=0)}, spool={"path": "a-file"})
    Path(site.folder / "a-file").write_text("")
    site.refused("collect", busy, "--local", expect=1, says=("a-file", "spool.path"))
    site.refused("collect", busy, "--local", "--set", "spool.path", expect=2, says=("--set spool.path", "a.b=c"))
