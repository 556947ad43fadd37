"""The sensors of a device file: open in one clock; a live one that is not there yet is absent, and may come later."""

import logging
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

from sensorium.agents.capture.reopening import Absent, fault_of_closing
from sensorium.agents.device_file import DeviceFile
from sensorium.agents.opening import Opener, OpeningStopped
from sensorium.drivers.clock import Clock, ClockKind, live_clock
from sensorium.drivers.driver import Driver
from sensorium.drivers.pacing import Hurried
from sensorium.drivers.stream import StreamSpec
from sensorium.errors import ConfigError, SensoriumError
from sensorium.threads import Thread, reason

log = logging.getLogger(__name__)

OPEN_S = 20.0
CLOSE_S = 1.0
"""How long each of those that are open may take to be closed, where another cannot be opened, or all is stopped."""


@dataclass(frozen=True, slots=True)
class Sensors:
    """Open drivers by sensor, or what stands for an absent one; how each is opened; and the clock that all share."""

    drivers: Mapping[str, Driver]
    openers: Mapping[str, Opener]
    clock: Clock

    @property
    def live(self) -> bool:
        """Whether they sense the world, which waits for nobody."""
        return self.clock.kind == "boottime"

    @property
    def reopen(self) -> Mapping[str, Callable[[], Driver]]:
        """How to open a sensor again once it was lost; a recording is not, it would begin anew."""
        return {} if self.clock.kind == "recording" else self.openers

    @property
    def specs(self) -> list[StreamSpec]:
        """Of all that they capture."""
        return [spec for driver in self.drivers.values() for spec in driver.specs]

    @property
    def absent(self) -> dict[str, str]:
        """Why, by sensor, of those that are not there yet."""
        return {name: driver.why for name, driver in self.drivers.items() if isinstance(driver, Absent)}

    def hurry(self, until_ns: int) -> None:
        """Have recordings and worlds deliver what comes before a moment as fast as they can."""
        for driver in self.drivers.values():
            if isinstance(driver, Hurried):
                driver.hurry(until_ns)

    def close(self) -> None:
        """Close all of them."""
        with ExitStack() as stack:
            for name, driver in self.drivers.items():
                stack.callback(driver.close)
                stack.callback(self.openers[name].close)


def open_sensors(device: DeviceFile, stopped: Callable[[], bool] = lambda: False) -> Sensors:
    """Open every sensor of the device file, in its order. One that is not there is absent, unless it is `required` or
    of a recording or a world; so is one that takes too long.

    Raises:
        OpeningStopped: all was `stopped` before they were open; those that were are closed.
        SensoriumError: one cannot be opened; all others are closed.
        ConfigError: they are not all in one clock, or two have a stream of one name; all are closed.
    """
    openers = {
        name: Opener(
            name,
            partial(config.open, name, device.base),
            partial(config.plugged_in, device.base),
            partial(config.open_again, name, device.base),
        )
        for name, config in device.sensors.items()
    }
    drivers: dict[str, Driver] = {}
    failed: dict[str, BaseException] = {}
    with ExitStack() as stack:
        stack.callback(_close_all, drivers)
        for name, opener in openers.items():
            stack.callback(opener.close)
            try:
                drivers[name] = opener.within(OPEN_S, stopped)
            except OpeningStopped:
                raise
            except BaseException as error:
                config = device.sensors[name]
                if config.required or config.is_live is False or isinstance(error, ConfigError):
                    raise _of(name, error) from error
                if not _may_be_live(drivers):
                    raise _of(name, error) from error
                failed[name] = error
        clock = _one_clock(drivers)
        for name, why in failed.items():
            # From what the world does to it a sensor may recover, from its author's mistakes only if it is a live one.
            known = device.sensors[name].is_live or drivers
            if not _may_be_live(drivers) or not (known or isinstance(why, OSError)):
                raise _of(name, why) from why
        check_names(drivers)
        for name, why in failed.items():
            log.warning("sensor %r is absent: %s; it is tried again, and joins when it is there", name, reason(why))
        stack.pop_all()
    there = {name: drivers[name] if name in drivers else Absent(reason(failed[name])) for name in openers}
    return Sensors(there, openers, clock)


def check_names(drivers: Mapping[str, Driver]) -> None:
    """Raise `ConfigError` if two sensors have a stream of one name."""
    owner: dict[str, str] = {}
    for name, driver in drivers.items():
        for spec in driver.specs:
            if owner.setdefault(spec.name, name) != name:
                raise ConfigError(
                    f"sensors: {owner[spec.name]!r} and {name!r} both have a stream {spec.name!r}; rename one of them"
                )


def check_clocks(kinds: Mapping[str, ClockKind]) -> None:
    """Raise `ConfigError` unless all sensors are in one clock."""
    if len(set(kinds.values())) > 1:
        each = ", ".join(f"{name}: {kind}" for name, kind in kinds.items())
        raise ConfigError(f"sensors: all must be in one clock, got {each}; give each kind a device file of its own")


def _close_all(drivers: dict[str, Driver]) -> None:
    """The last that was opened first; one that does not return from it is left behind."""
    for name, driver in reversed(drivers.items()):
        close = partial(fault_of_closing, name, driver)
        Thread(f"close-{name}", f"closes sensor {name!r}", close, lambda _: None, stop_s=CLOSE_S).join()


def _may_be_live(drivers: Mapping[str, Driver]) -> bool:
    return all(driver.clock.kind == "boottime" for driver in drivers.values())


def _of(sensor: str, error: BaseException) -> BaseException:
    """The error, so that it names its sensor."""
    if isinstance(error, ConfigError):
        return ConfigError(f"sensors.{sensor}: {error}")
    if isinstance(error, SensoriumError):
        return error
    return SensoriumError(f"sensor {sensor!r} cannot be opened: {reason(error)}")


def _one_clock(drivers: Mapping[str, Driver]) -> Clock:
    """The clock that all drivers share; that of live sensors if there is none.

    Raises:
        ConfigError: they do not.
    """
    clocks = {name: driver.clock for name, driver in drivers.items()}
    check_clocks({name: clock.kind for name, clock in clocks.items()})
    first = next(iter(clocks.values()), live_clock())
    states_utc = bool(clocks) and all(clock.states_utc for clock in clocks.values())
    if not states_utc and (utc := [name for name, clock in clocks.items() if clock.states_utc]):
        other = ", ".join(name for name, clock in clocks.items() if not clock.states_utc)
        log.warning(
            "sensors: %s: UTC, %s: not; say when that begins by its `utc`, to align them", ", ".join(utc), other
        )
    within = [clock.utc_within_ns for clock in clocks.values() if states_utc and clock.utc_within_ns is not None]
    return Clock(kind=first.kind, boot_id=first.boot_id, states_utc=states_utc, utc_within_ns=max(within, default=None))
