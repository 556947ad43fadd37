"""Opening: one sensor is opened in a thread of its own, since that call may never return."""

import threading
import time
from collections.abc import Callable, Sequence
from functools import partial

from sensorium.agents.capture.reopening import close_quietly, opened
from sensorium.drivers.driver import Driver
from sensorium.drivers.stream import StreamSpec
from sensorium.errors import SensoriumError, SensorLost
from sensorium.threads import Thread

POLL_S = 0.01


class OpeningStopped(SensoriumError):
    """All was stopped before a sensor was open, which says nothing of the sensor."""


class Opener:
    """Opens the sensor called `name` by `open_driver`, one call at a time: while one has not returned, there is none
    beside it, and the driver that it brings in the end is the next one's. One thread at a time asks. `plugged_in` tells
    whether the system shows its device. `open_again` opens what had certain streams before."""

    def __init__(
        self,
        name: str,
        open_driver: Callable[[], Driver],
        plugged_in: Callable[[], bool] = lambda: False,
        open_again: Callable[[Sequence[StreamSpec]], Driver] | None = None,
    ) -> None:
        self._name = name
        self.plugged_in = plugged_in
        self._open = open_driver
        self._open_again = open_again
        self._guard = threading.Lock()
        self._thread: Thread | None = None
        self._driver: Driver | None = None
        self._error: BaseException | None = None
        self._closed = False

    def __call__(self) -> Driver:
        """Open it, however long that takes; raises whatever that raises, or `SensorLost` while a call before has not
        returned."""
        if self._thread is None:
            return opened(self._open)
        return self._outcome("to open it has not returned yet")

    def again(self, before: Sequence[StreamSpec]) -> Driver:
        """The same for a sensor that had these streams."""
        if self._thread is None and self._open_again is not None:
            return opened(partial(self._open_again, before))
        return self()

    def within(self, most_s: float, stopped: Callable[[], bool]) -> Driver:
        """Open it in at most so long.

        Raises:
            OpeningStopped: all was `stopped` before it was open; what is still to come is closed then.
            SensorLost: that is too short. What opening raises comes as it is.
        """
        if stopped():
            raise OpeningStopped(f"all was stopped before sensor {self._name!r} was opened")
        self._thread = Thread(f"open-{self._name}", f"opens sensor {self._name!r}", self._run, lambda _: None)
        deadline_s = time.monotonic() + most_s
        while self._thread.alive and time.monotonic() < deadline_s:
            if stopped():
                raise OpeningStopped(f"all was stopped while sensor {self._name!r} was being opened")
            time.sleep(POLL_S)
        return self._outcome(f"to open it has not returned in {most_s:.0f} s")

    def close(self) -> None:
        """Nobody takes any more what a call that has not returned may bring."""
        with self._guard:
            self._closed = True
            late, self._driver = self._driver, None
        if late is not None:
            close_quietly(self._name, late)

    def _run(self) -> None:
        try:
            driver = opened(self._open)
        except BaseException as error:  # a driver is anybody's code, and may raise anything
            self._error = error
            return
        with self._guard:
            self._driver = None if self._closed else driver
        if self._closed:
            close_quietly(self._name, driver)

    def _outcome(self, missing: str) -> Driver:
        if self._thread is not None and self._thread.alive:
            raise SensorLost(missing)
        self._thread = None
        with self._guard:
            driver, self._driver = self._driver, None
        error, self._error = self._error, None
        if driver is None:
            raise error or SensorLost(missing)
        return driver
