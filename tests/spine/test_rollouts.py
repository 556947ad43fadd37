"""`sensorium rollouts` as processes that are killed: a campaign goes on where it was, and counts no rollout twice."""

import contextlib
import math
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

import sensorium
from sensorium.corpus.beside import read_beside
from sensorium.corpus.episode import Episode
from sensorium.errors import StoreError
from sensorium.sim.rollouts.plan import ADVANTAGES
from tests.sim.rollouts.building import ACTS, document
from tests.spine import lock_world
from tests.spine.commands import Command, Site, wait_for

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _verifiers_of_tests_are_found(site: Site) -> None:
    site.environment["PYTHONPATH"] = str(ROOT)


def write(site: Site, **more: Any) -> Path:
    path = site.folder / "task.yaml"
    path.write_text(yaml.safe_dump(document(**more)))
    return path


def committed(site: Site) -> int:
    with contextlib.suppress(StoreError):  # it is being made
        return len(sensorium.open(site.folder / "store").query("mission = 'carts'"))
    return 0


def start(site: Site, task: Path, *options: str) -> Command:
    return site.start("rollouts", task, *options)


def when(holds: Callable[[], bool], command: Command, what: str, timeout_s: float = 90) -> None:
    def running() -> bool:
        assert command.running, f"it ended before {what}:\n{command.out}\n{command.err}"
        return holds()

    wait_for(running, what, timeout_s)


def check_whole(site: Site, planned: int) -> dict[str, Any]:
    """Each of the planned is counted once, with its advantage; every ordinal and sample has its fate; its report."""
    store = site.folder / "store"
    corpus = sensorium.open(store)
    (report,) = site.json("rollouts", "report", store)
    (campaign,) = report["campaigns"]
    assert campaign["ended"]
    assert [campaign[name] for name in ("counted", "planned", "given_up", "gone")] == [planned, planned, 0, 0]
    records = [each.record for each in read_beside(store, ADVANTAGES) if each.record]
    slots: dict[tuple[int, int], set[str]] = {}
    for record in records:
        slots.setdefault((record["group"], record["index"]), set()).add(record["episode"])
    assert len(slots) == planned
    assert all(len(episodes) == 1 for episodes in slots.values()), "counted twice"
    episodes = {episode.id: episode for episode in corpus.query("mission = 'carts'")}
    for (group, index), (episode,) in slots.items():
        labels = episodes[episode].labels
        assert (labels["group"], labels["index"]) == (group, index)
        assert episodes[episode].row["reason"] == "complete"
    assert len(episodes) == planned + campaign["uncounted"]
    attempts = {tuple(each.labels[name] for name in ("group", "index", "attempt")) for each in episodes.values()}
    assert len(attempts) == len(episodes), "two attempts have one number"
    for ledger in corpus.ledger():
        assert ledger.pending == 0
        assert ledger.committed + sum(ledger.discarded.values()) == ledger.next_ordinal
    for row in corpus.records():
        for account in row["account"].values():
            assert account["captured"] == account["stored"] + sum(account["filtered"].values()) + sum(
                account["lost"].values()
            )
    assert not list(store.glob("quarantine/*"))
    site.run("verify", store)
    return dict(report)


@pytest.mark.slow
def test_killed_twice_it_goes_on(site: Site) -> None:
    task = write(site, group=20, policies=["scripted", "random"])
    command = start(site, task, "--local")
    when(lambda: committed(site) >= 7, command, "7 rollouts")
    command.kill()
    command = start(site, task, "--local")
    when(lambda: committed(site) >= 22, command, "22 rollouts")
    command.kill()
    site.run("rollouts", task, "--local")
    assert "40 of 40 rollouts" in site.run("rollouts", task, "--local").out
    report = check_whole(site, 40)
    assert [cell["n"] for cell in report["cells"]] == [20, 20]


@pytest.mark.slow
def test_an_ingest_that_is_killed_is_waited_for(site: Site) -> None:
    ingest, port = site.ingest()
    task = write(site, group=30, ingest={"url": f"tcp://127.0.0.1:{port}"})
    command = start(site, task, "--local")
    when(lambda: committed(site) >= 10, command, "10 rollouts")
    ingest.kill()
    site.ingest(port=port)
    command.wait(timeout_s=90)
    check_whole(site, 30)


def test_a_signal_ends_it_within_seconds_and_it_goes_on(site: Site) -> None:
    worlds = {"slow": {"kind": "sim-cart", "limit_s": 3600.0}}
    task = write(site, worlds=worlds, tasks={"balance": {"world": "slow", "task": "balance", "steps": 3000}}, group=200)
    command = start(site, task, "--local")
    when(lambda: committed(site) >= 2, command, "2 rollouts")
    command.signal(signal.SIGTERM)
    command.wait(expect=130, timeout_s=20)
    assert "goes on" in command.out
    (report,) = site.json("rollouts", "report", site.folder / "store")
    assert not report["campaigns"][0]["ended"]


