"""A fault that was planned: what happens to which sensor, from when, for how long and how badly."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from sensorium.drivers.registry import nearest
from sensorium.drivers.stream import StreamSpec
from sensorium.errors import ConfigError
from sensorium.sim.worlds.imperfections import NonNegative, Positive
from sensorium.sim.worlds.senses.sense import Finite

FaultKind = Literal[
    "stuck",
    "frozen",
    "saturated",
    "bias_step",
    "noise",
    "black",
    "dropout",
    "late",
    "time_offset",
    "drift",
    "jitter",
]


@dataclass(frozen=True, slots=True)
class _Meaning:
    size: str
    default: float | None = None  # None: it must be said
    rows: bool = True
    frames: bool = True
    most: float | None = None
    signed: bool = False


MEANINGS: Mapping[str, _Meaning] = {
    "stuck": _Meaning("nothing: the channel stays at what it last read", 1.0, frames=False),
    "frozen": _Meaning("nothing: every sample repeats the last one before it, under stamps that go on", 1.0),
    "saturated": _Meaning(
        "of rows nothing: the channel stands at full scale; of frames the share of values at white", 1.0, most=1.0
    ),
    "bias_step": _Meaning("what is added, in the stream's unit", frames=False, signed=True),
    "noise": _Meaning("one sigma of what is added, in the stream's unit (frames: in their values)"),
    "black": _Meaning("the share of light that is lost", 1.0, rows=False, most=1.0),
    "dropout": _Meaning("the share of samples that never come", 1.0, most=1.0),
    "late": _Meaning("how much later samples are delivered, s; their stamps are right"),
    "time_offset": _Meaning("how late stamps are, s; delivery is as ever", signed=True),
    "drift": _Meaning("how fast the clock runs, ppm; what it was wrong by at the end stays", signed=True),
    "jitter": _Meaning("one sigma of the error of each stamp, s"),
}
"""What `size` says, by kind."""


class Fault(BaseModel):
    """`sensor` is a stream of the world (`imu`); from `start_s` since the reset for `length_s` (None: to the end).

    `size` is how badly, as its kind means it (`MEANINGS`). `channels` names the channels of a row that are hit (empty:
    all; of `stuck` and `saturated` the first).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sensor: Annotated[str, Field(min_length=1)]
    kind: FaultKind
    start_s: NonNegative
    length_s: Positive | None = None
    size: Finite | None = None
    channels: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _meant(self) -> "Fault":
        meaning, size = MEANINGS[self.kind], self.size
        if size is None and meaning.default is None:
            raise ValueError(f"{self.kind} without size: {meaning.size}")
        if size is not None and size <= 0 and not (meaning.signed and size < 0):
            raise ValueError(f"{self.kind} of size {size}, expected more than 0: {meaning.size}")
        if size is not None and meaning.most is not None and size > meaning.most:
            raise ValueError(f"{self.kind} of size {size}, expected at most {meaning.most:g}: {meaning.size}")
        return self

    @property
    def badly(self) -> float:
        """The size, where it was not said the one that the kind has by itself."""
        return self.size if self.size is not None else MEANINGS[self.kind].default or 1.0

    @property
    def start_ns(self) -> int:
        return round(self.start_s * 1_000_000_000)

    @property
    def end_ns(self) -> int | None:
        """When it is over, ns since the reset; None: never."""
        return None if self.length_s is None else self.start_ns + round(self.length_s * 1_000_000_000)

    def check(self, specs: Mapping[str, StreamSpec]) -> None:
        """Raise `ConfigError` unless one of these streams can have it."""
        if self.sensor not in specs:
            known = ", ".join(sorted(specs))
            raise ConfigError(f"fault of {self.sensor!r}{nearest(self.sensor, specs)}: the streams are {known}")
        spec, meaning = specs[self.sensor], MEANINGS[self.kind]
        if not (meaning.frames if spec.is_frames else meaning.rows):
            fitting = [kind for kind, each in MEANINGS.items() if (each.frames if spec.is_frames else each.rows)]
            raise ConfigError(f"fault {self.kind!r} of {self.sensor!r}: it can have {', '.join(fitting)}")
        if self.kind == "saturated" and not spec.is_frames and spec.full_scale is None:
            raise ConfigError(f"fault 'saturated' of {self.sensor!r}: it has no full scale; set one, or a preset")
        wrong = [name for name in self.channels if name not in spec.channels]
        if wrong:
            raise ConfigError(
                f"fault of {self.sensor!r}: no channel {wrong[0]!r}{nearest(wrong[0], spec.channels)}"
                f" (there are: {', '.join(spec.channels) or 'none with a name'})"
            )

    def said(self) -> dict[str, Any]:
        """What a note says of it: kind, stream, size and where it strikes, in plain values."""
        return {"fault": self.kind, "stream": self.sensor, "size": self.badly, "channels": list(self.channels)}


def check_faults(planned: Sequence[Fault], specs: Sequence[StreamSpec]) -> None:
    """Raise `ConfigError` unless each of these streams can have what is planned for it."""
    by_name = {spec.name: spec for spec in specs}
    for fault in planned:
        fault.check(by_name)
