"""A body: something in simulated time that can be asked to go elsewhere, or to measure, and that captures meanwhile."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from sensorium.agents.planning.planner import Reach
from sensorium.drivers.controls import Value


@dataclass(frozen=True, slots=True)
class Captured:
    """One picture, or one measurement: the `number`-th of its body, until `end_ns`.

    `where` is what its source measures of where it was, by control; `measured` by STREAM.CHANNEL. `look` is its
    descriptor, `size_bytes` what it takes to keep it. `asked` says that what was asked for last had taken effect.
    """

    number: int
    start_ns: int
    end_ns: int
    where: Mapping[str, float]
    size_bytes: int
    labels: Mapping[str, str] = field(default_factory=dict)
    measured: Mapping[str, float] = field(default_factory=dict)
    look: bytes = b""
    asked: bool = False


@dataclass(frozen=True, slots=True)
class BodyStep:
    """What came of a step, and whether what was asked for last has `ended`: it took effect, or is given up, and
    `why`."""

    captured: tuple[Captured, ...]
    ended: bool
    why: str = ""


class Body(Protocol):
    """One thread drives it. The same asks at the same moments give the same again."""

    @property
    def reach(self) -> Reach: ...

    @property
    def now_ns(self) -> int: ...

    @property
    def is_over(self) -> bool:
        """Whether it can do nothing any more, as it has fallen over, or its world has ended: it is not stepped then."""
        ...

    def ask(self, asked: Mapping[str, Value]) -> None:
        """Go there, or measure so, from now on; what was asked before is forgotten."""
        ...

    def step(self) -> BodyStep:
        """Let some time pass: until a measurement is done, or as long as a world's step is."""
        ...