def test_wrong_use_is_one_line(site: Site) -> None:
    task = write(site, policies=["nowhere:act"])
    site.refused("rollouts", task, "--local", expect=2, says=("task.yaml", "nowhere:act", "ModuleNotFoundError"))
    site.refused("rollouts", "report", site.folder, expect=1, says=("not a store",))
    assert "report" in site.run("rollouts", "--help").out


def workers(command: Command) -> list[psutil.Process]:
    """The processes of Ray that make rollouts."""
    found = []
    for child in psutil.Process(command.process.pid).children(recursive=True):
        try:
            if "WorkerActor" in " ".join(child.cmdline()):
                found.append(child)
        except psutil.Error:
            continue
    return found


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_workers_and_ingest_that_are_killed_under_ray_are_started_again(site: Site) -> None:
    worlds = {"calm": {"kind": "sim-cart", "limit_s": 4.0}}
    task = write(site, worlds=worlds, group=300, workers=2)
    command = start(site, task)
    when(lambda: committed(site) >= 20, command, "20 rollouts")
    for process in workers(command):
        process.kill()
    when(lambda: committed(site) >= 100, command, "100 rollouts")
    for child in psutil.Process(command.process.pid).children(recursive=True):
        if "IngestActor" in " ".join(child.cmdline()):
            child.kill()
    command.wait(timeout_s=300)
    check_whole(site, 300)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_policy_that_keeps_pythons_lock_costs_its_rollouts_and_the_campaign_goes_on(site: Site) -> None:
    """Its worker cannot even say so: that process is ended, and started again."""
    policies = {"scripted": "scripted", "stuck": f"{ACTS}:keeps_the_lock"}
    task = write(site, policies=policies, group=2, workers=2, attempts=2, policy_timeout_s=5.0, world_timeout_s=5.0)
    command = start(site, task)
    command.wait(expect=1, timeout_s=360)
    assert "did not answer for 15 s" in command.err
    (report,) = site.json("rollouts", "report", site.folder / "store")
    scripted, stuck = report["cells"]
    assert (scripted["n"], scripted["given_up"]) == (2, 0)
    assert (stuck["n"], stuck["given_up"]) == (0, 2)
    assert stuck["why_given_up"] == [
        "its process did not answer for 15 s, as where a call keeps Python's lock, and was ended"
    ]


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_world_that_keeps_pythons_lock_costs_its_rollouts_and_the_campaign_goes_on(site: Site) -> None:
    """Wherever it does: in its reset, in a step, or where it is asked what it would do."""
    site.environment["PYTHONPATH"] = os.pathsep.join((str(lock_world.install(site.folder)), str(ROOT)))
    stuck = {at: {"kind": "sim-lock", "limit_s": 0.3, "at": at} for at in ("reset", "step", "scripted")}
    worlds = {"calm": {"kind": "sim-lock", "limit_s": 0.3}, **stuck}
    tasks = {world: {"world": world} for world in worlds}
    task = write(
        site, worlds=worlds, tasks=tasks, group=1, workers=2, attempts=2, policy_timeout_s=2.0, world_timeout_s=2.0
    )
    command = start(site, task)
    command.wait(expect=1, timeout_s=360)
    assert "did not answer for 12 s" in command.err
    (report,) = site.json("rollouts", "report", site.folder / "store")
    calm, *others = report["cells"]
    assert (calm["n"], calm["given_up"], calm["failed_by_us"]) == (1, 0, 0)
    assert {cell["task"] for cell in others} == set(stuck)
    for cell in others:
        assert (cell["n"], cell["given_up"], cell["failed_by_policy"]) == (0, 1, 0)
        assert cell["why_given_up"] == [
            "its process did not answer for 12 s, as where a call keeps Python's lock, and was ended"
        ]


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_world_that_keeps_it_while_a_worker_imports_it_costs_its_rollouts(site: Site) -> None:
    """A worker has answered before it imports a world, and is ended as where it keeps the lock later."""
    site.environment["PYTHONPATH"] = os.pathsep.join((str(lock_world.install(site.folder)), str(ROOT)))
    site.environment["LOCK_WORLD"] = "import"
    worlds = {"calm": {"kind": "sim-cart", "limit_s": 0.3}, "stuck": {"kind": "sim-lock", "limit_s": 0.3}}
    tasks = {world: {"world": world} for world in worlds}
    task = write(
        site, worlds=worlds, tasks=tasks, group=2, workers=2, attempts=2, policy_timeout_s=2.0, world_timeout_s=2.0
    )
    command = start(site, task)
    command.wait(expect=1, timeout_s=360)
    (report,) = site.json("rollouts", "report", site.folder / "store")
    cells = {cell["task"]: cell for cell in report["cells"]}
    assert (cells["calm"]["n"], cells["calm"]["given_up"]) == (2, 0)
    assert (cells["stuck"]["n"], cells["stuck"]["given_up"], cells["stuck"]["failed_by_policy"]) == (0, 2, 0)
    assert cells["stuck"]["why_given_up"] == [
        "its process did not answer for 12 s, as where a call keeps Python's lock, and was ended"
    ]


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("options", [(), ("--local",)])
def test_a_world_that_keeps_it_where_it_is_made_to_be_checked_ends_the_command(
    site: Site, options: tuple[str, ...]
) -> None:
    """Nothing of Python runs in it: that is said by a process of its own."""
    site.environment["PYTHONPATH"] = os.pathsep.join((str(lock_world.install(site.folder)), str(ROOT)))
    task = write(site, worlds={"calm": {"kind": "sim-lock", "at": "make"}})
    command = start(site, task, *options)
    command.wait(expect=-signal.SIGKILL, timeout_s=360)
    wait_for(lambda: "task.yaml: nothing of Python ran for 70 s" in command.err, "what it says")
    assert "lock_world.py" in command.err


