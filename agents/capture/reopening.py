"""Reopening: a sensor that is not there is opened again, with back-off, until it is; what comes back is what it was."""

import contextlib
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, runtime_checkable

import msgspec

from sensorium.drivers.clock import Clock, live_clock
from sensorium.drivers.driver import Delivery, Driver
from sensorium.drivers.stream import StreamSpec
from sensorium.errors import SensorLost
from sensorium.threads import Thread, reason

log = logging.getLogger(__name__)

FIRST_BACKOFF_S = 0.5
MAX_BACKOFF_S = 15.0
PLUGGED_IN_S = 2.0
"""The longest pause while the system shows the sensor's device, and how often that is looked for."""
CLOSE_S = 5.0
SAY_EVERY_TRIES = 20


@runtime_checkable
class PlugsIn(Protocol):
    """Opens a sensor, and can tell whether it is worth trying."""

    def plugged_in(self) -> bool: ...


@runtime_checkable
class OpensAgain(Protocol):
    """Opens a sensor, and can open the very one that had some streams before."""

    def again(self, before: Sequence[StreamSpec]) -> Driver: ...


@runtime_checkable
class Keeps(Protocol):
    """A driver of a sensor that may deliver more each time that it is opened, and can leave out what is new."""

    def keep_to(self, specs: Sequence[StreamSpec]) -> None: ...


class Absent:
    """Stands for a sensor that could not be opened yet: it is lost as soon as it is read. `why` it is not there."""

    def __init__(self, why: str) -> None:
        self.why = why
        self.specs: tuple[StreamSpec, ...] = ()
        self.clock: Clock = live_clock()

    def read(self, timeout_s: float) -> Sequence[Delivery] | None:
        """Raises `SensorLost`."""
        del timeout_s
        raise SensorLost(self.why)

    def close(self) -> None:
        """Nothing is open."""


def open_again(
    name: str,
    open_driver: Callable[[], Driver],
    stop: threading.Event,
    failed: Callable[[str], object],
    before: "Nature | None" = None,
) -> Driver | None:
    """The sensor, as soon as it can be opened; None once `stop` is set. `failed` hears why each try came to nothing.

    A driver that has `keep_to` is asked for what the sensor was `before`, if it is another now.
    """
    pause_s, tries, said = FIRST_BACKOFF_S, 0, ""
    was = before.specs if before is not None else ()
    again = (
        partial(open_driver.again, was) if was and isinstance(open_driver, OpensAgain) else partial(opened, open_driver)
    )
    plugged_in = open_driver.plugged_in if isinstance(open_driver, PlugsIn) else None
    while not _stopped_within(pause_s, stop, plugged_in):
        try:
            driver = again()
            if before is not None and before.specs and before.differs(Nature.of(driver)) and isinstance(driver, Keeps):
                driver.keep_to(before.specs)
            return driver
        except BaseException as error:  # a driver is anybody's code, and may raise anything
            tries, pause_s = tries + 1, min(2 * pause_s, MAX_BACKOFF_S)
            why = reason(error)
            say = log.warning if tries % SAY_EVERY_TRIES == 0 or why != said else log.info
            say("sensor %r: %s; next try in %.1f s", name, why, pause_s)
            said = why
            failed(why)
    return None


def _stopped_within(pause_s: float, stop: threading.Event, plugged_in: Callable[[], bool] | None) -> bool:
    """Wait that long, or until a device is there, which is looked for every `PLUGGED_IN_S`; whether all stops."""
    if plugged_in is None:
        return stop.wait(pause_s)
    while pause_s > PLUGGED_IN_S:
        if stop.wait(PLUGGED_IN_S):
            return True
        pause_s -= PLUGGED_IN_S
        if _is_there(plugged_in):
            return False
    return stop.wait(pause_s)


def _is_there(plugged_in: Callable[[], bool]) -> bool:
    try:
        return plugged_in()
    except BaseException:  # a driver is anybody's code, and may raise anything
        return False


@dataclass(frozen=True, slots=True)
class Nature:
    """What a sensor is, as long as it is open, and each time that it is."""

    specs: tuple[StreamSpec, ...]
    clock: Clock

    @classmethod
    def of(cls, driver: Driver) -> "Nature":
        """As the driver says.

        Raises:
            TypeError: it says no such thing. What its own members raise comes as it is.
        """
        nature = cls(tuple(driver.specs), driver.clock)
        if not all(isinstance(spec, StreamSpec) for spec in nature.specs) or not isinstance(nature.clock, Clock):
            raise TypeError(f"its driver has the streams {nature.specs!r} in the clock {nature.clock!r}")
        return nature

    def differs(self, now: "Nature") -> str:
        """In what it came back as another, or empty. Where rates are measured, each opening finds another; and how
        stamps are obtained is no part of what a stream is."""
        was, found = _contents(self.specs), _contents(now.specs)
        if was != found:
            of_one_name = [spec.name for spec in was] == [spec.name for spec in found]
            return "with other streams" + (f": {_difference(was, found)}" if of_one_name else "")
        return "" if self.clock.kind == now.clock.kind else f"in another clock, {now.clock.kind}"


def close_quietly(name: str, driver: Driver) -> None:
    """Close a driver that failed; that it does not manage even this, or never returns from it, changes nothing."""
    close = partial(fault_of_closing, name, driver)
    Thread(f"close-{name}", f"closes sensor {name!r}", close, lambda _: None, stop_s=CLOSE_S).join()


def fault_of_closing(name: str, driver: Driver) -> str:
    """Close a driver; what it raised, or empty."""
    try:
        driver.close()
    except BaseException as error:  # a driver is anybody's code, and may raise anything
        log.error("sensor %r could not be closed: %s", name, reason(error))
        return reason(error)
    return ""


def opened(open_driver: Callable[[], Driver]) -> Driver:
    """The driver that this opens, if it says what every driver does; else it is closed, and what is wrong raised."""
    driver = open_driver()
    try:
        Nature.of(driver)
    except BaseException:
        with contextlib.suppress(BaseException):  # it may be no driver at all
            driver.close()
        raise
    return driver


def _contents(specs: Sequence[StreamSpec]) -> list[StreamSpec]:
    return [msgspec.structs.replace(spec, rate_hz=None, stamps_from="") for spec in specs]


def _difference(was: Sequence[StreamSpec], now: Sequence[StreamSpec]) -> str:
    """The first thing in which streams of one name differ."""
    for old, new in zip(was, now, strict=True):
        pair = [_flat(msgspec.structs.asdict(spec)) for spec in (old, new)]
        for key in (*pair[0], *pair[1]):
            if (before := pair[0].get(key)) != (found := pair[1].get(key)):
                return f"{key} of {old.name!r} is {found!r}, was {before!r}"[:200]
    return ""


def _flat(values: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= _flat(value, f"{above}{key}.") if isinstance(value, dict) else {f"{above}{key}": value}
    return found
