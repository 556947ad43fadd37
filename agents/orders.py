"""What an agent is asked to do while it runs, from any thread: words for its trigger, other settings, to stop, to wait
no longer."""

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from sensorium.agents.device_file import DeviceFile
from sensorium.agents.triggers.trigger import Command
from sensorium.drivers.clock import boottime_ns
from sensorium.drivers.marks import Label


class GivenWord(NamedTuple):
    """A command for the trigger, its outcome and labels, and when it was given (boottime, ns)."""

    name: Command
    outcome: str
    labels: Mapping[str, Label]
    at_ns: int


class Change(NamedTuple):
    """The device file as it is to be from now on; `settled` is told why it could not be, or, empty, that it is."""

    device: DeviceFile
    settled: Callable[[str], None]


class Orders:
    """Given by whoever hosts the agent, obeyed by the agent's own thread."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._abandon = threading.Event()
        self._by_s = math.inf
        self._words: deque[GivenWord] = deque()
        self._changing = threading.Lock()
        self._changes: deque[Change] | None = deque()

    def stop(self, within_s: float | None = None) -> None:
        """Stop collecting; with `within_s`, to have ended by then, whatever waits for delivery."""
        if within_s is not None:
            self._by_s = min(self._by_s, time.monotonic() + within_s)
        self._stop.set()

    def abandon(self) -> None:
        """Stop collecting, and do not wait for delivery."""
        self._abandon.set()
        self._stop.set()

    def say(self, name: Command, outcome: str, labels: Mapping[str, Label]) -> None:
        """A word for the trigger, given now."""
        self._words.append(GivenWord(name, outcome, dict(labels), boottime_ns()))

    def words(self) -> Iterator[GivenWord]:
        """What was said and not yet taken, in order."""
        while self._words:
            yield self._words.popleft()

    def change(self, change: Change) -> None:
        """Record by another device file from now on; where nothing is recorded any more it is settled at once, and
        in force at the next start."""
        with self._changing:
            if self._changes is not None:
                self._changes.append(change)
                return
        change.settled("")

    def next_change(self) -> Change | None:
        """What was asked first and not taken yet."""
        with self._changing:
            return self._changes.popleft() if self._changes else None

    def end_changes(self) -> None:
        """Nothing is recorded any more: settle what waits, and what still comes."""
        with self._changing:
            waiting, self._changes = self._changes or deque(), None
        for change in waiting:
            change.settled("")

    def stopped(self, wait_s: float = 0.0) -> bool:
        """Whether to stop; waits for it at most so long."""
        return self._stop.is_set() or (wait_s > 0 and self._stop.wait(wait_s))

    def abandoned(self, wait_s: float = 0.0) -> bool:
        """Whether to wait for nothing more; waits for it at most so long."""
        return self._abandon.is_set() or (wait_s > 0 and self._abandon.wait(wait_s))

    @property
    def hurried(self) -> bool:
        """Whether there is a time by which to have ended."""
        return self._by_s < math.inf

    def left_s(self) -> float:
        """Seconds until that time; without it, for ever."""
        return max(0.0, self._by_s - time.monotonic())
