"""No room: the spool's quota, a full disk under the spool, a full disk under the store. Nothing good is lost."""

import contextlib
import itertools
import subprocess
from pathlib import Path
from typing import Any

import pytest

from sensorium.agents.spool.spool import Spool
from tests.agents.building import begin, commit
from tests.spine.commands import Command, Mount, Site, sim

pytestmark = pytest.mark.timeout(300)
# About 22 MB a second of simulated time, and 2 s of it.
LARGE: dict[str, Any] = {"sim": sim(size=[640, 480], color=True, camera_hz=30, imu_hz=200, duration_s=2.0)}


def everything_arrived(site: Site, agent: Command) -> None:
    """Every sample of `LARGE` is stored, none was lost or stored twice."""
    episodes = site.json("query", "store", "--order-by", "start_ns")
    stored = {"sim.cam": 0, "sim.imu": 0}
    for episode in episodes:
        for name, account in episode["account"].items():
            assert account["captured"] == account["stored"], (episode["episode"], account)
            stored[name] += account["stored"]
    assert stored == {"sim.cam": 60, "sim.imu": 400}, agent.out + agent.err
    for before, after in itertools.pairwise(episodes):
        assert before["end_ns"] <= after["start_ns"]
    assert site.json("verify", "store", "--deep") == []


def free_port(site: Site) -> int:
    ingest, port = site.ingest()
    ingest.interrupt()
    return port


def stopped(site: Site, device: Path) -> Command:
    """A `collect` that has said that capture stops; it goes on waiting."""
    agent = site.start("collect", device, "--local")
    agent.until("capture stops: .*spool")
    return agent


def test_quota(site: Site) -> None:
    port = free_port(site)
    agent = stopped(site, site.device("rig-1", LARGE, port, spool={"max_bytes": "24MB"}))
    assert sum(path.stat().st_size for path in site.spooled("rig-1")) <= 24_000_000
    site.ingest(port=port)
    agent.wait()
    assert "capture goes on" in agent.err
    everything_arrived(site, agent)


@pytest.mark.slow
def test_full_disk_under_the_spool(site: Site, mount: Mount) -> None:
    port = free_port(site)
    mount(site.folder / "small", "24m")
    agent = stopped(site, site.device("rig-1", LARGE, port, spool={"path": "small/spool"}))
    site.ingest(port=port)
    agent.wait()
    assert "capture goes on" in agent.err
    everything_arrived(site, agent)


def test_full_disk_under_the_store(site: Site, mount: Mount) -> None:
    mount(site.folder / "store", "30m")
    ingest, port = site.ingest()
    agent = site.start("collect", site.device("rig-1", LARGE, port), "--local")
    agent.until("(?i)no space|full|room")
    assert agent.running
    assert ingest.running
    subprocess.run(["mount", "-o", "remount,size=200m", str(site.folder / "store")], check=True)
    agent.wait()
    everything_arrived(site, agent)
    ingest.interrupt()


def test_a_disk_that_is_full_at_the_start(tmp_path: Path, mount: Mount) -> None:
    """What was open when the device went down on it is sealed, and can be sent: for that there is the reserve."""
    mount(tmp_path / "small", "16m")
    path = tmp_path / "small" / "spool"
    spool = Spool(path, "rig")
    for _ in range(2):
        begin(spool)
    spool.close()
    with (tmp_path / "small" / "full").open("wb", buffering=0) as full, contextlib.suppress(OSError):
        while True:
            full.write(bytes(4096))
    spool = Spool(path, "rig")
    try:
        assert [(waiting.ordinal, waiting.sealed) for waiting in spool.waiting()] == [(0, True), (1, True)]
        assert commit(spool, spool.waiting()[0].episode)
        assert spool.counts() == {"pending": 1, "committed": 1, "discarded": 0}
        (tmp_path / "small" / "full").unlink()
        assert commit(spool, spool.waiting()[0].episode)
        assert (path / "reserve").exists(), "there is room for it again"
    finally:
        spool.close()
