"""Patience: how long somebody else's code may take, and what becomes of the thread in which it does not answer."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from sensorium.threads import Thread, Watch

IMPORT_S = 60.0
"""How long a module may take at least to be imported, however short the patience is with what it answers then."""

AGAIN_S = (0.01, 0.02, 0.04, 0.08)
"""Whoever runs Python when it is interrupted has ended by then; else the collector may have dropped that, and it is
interrupted again."""

T = TypeVar("T")


class LeftBehind(BaseException):
    """Ends a thread whose rollout was given up: nothing of it goes on."""


class Patience:
    """How long somebody else's code may take for one answer: what it does stands in a `with`.

    Who waits for it meanwhile, in another thread, asks whether it `has_run_out`. Then it has for good: the answer, if
    it comes still, is a `LeftBehind` in the thread that asked for it.
    """

    def __init__(self, most_s: float) -> None:
        self.most_s = most_s
        self._since_s: float | None = None
        self._guard = threading.Lock()
        self._is_over = False

    def __enter__(self) -> None:
        self._since_s = time.monotonic()

    def __exit__(self, *_: object) -> None:
        with self._guard:
            self._since_s = None
            if self._is_over:
                raise LeftBehind

    def has_run_out(self) -> bool:
        """Whether the answer that is waited for now takes too long."""
        with self._guard:
            waits = self._since_s is not None and time.monotonic() >= self._since_s + self.most_s
            self._is_over = self._is_over or waits
            return self._is_over


def within(most_s: float, call: Callable[[], T]) -> T:
    """What a call of somebody else's code gives, in a thread that is left behind where it takes longer.

    Raises:
        TimeoutError: it does. What the call raises is raised here; what is no `SensoriumError` as a `ThreadDied`.
    """
    over = threading.Event()
    watch = Watch(over.set)
    found: list[T] = []

    def run() -> None:
        try:
            found.append(call())
        except LeftBehind:
            return
        over.set()

    thread = Thread("bounded", "runs somebody else's code", run, watch.tell)
    if not over.wait(most_s):
        for wait_s in AGAIN_S:
            thread.interrupt(LeftBehind)
            if thread.ends_within(wait_s):
                break
        raise TimeoutError(f"it was not there within {most_s:g} s")
    watch.check()
    return found[0]
