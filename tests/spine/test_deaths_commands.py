"""A thread dies in a process of `collect` or `ingest`: one line says why, the exit status is 1, the data is whole."""

import re
import subprocess
import threading
from pathlib import Path

import psutil
import pytest
import ray

from sensorium.hosting import on_ray
from tests.spine.commands import Site, sim
from tests.spine.killing import injected, kills

INJECTION = """
import threading
from {module} import {owner}
real = {owner}.{method}
def call(*args, **more):
    if threading.current_thread().name.startswith({thread!r}):
        raise KeyError("injected")
    return real(*args, **more)
{owner}.{method} = call
"""


class Inject:
    """Has processes that are started from now on fail in one method, in one thread."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self._folder, self._patch = folder, patch

    def __call__(self, where: str, method: str, thread: str) -> None:
        module, _, owner = where.rpartition(".")
        text = INJECTION.format(module=module, owner=owner, method=method, thread=thread)
        self._folder.mkdir()
        (self._folder / "sitecustomize.py").write_text(text)
        self._patch.setenv("PYTHONPATH", str(self._folder))

    def end(self) -> None:
        """From now on they are as they are, also those that one which runs starts."""
        self._patch.delenv("PYTHONPATH")
        (self._folder / "sitecustomize.py").unlink()


@pytest.fixture
def inject(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Inject:
    return Inject(tmp_path / "injected", monkeypatch)


def is_actor_of(process: psutil.Process, driver: int) -> bool:
    """Whether it is a Ray worker that runs an ingest for the process `driver`."""
    try:
        return "IngestActor" in " ".join(process.cmdline()) and driver in [each.pid for each in process.parents()]
    except psutil.Error:
        return False


def balanced(printed: str) -> dict[str, dict[str, int]]:
    """The totals that `collect` printed, by stream, each of which balances."""
    found = {}
    for stream, line in re.findall(r"^  (\S+): (captured .*)$", printed, re.MULTILINE):
        said = re.findall(r"(captured|stored) (\d+)|(\d+) (filtered by \S+|lost \(\S+\))", line)
        counts = {(name or fate): int(n or m) for name, n, m, fate in said}
        assert counts["captured"] == sum(counts.values()) - counts["captured"], line
        found[stream] = counts
    return found


@kills("spool-sync")
def test_collect_says_why_and_exits_1(site: Site, inject: Inject) -> None:
    made = site.device("rig-1", {"sim": sim(pace=1.0)})
    inject("sensorium.agents.spool.episode_file.EpisodeFile", "sync", "spool-sync")
    says = ("thread spool-sync, which puts the spool on disk, died of KeyError: 'injected'", "start again")
    command = site.run("collect", made, "--local", expect=1)
    (line,) = [line for line in command.err.splitlines() if line.startswith("sensorium: ")]
    assert all(part in line for part in says)
    totals = balanced(command.out)
    copies = site.peer("spool_peer.py", *site.spooled("rig-1"))
    assert copies
    assert all(copy["sealed"] for copy in copies), "what was recorded is whole"
    assert totals["sim.imu"]["stored"] == sum(copy["rows"]["sim.imu"] for copy in copies)


@kills("read-")
def test_a_driver_that_raises_is_said_and_exits_1(site: Site, inject: Inject) -> None:
    _, port = site.ingest()
    sensors = {"bad": sim(imu_hz=10), "good": sim(duration_s=3.0, seed=2)}
    made = site.device("rig-1", sensors, port)
    inject("sensorium.drivers.pacing.Timed", "read", "read-bad")
    says = ("sensor 'bad' failed: KeyError: 'injected'", "from others, is recorded")
    command = site.run("collect", made, "--local", expect=1)
    (line,) = [line for line in command.err.splitlines() if line.startswith("sensorium: ")]
    assert all(part in line for part in says)
    assert balanced(command.out)["good.cam"] == {"captured": 60, "stored": 60}
    episodes = site.json("query", "store")
    assert len(episodes) == 3, "what the other delivered is recorded, and in the store"
    assert all(episode["streams"]["good.cam"]["rows"] == 20 for episode in episodes)


@kills("sensorium-control")
def test_ingest_says_why_and_exits_1(site: Site, inject: Inject) -> None:
    site.run("collect", site.device("rig-1", {"sim": sim(duration_s=3.0)}), "--local")
    inject("sensorium.ingest.pumps.ControlPump", "_receive", "sensorium-control")
    failing = site.start("ingest", "--store", "store", "--listen", "tcp://127.0.0.1:0")
    failing.wait(expect=1)
    lines = [line for line in failing.err.splitlines() if line.startswith("sensorium: ")]
    assert len(lines) == 1, failing.err
    assert "thread sensorium-control, which answers devices, died of KeyError: 'injected'" in lines[0]
    inject.end()
    _, port = site.ingest()
    site.run("collect", site.device("rig-1", {"sim": sim(duration_s=1.0)}, port), "--local")
    assert len(site.json("query", "store")) == 4
    assert site.json("verify", "store", "--deep") == []


def test_an_ingest_whose_thread_dies_in_the_end_exits_1(site: Site, inject: Inject) -> None:
    inject("zmq.sugar.socket.Socket", "disable_monitor", "sensorium-control")
    failing, _ = site.ingest()
    failing.interrupt(expect=1)
    lines = [line for line in failing.err.splitlines() if line.startswith("sensorium: ")]
    assert len(lines) == 1, failing.err
    assert "thread sensorium-control, which answers devices, died of KeyError: 'injected'" in lines[0]


@pytest.mark.slow  # it starts Ray
@pytest.mark.timeout(240)
def test_ingest_under_ray_that_cannot_begin_says_why_and_exits_1(site: Site, inject: Inject) -> None:
    inject("sensorium.ingest.server.Ingest", "start", "ingest")
    failing = site.start("ingest", "--store", "store", "--listen", "tcp://127.0.0.1:0", "--ray")
    failing.wait(expect=1, timeout_s=120.0)
    lines = [line for line in failing.err.splitlines() if line.startswith("sensorium: ")]
    assert len(lines) == 1, failing.err
    assert "thread ingest, which receives episodes, died of KeyError: 'injected'" in lines[0]


@pytest.mark.slow  # it starts Ray
@pytest.mark.timeout(240)
def test_a_thread_that_dies_under_ray_once_the_ingest_was_up_is_said_and_ray_starts_it_again(
    site: Site, inject: Inject
) -> None:
    inject("sensorium.ingest.pumps.ControlPump", "_receive", "sensorium-control")
    ingest = site.start("ingest", "--store", "store", "--listen", "tcp://127.0.0.1:0", "--ray")
    first = ingest.until(r"ready tcp://127\.0\.0\.1:(\d+)\n", 120.0)[1]
    ingest.until("the ingest's actor died, and Ray has started it again", 120.0)
    assert "thread sensorium-control, which answers devices, died of KeyError: 'injected'" in ingest.err
    inject.end()
    ingest.until(rf"ready tcp://127\.0\.0\.1:(?!{first}\n)(\d+)\n", 120.0)
    ingest.interrupt()


@pytest.mark.slow  # it starts Ray
@pytest.mark.timeout(240)
def test_an_actor_that_is_killed_is_said_and_started_again(site: Site) -> None:
    ingest = site.start("ingest", "--store", "store", "--listen", "tcp://127.0.0.1:0", "--ray")
    first = ingest.until(r"ready tcp://127\.0\.0\.1:(\d+)\n", 120.0)[1]
    actors = [each for each in psutil.process_iter() if is_actor_of(each, ingest.process.pid)]
    assert len(actors) == 1
    actors[0].kill()
    ingest.until("the ingest's actor died, and Ray has started it again", 60.0)
    ingest.until(rf"ready tcp://127\.0\.0\.1:(?!{first}\n)(\d+)\n", 60.0)
    ingest.interrupt()


@kills("ray-end")
def test_ray_that_cannot_be_left_is_left_behind(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(ray, "shutdown", injected)
    on_ray.end_ray()
    assert "thread ray-end, which leaves Ray, died of KeyError: 'injected'" in caplog.text
    released = threading.Event()
    monkeypatch.setattr(ray, "shutdown", released.wait)
    monkeypatch.setattr(on_ray, "HURRY_S", 0.1)
    on_ray.end_ray(hurry=True)
    released.set()
    assert "thread ray-end, which leaves Ray, did not end in time; it is left behind" in caplog.text


def test_ray_that_is_left_in_a_hurry_is_not_left_behind(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It ends once its daemons have, which takes longer than a hurry."""
    reaper = subprocess.Popen(["/bin/sh", "-c", "cat; sleep 4"], stdin=subprocess.PIPE)
    monkeypatch.setattr(on_ray, "_reapers", [reaper])
    monkeypatch.setattr(ray, "shutdown", reaper.wait)
    on_ray.end_ray(hurry=True)
    assert not caplog.records
    assert reaper.returncode == 0
