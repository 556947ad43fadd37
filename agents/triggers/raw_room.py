"""Room: how much waits raw under `worth` until it is decided of, against what may."""

from collections.abc import Sequence
from typing import NamedTuple

from sensorium.drivers.stream import StreamSpec


class RawRoom(NamedTuple):
    """Raw samples come at `per_s` bytes a second, as far as rates are known; `needed_s` of them wait for a unit of
    `unit_s` with its pre-roll, and a pre-roll of `fits_s` is possible, or no unit if that is below 0."""

    per_s: float
    unit_s: float
    needed_s: float
    fits_s: float

    @property
    def needed_bytes(self) -> float:
        """What they take."""
        return self.per_s * self.needed_s


def room(specs: Sequence[StreamSpec], unit_s: float | None, pre_roll_s: float, most: int) -> RawRoom:
    """Of streams of which `most` bytes may wait; `unit_s` None: a unit is a frame.

    >>> room([StreamSpec(name="a", modality="x", dtype="uint8", shape=(10,), rate_hz=100.0)], 1.0, 3.0, 4000)
    RawRoom(per_s=1000.0, unit_s=1.0, needed_s=5.0, fits_s=2.0)
    """
    per_s = sum((spec.rate_hz or 0.0) * spec.sample_bytes for spec in specs)
    if unit_s is None:
        unit_s = max((1 / (spec.rate_hz or 1.0) for spec in specs), default=0.0)
    # the unit that is not over, one that the slowest stream has still to pass, and what a pre-roll may claim
    fits_s = most / per_s - 2 * unit_s if per_s else float("inf")
    return RawRoom(per_s, unit_s, 2 * unit_s + pre_roll_s, fits_s)
