"""What an agent is asked to do while it runs, from any thread: words for its trigger, to stop, to wait no longer."""

import math
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from sensorium.agents.triggers.trigger import Command
from sensorium.drivers.clock import boottime_ns
from sensorium.drivers.marks import Label


class GivenWord(NamedTuple):
    """A command for the trigger, its outcome and labels, and when it was given (boottime, ns)."""

    name: Command
    outcome: str
    labels: Mapping[str, Label]
    at_ns: int


class Orders:
    """Given by whoever hosts the agent, obeyed by the agent's own thread."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._abandon = threading.Event()
        self._by_s = math.inf
        self._words: deque[GivenWord] = deque()

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
