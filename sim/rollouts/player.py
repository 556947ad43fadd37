"""The player: a thread in which rollouts are played, apart from who delivers what comes of them.

A policy is anybody's code, and may never answer: it then keeps its thread, and nobody else.
"""

import queue
from collections.abc import Iterator, Sequence

from sensorium.drivers.driver import Delivery
from sensorium.patience import LeftBehind
from sensorium.threads import Thread, Watch

CLOSE_S = 5.0


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
