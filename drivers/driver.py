"""The driver contract: four members, and the configuration that opens one."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from pydantic import BaseModel, ConfigDict

from sensorium.drivers.clock import Clock, ClockKind
from sensorium.drivers.identity import Identity, identity_of
from sensorium.drivers.marks import Mark, Passed, SourceNote
from sensorium.drivers.stream import Block, StreamSpec

Delivery = Block | Mark | SourceNote | Passed
"""What a source delivers: samples, and, where it knows of such, where episodes begin and end, what happened, how far
it has come."""


class Driver(Protocol):
    """One sensor unit, open: physical, recorded or simulated.

    `specs` and `clock` never change while it is open. `read` waits at most `timeout_s` (plus a bound that the driver
    states) and returns what has arrived, `()` if nothing has, or `None` once the source has ended for good: blocks, and
    beside them marks and notes (`sensorium.drivers.marks`). Stamps of a stream never step back but when the clock was
    reset. What the driver knows it missed is in `Block.lost_before`, and where, if
    it can tell, in `Block.lost_at_ns`: between the stamps of the samples around it.
    A sensor that is gone raises `SensorLost`; after it only `close` may be called. One thread reads; `close` may be
    called twice, from any thread, ends every thread and descriptor that the driver opened, and makes a `read` that
    waits return soon.
    """

    @property
    def specs(self) -> tuple[StreamSpec, ...]: ...

    @property
    def clock(self) -> Clock: ...

    def read(self, timeout_s: float) -> Sequence[Delivery] | None: ...

    def close(self) -> None: ...


class DriverConfig(BaseModel):
    """What stands under `sensors:` in a device file; a driver's own model adds its fields and opens it.

    A model must import without the vendor's library. Its `kind` is the name of its entry point in the group
    `sensorium.drivers`. Where it is `required`, nothing begins before its sensor is there; any other may come later.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    required: bool = False

    @property
    def is_live(self) -> bool | None:
        """Whether its sensor senses the world, if that is known before it is open: kinds of recordings begin with
        `replay-`, those of worlds with `sim-`. One that is live is opened again whatever opening it raised."""
        return False if self.kind.startswith(("replay-", "sim-")) else None

    @property
    def clock_kind(self) -> ClockKind | None:
        """Which clock its stamps will be in, if that is known before it is open: by its kind, as above; what opens a
        device node senses the world."""
        if self.kind.startswith("replay-"):
            return "recording"
        if self.kind.startswith("sim-"):
            return "simulated"
        return "boottime" if self.is_live or (self.is_live is None and self.node) else None

    @property
    def holds_device(self) -> bool:
        """Whether to open it takes hold of hardware or of a network, and not of files alone, or may."""
        return self.is_live is not False

    @property
    def node(self) -> str:
        """The device node that it opens, if its configuration tells: by default the first text that is such a path."""
        return next((value for _, value in self if isinstance(value, str) and value.startswith("/dev/")), "")

    def plugged_in(self, base: Path) -> bool:  # noqa: ARG002 (for those who override it)
        """Whether the system shows its device now, told without opening it; False where that cannot be told. One that
        was lost is then opened again within two seconds."""
        return bool(self.node) and Path(self.node).exists()

    def expected(self, name: str) -> tuple[StreamSpec, ...]:  # noqa: ARG002 (for those who override it)
        """Streams that the sensor called `name` may have, as far as that is known before it is open: whether they are
        pictures or rows, and their channels, are as they will be, sizes and rates need not be, and there may be others.

        So what a device file asks of a sensor that is not there is checked all the same.
        """
        return ()

    def open(self, name: str, base: Path) -> Driver:
        """Open the sensor called `name`; relative paths start at `base`, the folder of the device file.

        A driver with one stream names it `name`; one with several, `name.stream`.

        Raises:
            ConfigError: something the user wrote cannot work (an absent folder, an unknown stream).
            SensorLost: the sensor is not there or does not answer.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say how to open its sensor")

    def open_again(self, name: str, base: Path, before: Sequence[StreamSpec]) -> Driver:  # noqa: ARG002 (for those who override it)
        """Open the same sensor again, which was lost, and had these streams: wherever it is now, and no other one.

        What comes back otherwise is another sensor, whose streams are not those that were; where its stamps come from
        is decided once, and stays.
        """
        return self.open(name, base)

    def identity(self, base: Path) -> Identity | None:
        """What tells the recording or the world that this opens from others; None: it is new each time.

        So a replay that was cut off goes on where it was, and one that was collected is not collected twice. By
        default it is told by the files and folders in its fields of type `Path`. Of live sensors it is not asked.
        """
        said = {name: identity_of(base / value) for name, value in self if isinstance(value, Path)}
        return Identity(said) if said and all(said.values()) else None
