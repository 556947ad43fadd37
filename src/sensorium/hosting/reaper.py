"""The reaper: a process of its own that ends what Ray has started, once who began it ends, or was killed.

Ray leaves some of its daemons for a minute, and where all were sent SIGTERM its own end takes ten seconds. It runs from
its file, by itself: it takes but the standard library.
"""

import contextlib
import os
import select
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path

OFTEN_S, SELDOM_S, STARTING_S = 0.5, 10.0, 30.0
PATIENCE_S, GRACE_S = 0.7, 0.7
POLL_S = 0.1
ROOTS = ("raylet", "gcs_server")

Known = tuple[int, str]
"""A process: its number, and when it began, which tells it from a later one of that number."""


def processes() -> dict[int, tuple[int, str, str]]:
    """Of every process that lives: its parent, its name, when it began."""
    found = {}
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            text = (folder / "stat").read_text(errors="replace")
            name, rest = text[text.index("(") + 1 : text.rindex(")")], text[text.rindex(")") + 2 :].split()
            if rest[0] not in "ZX":
                found[int(folder.name)] = int(rest[1]), name, rest[19]
    return found


def of_ray(parent: int) -> set[Known]:
    """What `parent` runs of Ray: the daemons that Ray starts for it, and all that those have started."""
    alive = processes()
    known = {pid for pid, (above, name, _) in alive.items() if above == parent and name in ROOTS}
    while more := {pid for pid, (above, _, _) in alive.items() if above in known} - known:
        known |= more
    return {(pid, alive[pid][2]) for pid in known}


def end(known: Iterable[Known]) -> None:
    """Wait for their end, after a while ask for it, and then see to it."""
    left = _alive(known, PATIENCE_S)
    _signal(left, signal.SIGTERM)
    _signal(_alive(left, GRACE_S), signal.SIGKILL)


def _alive(known: Iterable[Known], within_s: float) -> set[Known]:
    """Those of them that live still after so long."""
    left, deadline_s = set(known), time.monotonic() + within_s
    while left and time.monotonic() < deadline_s:
        alive = processes()
        left = {(pid, began) for pid, began in left if pid in alive and alive[pid][2] == began}
        time.sleep(POLL_S)
    return left


def _signal(known: Iterable[Known], number: int) -> None:
    for pid, _ in known:
        with contextlib.suppress(OSError):
            os.kill(pid, number)


def main() -> None:
    """Watch the process that holds the other end of standard input."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    parent, begun_s, known = os.getppid(), time.monotonic(), set[Known]()
    while True:
        known |= of_ray(parent)
        pause_s = OFTEN_S if time.monotonic() < begun_s + STARTING_S else SELDOM_S
        if select.select([sys.stdin], [], [], pause_s)[0] and not os.read(sys.stdin.fileno(), 64):
            break
    end(known)


if __name__ == "__main__":
    main()
