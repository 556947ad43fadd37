"""`collect` as it runs by default, under Ray: what it records arrives, and nothing of Ray is left when it has ended."""

import signal
from collections.abc import Iterator

import psutil
import pytest

from tests.spine.commands import Site, sim, wait_for


class Family:
    """Every process that a process has started, and those in turn, whether they live or not."""

    def __init__(self, of: int) -> None:
        self._root = psutil.Process(of)
        self._seen: dict[tuple[int, float], psutil.Process] = {}

    def look(self) -> list[str]:
        """The names of those that live now."""
        for parent in (self._root, *self._seen.values()):
            try:
                for child in parent.children(recursive=True):
                    self._seen[child.pid, child.create_time()] = child
            except psutil.NoSuchProcess:
                continue
        return sorted(name for each in self._seen.values() if (name := alive(each)))

    def end(self) -> None:
        """Kill those that live."""
        self.look()
        for each in self._seen.values():
            if alive(each):
                each.kill()


def alive(process: psutil.Process) -> str:
    """Its name while it lives; a zombie does not."""
    try:
        # `is_running` knows another process that was given the same number.
        return process.name() if process.is_running() and process.status() != psutil.STATUS_ZOMBIE else ""
    except psutil.NoSuchProcess:
        return ""


@pytest.fixture
def families() -> Iterator[list[Family]]:
    """Ends what they still have when the test ends."""
    made: list[Family] = []
    yield made
    for family in made:
        family.end()


@pytest.mark.timeout(240)  # it takes half a minute; on a busy machine more than the usual bound
def test_a_live_device_under_ray_delivers_and_leaves_nothing_running(site: Site, families: list[Family]) -> None:
    ingest, port = site.ingest()
    device = site.device("rig-1", {"sim": sim(pace=1.0)}, port)
    agent = site.start("collect", device)
    family = Family(agent.process.pid)
    families.append(family)

    def two_are_committed() -> bool:
        family.look()
        assert agent.running, agent.err
        return len(site.json("query", "store")) >= 2

    wait_for(two_are_committed, "two episodes to arrive", timeout_s=90.0, every_s=0.5)
    running = family.look()
    assert any("raylet" in name for name in running), f"it does not run under Ray: {running}"
    agent.signal(signal.SIGINT)
    wait_for(lambda: (family.look(), not agent.running)[1], "it to end", timeout_s=60.0, every_s=0.1)
    agent.wait()
    assert "0 waiting" in agent.out
    wait_for(lambda: not family.look(), "what it started to end", timeout_s=10.0, every_s=0.1)

    episodes = site.json("query", "store", "--order-by", "start_ns")
    assert len(episodes) >= 3, "what was open when it was told to stop is sealed and delivered"
    stored = dict.fromkeys(["sim.cam", "sim.imu"], 0)
    for episode in episodes:  # the last is as long as the moment was, and may hold no sample of a stream
        for name, account in episode["account"].items():
            assert account["captured"] == account["stored"], "nothing is lost"
            stored[name] += account["stored"]
    assert all(stored.values())
    (ledger,) = site.json("ledger", "store")
    assert ledger["begun"] == ledger["committed"] == len(episodes)
    ingest.interrupt()
