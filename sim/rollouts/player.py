"""The player: a thread in which rollouts are played, apart from who delivers what comes of them.

A policy is anybody's code, and may never answer: it then keeps its thread, and nobody else.
"""

import queue
import threading
import time
from collections.abc import Iterator, Sequence

from sensorium.drivers.driver import Delivery
from sensorium.threads import Thread, Watch

CLOSE_S = 5.0


class LeftBehind(BaseException):
    """Ends a thread whose rollout was given up: nothing of it goes on."""


class Patience:
    """How long somebody else's code may take for one answer: what it does stands in a `with`.

    Who waits for it meanwhile, in another thread, asks whether it `has_run_out`. Then it has for good: the answer, if
    it comes still, is a `LeftBehind` in the thread that asked for it.
    """

    def __init__(self, most_s: float) -> None:
        self._most_s = most_s
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
            waits = self._since_s is not None and time.monotonic() >= self._since_s + self._most_s
            self._is_over = self._is_over or waits
            return self._is_over


class Player:
    """Goes on with a rollout, piece by piece, as it is asked to. One thread asks."""

    def __init__(self, name: str) -> None:
        self._wanted: queue.SimpleQueue[Iterator[Sequence[Delivery]] | None] = queue.SimpleQueue()
        self._made: queue.SimpleQueue[Sequence[Delivery]] = queue.SimpleQueue()
        self._is_asked = False
        self._watch = Watch(lambda: None)
        self._thread = Thread(f"player-{name}", "plays rollouts", self._run, self._watch.tell, stop_s=CLOSE_S)

    def piece(self, rollout: Iterator[Sequence[Delivery]], timeout_s: float) -> Sequence[Delivery] | None:
        """The next piece of a rollout; None if it is not made in time, and still being made.

        Raises:
            ThreadDied: by a fault of the program.
        """
        if not self._is_asked:
            self._wanted.put(rollout)
            self._is_asked = True
        try:
            piece = self._made.get(timeout=timeout_s)
        except queue.Empty:
            self._watch.check()
            return None
        self._is_asked = False
        return piece

    def leave(self) -> None:
        """What it plays is given up. A policy that is in a loop of Python ends; one that blocks is left as it is."""
        self._thread.interrupt(LeftBehind)
        self._wanted.put(None)

    def close(self) -> bool:
        """End it; whether it has ended: not where a policy does not answer, which is left behind."""
        self._wanted.put(None)
        if self._thread.join():
            return True
        self.leave()
        return False

    def _run(self) -> None:
        while (rollout := self._wanted.get()) is not None:
            try:
                self._made.put(next(rollout))
            except LeftBehind:
                return
