"""What is wrong with the store, said once when it begins and once when it is over for good, however often it is met."""

import logging
import threading
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from sqlalchemy.exc import SQLAlchemyError

from sensorium.errors import StoreError
from sensorium.ingest.store_folder import StoreAway
from sensorium.link.lines import SeldomLines
from sensorium.threads import reason

log = logging.getLogger(__name__)

MAX_TOLD = 1000
QUIET_S = 60.0
"""Trouble that was not met for so long is over, though nothing has succeeded: nobody tries any more."""
STEADY_S = 10.0
"""The store goes on once nothing was in trouble for so long: descriptors, say, run out and are there again by turns."""

P = ParamSpec("P")
T = TypeVar("T")


class Trouble:
    """The alarm of one store; from any thread.

    Each kind of work that meets trouble is in it until that kind of work succeeds again. What comes back within
    `STEADY_S` is the same trouble still, and not said again.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._met: dict[str, tuple[str, float]] = {}
        self._said: set[str] = set()
        self._told: set[str] = set()
        self._why = self._was = ""
        self._since_s = self._over_s = 0.0
        self._times = 0
        self._lines = SeldomLines()

    @property
    def why(self) -> str:
        """What is wrong at this moment; "" if nothing is."""
        return self._why

    def met(self, work: str, error: Exception) -> None:
        """A kind of `work` has failed."""
        kind = _kind(error)
        with self._guard:
            if kind is None:  # it is of one episode, or of this moment: no other work is in trouble for it
                self._say_once(error)
                return
            now_s = time.monotonic()
            self._end(now_s)
            if not self._said:
                self._since_s, self._times = now_s, 0
            if not self._met:
                self._times += 1
            self._met[work] = (kind, now_s)
            if kind not in self._said or not self._why:
                self._why = self._was = reason(error)
            if kind not in self._said:
                self._said.add(kind)
                log.error("store in trouble: %s (devices are told busy, and keep what they have)", self._why)

    def warn(self, device: str, cause: str, text: str) -> None:
        """Say what a device does, which is no trouble of the store: however often, with a few lines."""
        with self._guard:
            self._say(device, cause, text)

    def _say_once(self, error: Exception) -> None:
        text = reason(error)
        if text not in self._told and self._say("", type(error).__name__, text):
            if len(self._told) >= MAX_TOLD:
                self._told.clear()
            self._told.add(text)

    def _say(self, device: str, cause: str, text: str) -> bool:
        """Whether it was written, and not counted for the next of its kind."""
        self._lines.say(device, cause, text, time.monotonic_ns())
        lines = self._lines.take()
        for line in lines:
            log.warning("%s", line)
        return bool(lines)

    def over(self, work: str) -> None:
        """A kind of work has succeeded."""
        if work in self._met:
            with self._guard:
                self._met.pop(work, None)
                self._rest()

    def look(self) -> None:
        """End what was not met for long, and say so of what has not come back."""
        with self._guard:
            before_s = time.monotonic() - QUIET_S
            self._met = {work: met for work, met in self._met.items() if met[1] > before_s}
            self._rest()

    def _rest(self) -> None:
        """Nothing is wrong once no work is in trouble; that is said when it has lasted."""
        now_s = time.monotonic()
        if self._why and not self._met:
            self._why, self._over_s = "", now_s
        self._end(now_s)

    def _end(self, now_s: float) -> None:
        if self._said and not self._met and now_s - self._over_s >= STEADY_S:
            again = f", {self._times} times in all" if self._times > 1 else ""
            took_s = self._over_s - self._since_s
            log.warning("store goes on, after %.0f s%s; it was: %s", took_s, again, self._was)
            self._said.clear()


def watched(trouble: Trouble, work: str, call: Callable[P, T]) -> Callable[P, T]:
    """`call`, whose failures are trouble of that kind of `work`; they are raised all the same."""

    def watching(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            result = call(*args, **kwargs)
        except StoreError as error:
            trouble.met(work, error)
            raise
        trouble.over(work)
        return result

    return watching


def _kind(error: Exception) -> str | None:
    """What makes two failures the same; None of what is not the store's trouble as a whole."""
    cause = error.__cause__ if error.__cause__ is not None else error
    if isinstance(error, StoreAway):
        return str(error)
    if isinstance(cause, SQLAlchemyError):
        return "catalog"
    if isinstance(cause, OSError) and cause.errno is not None:
        return str(cause.errno)
    return None
