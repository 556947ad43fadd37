"""`collect` as it runs by default, under Ray: what it records arrives, and nothing of Ray is left when it has ended."""

import contextlib
import signal
from collections.abc import Iterator

import psutil
import pytest

import sensorium
from sensorium.agents.selection.logs import traced_logs
from sensorium.agents.selection.replay import decided_again, differing
from sensorium.hosting.on_ray import MAX_RESTARTS
from tests.spine import odd_sensor
from tests.spine.commands import Command, Site, sim, wait_for


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

    def signal(self, number: int) -> None:
        """Signal all that live, the first of them too."""
        self.look()
        for each in (self._root, *self._seen.values()):
            with contextlib.suppress(psutil.NoSuchProcess):
                each.send_signal(number)

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


PATIENT = "from sensorium.hosting import hosted; hosted.SIGNAL_S = 20.0"
"""A busy machine must not fail a test."""


def begun(site: Site, families: list[Family], *args: object) -> tuple[Command, Family]:
    """A `collect` under Ray, with no server there, that has recorded something."""
    device = site.device("rig-1", {"sim": sim(pace=1.0)}, 1)
    agent = site.start("collect", device, *args)
    family = Family(agent.process.pid)
    families.append(family)
    wait_for(lambda: (family.look(), len(site.spooled("rig-1")) >= 2)[1], "two episodes", timeout_s=90.0, every_s=0.2)
    return agent, family


@pytest.mark.slow  # it starts Ray
@pytest.mark.timeout(240)
def test_all_processes_are_told_to_end_as_systemd_does_and_what_was_open_is_sealed(
    site: Site, families: list[Family], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes less than five seconds where the machine has nothing else to do; it hung for a minute."""
    (site.folder / "patient").mkdir()
    (site.folder / "patient" / "sitecustomize.py").write_text(PATIENT)
    monkeypatch.setenv("PYTHONPATH", str(site.folder / "patient"))
    agent, family = begun(site, families)
    family.signal(signal.SIGTERM)
    agent.wait(expect=0, timeout_s=40.0)
    copies = site.peer("spool_peer.py", *site.spooled("rig-1"))
    assert all(copy["sealed"] for copy in copies)
    assert len(copies) >= 2
    wait_for(lambda: not family.look(), "what it started to end", timeout_s=10.0, every_s=0.1)


@pytest.mark.slow  # it starts Ray
@pytest.mark.timeout(240)
@pytest.mark.parametrize("as_systemd_does", [False, True])
@pytest.mark.parametrize("word", ["sleep", "hang"])
def test_a_stop_while_a_sensor_is_being_opened_ends_in_peace(
    site: Site, families: list[Family], monkeypatch: pytest.MonkeyPatch, word: str, as_systemd_does: bool
) -> None:
    packages = odd_sensor.install(site.folder)
    (packages / "sitecustomize.py").write_text(PATIENT)
    monkeypatch.setenv("PYTHONPATH", str(packages))
    site.run("collect", site.device("rig-1", {"sim": sim(duration_s=2.0)}), "--local")
    before = [path.read_bytes() for path in site.spooled("rig-1")]
    agent = site.start("collect", site.device("rig-1", {"stuck": {"kind": "odd", "lives": [[f"open:{word}"]]}}, 1))
    families.append(Family(agent.process.pid))
    agent.until("stuck is being opened", timeout_s=90.0)
    families[-1].look()
    if as_systemd_does:
        families[-1].signal(signal.SIGTERM)
    else:
        agent.signal(signal.SIGTERM)
    agent.wait(expect=0, timeout_s=40.0)
    assert "2 episodes wait in the spool" in agent.out
    assert [path.read_bytes() for path in site.spooled("rig-1")] == before
    wait_for(lambda: not families[-1].look(), "what it started to end", timeout_s=10.0, every_s=0.1)


@pytest.mark.slow  # it starts Ray
@pytest.mark.timeout(240)
def test_nothing_outlives_a_driver_process_that_was_killed(site: Site, families: list[Family]) -> None:
    """Daemons of Ray did so for a minute."""
    agent, family = begun(site, families)
    agent.kill()
    wait_for(lambda: not family.look(), "what it started to end", timeout_s=20.0, every_s=0.1)


@pytest.mark.slow  # it starts Ray
@pytest.mark.timeout(240)
def test_an_agent_whose_process_dies_again_and_again_is_given_up(
    site: Site, families: list[Family], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(odd_sensor.install(site.folder)))
    device = site.device("rig-1", {"bad": {"kind": "odd", "lives": [[30, "die"]]}})
    agent = site.start("collect", device)
    families.append(Family(agent.process.pid))
    agent.wait(expect=1, timeout_s=200.0)
    assert "the agent's actor is gone for good" in agent.err
    lives = {line for line in agent.err.splitlines() if "INFO collecting: bad" in line}
    assert 1 < len(lives) <= 1 + MAX_RESTARTS


@pytest.mark.slow  # it starts Ray
@pytest.mark.timeout(240)
def test_a_device_that_selects_under_ray_delivers_what_it_kept_and_every_decision(
    site: Site, families: list[Family]
) -> None:
    ingest, port = site.ingest()
    selecting = {"kind": "worth", "budget": {"share": 0.25}}
    device = site.device("rig-1", {"sim": sim(duration_s=12)}, port, trigger=selecting)
    agent = site.start("collect", device)
    families.append(Family(agent.process.pid))
    families[-1].look()
    agent.wait(timeout_s=120.0)
    ingest.interrupt()
    (traced,) = traced_logs(sensorium.open(site.folder / "store"))
    assert [each.unit.start_ns // 10**9 for each in traced.log.judged] == list(range(12))
    assert differing(traced.log, decided_again(traced.log)) == []
    kept_s = sum(each.duration_s for each in sensorium.open(site.folder / "store").query())
    assert kept_s == sum(each.decision.kept for each in traced.log.judged) > 0
    (ledger,) = site.json("ledger", "store")
    assert ledger["begun"] == ledger["committed"]
    assert sum(ledger["judged"].values()) == pytest.approx(12, abs=0.1)
