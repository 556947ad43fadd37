"""How the command `collect` ends on signals and with sensors that are away: its exit status, and what it says."""

import contextlib
import fcntl
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.spine import odd_sensor
from tests.spine.commands import Command, Site, sim, wait_for
from tests.spine.test_deaths_commands import balanced

BOUND_S = 5.5
"""Five seconds, and what it takes to see that they are over; not counted is when others had the processors."""


@pytest.fixture
def odd(site: Site, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What stands under `sensors:` for a sensor that does as it is told."""
    monkeypatch.setenv("PYTHONPATH", str(odd_sensor.install(site.folder)))
    return lambda *lives, **more: {"kind": "odd", "lives": list(lives), **more}


def ends(command: Command, number: int, expect: int) -> None:
    """Signal it; it ends within five seconds."""
    before, kept_waiting = delays_ns(command), dict[str, int]()
    begun_s = time.monotonic()
    command.signal(number)
    while command.running and time.monotonic() < begun_s + 60.0:
        kept_waiting |= delays_ns(command)
        time.sleep(0.005)
    took_s = time.monotonic() - begun_s
    command.wait(expect, timeout_s=1.0)
    delays = [delay - before.get(thread, 0) for thread, delay in kept_waiting.items()]
    delayed_s = max(delays, default=0) / 1e9  # of one thread: those of several pass at the same time
    assert took_s - delayed_s < BOUND_S, f"{took_s:.2f} s, {delayed_s:.2f} s of them for want of a processor"


def delays_ns(command: Command) -> dict[str, int]:
    """How long each thread of a process could have run and did not, for others did."""
    found = {}
    with contextlib.suppress(OSError):  # they end meanwhile
        for thread in Path(f"/proc/{command.process.pid}/task").iterdir():
            found[thread.name] = int((thread / "schedstat").read_text().split()[1])
    return found


def sealed(site: Site, name: str = "rig-1") -> list[Any]:
    copies: list[Any] = site.peer("spool_peer.py", *site.spooled(name))
    assert all(copy["sealed"] for copy in copies)
    return copies


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_with_no_server_there_seals_and_ends(site: Site, number: int) -> None:
    device = site.device("rig-1", {"sim": sim(pace=1.0)}, 1)
    agent = site.start("collect", device, "--local")
    wait_for(lambda: len(site.spooled("rig-1")) >= 2, "two episodes")
    ends(agent, number, expect=0)
    assert len(sealed(site)) >= 2
    assert "wait in the spool; the next `sensorium collect` or `sensorium deliver` delivers what waits" in agent.out
    balanced(agent.out)


def test_a_read_that_never_returns_does_not_keep_the_process(site: Site, odd: Any) -> None:
    device = site.device("rig-1", {"stuck": odd([50, "hang"], hangs_in_close=True), "good": odd([100_000])}, 1)
    agent = site.start("collect", device, "--local")
    wait_for(lambda: len(site.spooled("rig-1")) >= 3, "more than a second")
    ends(agent, signal.SIGTERM, expect=0)
    sealed(site)
    assert balanced(agent.out)["stuck"]["lost (away)"] > 10
    assert "thread read-stuck, which reads sensor 'stuck', did not end in time; it is left behind" in agent.err


def test_a_thread_of_a_driver_that_hangs_does_not_keep_the_process(site: Site, odd: Any) -> None:
    agent = site.start("collect", site.device("rig-1", {"good": odd([100_000], hangs_in_pool=True)}, 1), "--local")
    wait_for(lambda: len(site.spooled("rig-1")) >= 2, "more than a second")
    ends(agent, signal.SIGTERM, expect=0)
    sealed(site)


@pytest.fixture
def told(site: Site) -> Iterator[Callable[[], list[bytes]]]:
    """What systemd has heard."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as listens:
        listens.bind(str(site.folder / "notify"))
        site.environment |= {"NOTIFY_SOCKET": str(site.folder / "notify"), "WATCHDOG_USEC": "3000000"}
        heard: list[bytes] = []

        def words() -> list[bytes]:
            with contextlib.suppress(BlockingIOError):
                while True:
                    heard.append(listens.recv(99))
            return heard

        yield words


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("word", ["sleep", "hang"])
def test_a_signal_while_a_sensor_is_being_opened_ends_in_peace(
    site: Site, odd: Any, told: Callable[[], list[bytes]], word: str, number: int
) -> None:
    """It has nothing to say against that sensor, and what waited before waits on."""
    site.run("collect", site.device("rig-1", {"sim": sim(duration_s=2.0)}), "--local")
    before = [path.read_bytes() for path in site.spooled("rig-1")]
    assert len(before) == 2
    told().clear()
    sensors = {"good": odd([100_000]), "stuck": odd([f"open:{word}"], clock="simulated")}
    agent = site.start("collect", site.device("rig-1", sensors, 1), "--local")
    agent.until("stuck is being opened")
    wait_for(lambda: b"WATCHDOG=1" in told(), "it to live")
    ends(agent, number, expect=0)
    assert "while sensor 'stuck' was being opened" in agent.err
    assert "2 episodes wait in the spool" in agent.out
    assert [path.read_bytes() for path in site.spooled("rig-1")] == before
    heard = [word for word in told() if word != b"WATCHDOG=1"]  # which a stop that takes its time goes on to say
    assert heard == [b"READY=1", b"STOPPING=1"]


def test_a_sensor_that_is_away_at_the_end_makes_exit_1(site: Site, odd: Any) -> None:
    sensors = {"bad": odd([30, "raise:ValueError"], ["open:raise:TypeError"]), "good": odd([100_000])}
    command = site.run("collect", site.device("rig-1", sensors), "--local", "--seconds", 2, expect=1)
    (line,) = [line for line in command.err.splitlines() if line.startswith("sensorium: ")]
    assert "sensor 'bad' is away: " in line
    assert balanced(command.out)["good"]["stored"] > 100
    sealed(site)


@pytest.mark.parametrize("lives", [(["open:raise:TypeError"],), ([30, "raise:ValueError"], ["open:raise:TypeError"])])
def test_after_a_signal_a_sensor_that_is_absent_or_away_is_said_and_no_failure(
    site: Site, odd: Any, lives: tuple[list[int | str], ...]
) -> None:
    """Nobody waits for it any more, all that came is sealed, and systemd is not told that the unit has failed."""
    sensors = {"bad": odd(*lives), "good": odd([100_000])}
    agent = site.start("collect", site.device("rig-1", sensors, 1), "--local")
    wait_for(lambda: len(site.spooled("rig-1")) >= 2, "two episodes")
    ends(agent, signal.SIGTERM, expect=0)
    sealed(site)
    assert "as it ends: sensor 'bad' is away: " in agent.err
    assert "bad is away: " in agent.out


def test_a_told_wait_holds_for_signals_too(site: Site, told: Callable[[], list[bytes]]) -> None:
    device = site.device("rig-1", {"sim": sim(pace=1.0)}, 1)
    agent = site.start("collect", device, "--local", "--drain", 1.5)
    wait_for(lambda: site.spooled("rig-1"), "an episode")
    begun_s = time.monotonic()
    agent.signal(signal.SIGTERM)
    wait_for(lambda: b"STOPPING=1" in told(), "it to say that it ends", every_s=0.001)
    assert agent.running, "it is said as it begins to"
    agent.wait(expect=1)
    assert time.monotonic() - begun_s > 1.5
    assert " in the spool: no ingest answered" in agent.err


# -- deliver -----------------------------------------------------------------------------------------------------------


def test_deliver_delivers_and_leaves_the_sensors_alone(site: Site, odd: Any) -> None:
    site.run("collect", site.device("rig-1", {"sim": sim(duration_s=3.0)}), "--local")
    assert len(sealed(site)) == 3
    device = site.device("rig-1", {"odd": odd(["open:die"])}, 1)
    says = ("3 episodes", "remain in the spool: no ingest answered at tcp://127.0.0.1:1")
    site.refused("deliver", device, "--drain", 0.5, expect=1, says=says)
    waiting = site.start("deliver", device)
    wait_for(lambda: waiting.running and lock_held(site), "it to hold the spool")
    ends(waiting, signal.SIGTERM, expect=0)
    ingest, port = site.ingest()
    command = site.run("deliver", site.device("rig-1", {"odd": odd(["open:die"])}, port))
    assert "3 committed, 0 waiting" in command.out
    assert site.spooled("rig-1") == []
    assert len(site.json("query", "store")) == 3
    ingest.interrupt()


def lock_held(site: Site) -> bool:
    with (site.folder / "spool-rig-1" / "lock").open("rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def test_deliver_says_what_is_missing(site: Site) -> None:
    site.refused("deliver", site.device("rig-1", {"sim": sim()}), expect=2, says=("names no `ingest`",))
    says = ("nothing was ever recorded there", "spool.path")
    site.refused("deliver", site.device("rig-1", {"sim": sim()}, 1), expect=1, says=says)
    assert not (site.folder / "spool-rig-1").exists()
