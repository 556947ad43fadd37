"""Kills, hangs, bad networks, full disks and lost catalogs: when they cease, nothing that was synced is lost, twice or
altered. What is there is told by `counted_peer.py`, which is no part of Sensorium."""

import os
import random
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.spine.commands import Mount, Site, wait_for
from tests.spine.soaking.counted_source import installed
from tests.spine.soaking.rig import DEVICES, rig_on

SOAK_S = 60 * float(os.environ.get("SOAK_MINUTES", "20"))
SEED = int(os.environ.get("SOAK_SEED", "1"))
MOST_LOST_S = 0.5
IMU_HZ = 200
SLOW_PERIOD_S = 1.0
"""Of a slow stream at most one sample more is lost: it waits in memory for others to fill its chunk."""


@pytest.fixture
def counted(site: Site) -> Site:
    """A site whose commands know the driver `counted`."""
    site.environment |= installed(site.folder / "installed")
    return site


def found(site: Site, *devices: str) -> dict[str, dict[str, Any]]:
    """What the other reader says, with what the accounts say is lost, by device and stream."""
    logs = [f"{name}={name}.log" for name in devices]
    told: dict[str, dict[str, Any]] = site.peer("soaking/counted_peer.py", "store", *logs, timeout_s=1500)
    accounts = [(row["device"], row["account"]) for row in site.json("query", "store")]
    accounts += [(ledger["device"], ledger["between"]) for ledger in site.json("ledger", "store")]
    for device, streams in told.items():
        for stream, about in streams.items():
            mine = [account.get(f"eye.{stream}", {}) for name, account in accounts if name == device]
            about["counted"] = sum(sum(account.get("lost", {}).values()) for account in mine)
    return told


def nothing_is_lost(site: Site) -> None:
    for device, streams in found(site, *DEVICES).items():
        for stream, about in streams.items():
            worst_s, rest = max(about["tails"]), {key: n for key, n in about.items() if key != "tails"}
            print(f"{device} {stream}: {rest}, {worst_s:.3f} s before the worst kill")
            assert about["stored"] > 0, (device, stream, about)
            assert about["twice"] == 0, (device, stream, about)
            assert about["altered"] == 0, (device, stream, about)
            assert about["missing_elsewhere"] <= about["counted"], (device, stream, about)
    ledgers = site.json("ledger", "store")
    assert {ledger["device"] for ledger in ledgers} == set(DEVICES)
    for ledger in ledgers:
        assert ledger["pending"] == 0
        assert ledger["begun"] == ledger["committed"] + sum(ledger["discarded"].values()), ledger
        assert set(ledger["discarded"]) <= {"lost before its first sync"}, ledger
    rows = site.json("query", "store")
    assert len(rows) == sum(ledger["committed"] for ledger in ledgers)
    for row in rows:
        for account in row["account"].values():
            lost, filtered = sum(account["lost"].values()), sum(account["filtered"].values())
            assert account["captured"] == account["stored"] + filtered + lost
    assert site.json("verify", "store", "--deep") == []


def size(log: Path) -> int:
    return log.stat().st_size if log.exists() else 0


def has_grown(log: Path, enough: int) -> bool:
    return size(log) > enough


@pytest.mark.timeout(240)
def test_a_few_faults(counted: Site) -> None:
    with rig_on(counted, SEED, {}) as rig:
        faults = [
            lambda: rig.kill(rig.an_agent),
            lambda: rig.network("cut"),
            lambda: rig.kill_in_a_call(rig.ingest),
            rig.delete_catalog,
        ]
        for fault in faults:
            time.sleep(1)
            fault()
        rig.end()
    nothing_is_lost(counted)


@pytest.mark.soak
@pytest.mark.timeout(SOAK_S + 1800)
def test_minutes_of_faults(counted: Site, mount: Mount) -> None:
    small = {name: counted.folder / f"disk-{name}" for name in DEVICES} | {"store": counted.folder / "store"}
    for name, folder in small.items():
        mount(folder, "800m" if name == "store" else "64m")
    rng = random.Random(SEED)
    with rig_on(counted, SEED, small) as rig:
        end_s = time.monotonic() + SOAK_S
        while time.monotonic() < end_s:
            time.sleep(rng.uniform(0, 2))
            rig.trouble()
        rig.end()
        print(f"{rig.kills} kills, of {dict(rig.done)}")
    nothing_is_lost(counted)
    assert rig.kills >= SOAK_S / 6, rig.done


@pytest.mark.parametrize(
    "kills",
    [pytest.param(2, marks=pytest.mark.slow), pytest.param(50, marks=[pytest.mark.soak, pytest.mark.timeout(900)])],
)
def test_what_a_kill_costs(counted: Site, kills: int) -> None:
    rng = random.Random(SEED)
    _, port = counted.ingest()
    device = counted.device("rover", {"eye": {"kind": "counted", "log": "rover.log"}}, port)
    log = counted.folder / "rover.log"
    for _ in range(kills):
        enough = 5_000 + size(log)
        agent = counted.start("collect", device, "--local")
        wait_for(partial(has_grown, log, enough), "samples to come")
        time.sleep(rng.uniform(0, 2.5))
        agent.kill()
    counted.run("collect", device, "--local", "--seconds", 1)
    streams = found(counted, "rover")["rover"]
    for stream, period_s in (("cam", 0.0), ("imu", 0.0), ("slow", SLOW_PERIOD_S)):
        lost_s = sorted(streams[stream]["tails"][:kills])
        print(
            f"{stream}: of {kills} kills the worst lost {lost_s[-1]:.3f} s, the middle one {lost_s[kills // 2]:.3f} s"
        )
        assert lost_s[-1] <= MOST_LOST_S + period_s, (stream, lost_s)
    # What was only in memory is counted too, up to the last sign of life: within so much a kill.
    missing, counted = (streams["imu"][key] for key in ("missing", "counted"))
    assert missing > 0
    assert abs(counted - missing) <= kills * MOST_LOST_S * IMU_HZ, (counted, missing)
