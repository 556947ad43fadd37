"""A guarded call: another's code is asked in a thread of its own, since no call of it need ever return."""

import threading
import time
from collections.abc import Callable
from typing import Any

from sensorium.threads import Thread, reason

POLL_S = 0.001
MOST_LETTERS = 300
"""What anybody's code says of what is wrong with it may be a page, or a megabyte."""


class GuardedCall:
    """One call at a time, in a thread that `start` gives what to run. One thread asks."""

    def __init__(self, start: Callable[[Callable[[], None]], Thread]) -> None:
        self._start = start
        self._thread: Thread | None = None

    @property
    def busy(self) -> bool:
        """Whether a call has not returned yet; no other may be made beside it."""
        return self._thread is not None and self._thread.alive

    def outcome(self, call: Callable[[], Any], within_s: float) -> Any:
        """What a call returned, or the error that it raised; None if it has not returned in time."""
        found: list[Any] = []
        done = threading.Event()

        def run() -> None:
            try:
                found.append(call())
            except BaseException as error:  # it is anybody's code
                found.append(error)
            finally:
                done.set()

        self._thread = self._start(run)
        if not done.wait(within_s):
            return None
        deadline_s = time.monotonic() + within_s
        while self._thread.alive and time.monotonic() < deadline_s:  # it has done its work, and ends
            time.sleep(POLL_S)
        return found[0]


def in_line(error: BaseException) -> str:
    """What it says, in one line of at most `MOST_LETTERS`.

    >>> in_line(ValueError("no\\nidea")), len(in_line(ValueError("x" * 10_000)))
    ('ValueError: no idea', 300)
    >>> in_line(ValueError("\x1b[2Jred"))
    'ValueError: [2Jred'
    """
    words = " ".join(reason(error)[: 100 * MOST_LETTERS].split())
    said = "".join(letter for letter in words if letter.isprintable())  # none moves a terminal's cursor
    return said if len(said) <= MOST_LETTERS else f"{said[: MOST_LETTERS - 3]}..."
