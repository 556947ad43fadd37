"""Minutes of kills and hangs of both ends: when they cease the spools drain, and every sample is accounted for."""

import os
import random
import signal
import time

import pytest

from tests.spine.commands import Site, sim

SOAK_S = float(os.environ.get("SENSORIUM_SOAK_S", "150"))
pytestmark = [pytest.mark.soak, pytest.mark.timeout(SOAK_S + 300)]


def test_two_devices_and_an_ingest_under_faults(site: Site) -> None:
    rng = random.Random(int(os.environ.get("SENSORIUM_SOAK_SEED", "1")))
    ingest, port = site.ingest()
    devices = {
        name: site.device(name, {"sim": sim(pace=1.0, seed=seed, **rates)}, port, **parts)
        for name, seed, rates, parts in (
            ("rover", 1, {"size": [640, 480], "camera_hz": 30}, {"trigger": {"kind": "interval", "length_s": 2}}),
            ("drone", 2, {"imu_hz": 400, "color": True}, {"encodings": {"sim.cam": {"codec": "jpeg"}}}),
        )
    }
    agents = {name: site.start("collect", path, "--local") for name, path in devices.items()}
    faults = dict.fromkeys(("ingest killed", "agent killed", "ingest hung", "agent hung"), 0)
    end = time.monotonic() + SOAK_S
    while time.monotonic() < end:
        time.sleep(rng.uniform(0.5, 5.0))
        fault = rng.choice(sorted(faults))
        faults[fault] += 1
        name = rng.choice(sorted(agents))
        match fault:
            case "ingest killed":
                ingest.kill()
                time.sleep(rng.uniform(0, 2))
                ingest, _ = site.ingest(port=port)
            case "agent killed":
                agents[name].kill()
                agents[name] = site.start("collect", devices[name], "--local")
            case _:
                hung = ingest if fault == "ingest hung" else agents[name]
                hung.signal(signal.SIGSTOP)
                time.sleep(rng.uniform(0, 3))
                hung.signal(signal.SIGCONT)
    time.sleep(5)
    for agent in agents.values():
        agent.interrupt()
    ingest.interrupt()

    ledgers = site.json("ledger", "store")
    assert {ledger["device"] for ledger in ledgers} == set(devices)
    for ledger in ledgers:
        discarded = ledger["discarded"]
        assert ledger["pending"] == 0
        assert ledger["begun"] == ledger["committed"] + sum(discarded.values()) > SOAK_S / 10
        assert set(discarded) <= {"lost before its first sync"}, discarded
    rows = site.json("query", "store")
    assert len(rows) == sum(ledger["committed"] for ledger in ledgers)
    for row in rows:
        for account in row["account"].values():
            lost, filtered = sum(account["lost"].values()), sum(account["filtered"].values())
            assert account["captured"] == account["stored"] + filtered + lost
    assert site.json("verify", "store", "--deep") == []
    assert all(faults.values()), faults
