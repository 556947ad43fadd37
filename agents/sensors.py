"""The sensors of a device file: all of them open, in one clock, or none."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

from sensorium.agents.device_file import DeviceFile
from sensorium.drivers.clock import Clock
from sensorium.drivers.driver import Driver
from sensorium.drivers.stream import StreamSpec
from sensorium.errors import ConfigError, SensoriumError
from sensorium.threads import reason


@dataclass(frozen=True, slots=True)
class Sensors:
    """Open drivers by sensor, how each was opened, and the clock that all share."""

    drivers: Mapping[str, Driver]
    openers: Mapping[str, Callable[[], Driver]]
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

    def close(self) -> None:
        """Close all of them."""
        with ExitStack() as stack:
            for driver in self.drivers.values():
                stack.callback(driver.close)


def open_sensors(device: DeviceFile) -> Sensors:
    """Open every sensor of the device file, in its order.

    Raises:
        SensoriumError: one cannot be opened; those before it are closed.
        ConfigError: they are not all in one clock; all are closed.
    """
    openers: dict[str, Callable[[], Driver]] = {
        name: partial(config.open, name, device.base) for name, config in device.sensors.items()
    }
    drivers: dict[str, Driver] = {}
    with ExitStack() as opened:
        for name, open_driver in openers.items():
            try:
                drivers[name] = open_driver()
            except SensoriumError:
                raise
            except Exception as error:  # a driver is anybody's code: say whose
                raise SensoriumError(f"sensor {name!r} cannot be opened: {reason(error)}") from error
            opened.callback(drivers[name].close)
        sensors = Sensors(drivers, openers, _one_clock(drivers))
        opened.pop_all()
    return sensors


def _one_clock(drivers: Mapping[str, Driver]) -> Clock:
    """The clock that all drivers share.

    Raises:
        ConfigError: they do not.
    """
    clocks = {name: driver.clock for name, driver in drivers.items()}
    kinds = {clock.kind for clock in clocks.values()}
    if len(kinds) > 1:
        each = ", ".join(f"{name}: {clock.kind}" for name, clock in clocks.items())
        raise ConfigError(f"sensors: all must be in one clock, got {each}; give each kind a device file of its own")
    first = next(iter(clocks.values()))
    states_utc = all(clock.states_utc for clock in clocks.values())
    return Clock(kind=first.kind, boot_id=first.boot_id, states_utc=states_utc)
