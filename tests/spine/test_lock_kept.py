"""Somebody's module that keeps Python's lock, or hangs, where it is imported ends a command, which says where."""

import os
import signal
from functools import partial
from pathlib import Path

import pytest

import sensorium
from tests.spine import lock_world
from tests.spine.commands import Command, Site, wait_for

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _installed(site: Site) -> None:
    site.environment["PYTHONPATH"] = os.pathsep.join((str(lock_world.install(site.folder)), str(ROOT)))


def told(command: Command, what: str) -> bool:
    return what in command.err


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_commands_that_import_it_end_and_say_where(site: Site) -> None:
    ingest, port = site.ingest()
    device = site.device("rig", {"world": {"kind": "sim-lock", "limit_s": 0.5}}, port, trigger={"kind": "source"})
    site.run("collect", device, "--local", "--episodes", "1")
    ingest.interrupt()
    (episode, *_) = sensorium.open(site.folder / "store").query()
    site.environment["LOCK_WORLD"] = "everywhere"
    commands = [
        ("sim", "list"),
        ("sim", "preview", "sim-lock", "--png", "a.png"),
        ("sim", "replay", "store", episode.id),
        ("verdicts", "store", "--verifier", "lock_world:Nothing"),
    ]
    begun = [site.start(*command) for command in commands]
    for command, running in zip(commands, begun, strict=True):
        running.wait(expect=-signal.SIGKILL, timeout_s=300)
        wait_for(partial(told, running, f"sensorium: {' '.join(command[:2])}"), "it to be said")
        assert ": nothing of Python ran for 70 s" in running.err
        assert "lock_world.py" in running.err


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("import", ("did not answer for 70 s", "it was importing")),
        ("slow", ("was not imported within 60 s by Ray's worker",)),
    ],
)
def test_an_agent_whose_worker_alone_hangs_there_is_given_up(site: Site, how: str, why: tuple[str, ...]) -> None:
    site.environment["LOCK_WORLD"] = how
    device = site.device("rig", {"world": {"kind": "sim-lock"}}, trigger={"kind": "source"})
    command = site.start("collect", device)
    command.wait(expect=1, timeout_s=360)
    (said,) = [line for line in command.err.splitlines() if line.startswith("sensorium: ")]
    assert not [part for part in why if part not in said], said


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_signal_ends_one_that_hangs_there_within_seconds(site: Site) -> None:
    site.environment["LOCK_WORLD"] = "slow"
    device = site.device("rig", {"world": {"kind": "sim-lock"}}, trigger={"kind": "source"})
    command = site.start("collect", device)
    command.until("rig: importing, ", timeout_s=120)
    command.signal(signal.SIGTERM)
    command.wait(expect=0, timeout_s=50)