@contextlib.contextmanager
def ray_head(site: Site) -> Iterator[str]:
    """The address of a Ray of one node that somebody else started, and that lets everybody in."""
    site.environment["RAY_AUTH_MODE"] = "disabled"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    temporary = tempfile.mkdtemp(prefix="ray-")  # its sockets have names of a hundred letters at most
    asked = f"start --head --block --port={address.rpartition(':')[2]} --node-ip-address=127.0.0.1 --num-cpus=2"
    asked += f" --include-dashboard=false --disable-usage-stats --object-store-memory=80000000 --temp-dir={temporary}"
    head = subprocess.Popen(
        [Path(sys.executable).with_name("ray"), *asked.split()],
        env=os.environ | site.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_for(lambda: _listens(address), "Ray", 90)
        yield address
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(head.pid, signal.SIGKILL)
        head.wait()
        shutil.rmtree(temporary, ignore_errors=True)


def _listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 1.0):
        return True
    return False


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_workers_of_a_cluster_that_is_joined_make_rollouts_and_the_cluster_stays(site: Site) -> None:
    task = write(site, group=8, workers=2)
    with ray_head(site) as address:
        start(site, task, "--ray", address).wait(timeout_s=180)
        assert _listens(address)
    check_whole(site, 8)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_twenty_tasks_of_sixteen_with_pictures_killed_twice(site: Site) -> None:
    """Once the command, once the ingest that it delivers to."""
    planar = {"kind": "sim-planar", "camera_hz": 10, "imu_hz": 50}
    worlds = {"w0": {**planar, "size": [64, 64]}, "w1": {**planar, "size": [128, 96], "seed": 1}}
    tasks = {f"t{n}": {"world": f"w{n % 2}", "task": ("reach", "roam")[n // 2 % 2], "steps": 6 + n} for n in range(20)}
    ingest, port = site.ingest()
    url = {"url": f"tcp://127.0.0.1:{port}"}
    task = write(site, worlds=worlds, tasks=tasks, group=16, verifier=f"{ACTS}:Rewarded", ingest=url)
    command = start(site, task, "--local")
    when(lambda: committed(site) >= 90, command, "90 rollouts", 240)
    command.kill()
    command = start(site, task, "--local")
    when(lambda: committed(site) >= 200, command, "200 rollouts", 240)
    ingest.kill()
    site.ingest(port=port)
    command.wait(timeout_s=300)
    report = check_whole(site, 320)
    assert [cell["n"] for cell in report["cells"]] == [16] * 20
    recount(site, report)
    (episode, *_) = sensorium.open(site.folder / "store").query("has('world.cam')", limit=1)
    assert episode.streams["world.cam"][0:1].shape[1:3] in ((64, 64), (96, 128))


def recount(site: Site, report: dict[str, Any]) -> None:
    """The report's numbers are those of the raw rewards of the first complete attempts."""
    corpus = sensorium.open(site.folder / "store")
    first: dict[tuple[int, int], Episode] = {}
    for episode in sorted(corpus.query("mission = 'carts'"), key=lambda each: (int(each.labels["attempt"]), each.id)):
        if episode.row["reason"] == "complete":
            first.setdefault((int(episode.labels["group"]), int(episode.labels["index"])), episode)
    rewards: dict[int, list[float]] = {}
    for (group, _), episode in sorted(first.items(), key=lambda each: each[0]):
        earned = episode.streams["world.reward"]
        rewards.setdefault(group, []).append(math.fsum(earned[: len(earned.captured_ns)].ravel().tolist()))
    for cell in report["cells"]:
        (only,) = cell["groups"]
        raw = rewards[only["group"]]
        assert len(raw) == cell["n"]
        assert cell["mean"] == pytest.approx(statistics.fmean(raw))
        assert cell["deviation"] == pytest.approx(statistics.stdev(raw))
