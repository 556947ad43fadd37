"""lowpass: rows without what is above a frequency, and where asked fewer of them."""

from dataclasses import dataclass, replace
from math import ceil, cos, nan, pi, sin, sqrt
from typing import ClassVar, Literal, NamedTuple, Self

import msgspec
import numpy as np
from pydantic import Field, PositiveInt, model_validator

from sensorium.agents.filters.filter import FilterConfig
from sensorium.drivers.stream import Block, StreamSpec
from sensorium.errors import ConfigError


class Biquad(NamedTuple):
    """y[n] = b0 x[n] + b1 x[n-1] + b2 x[n-2] - a1 y[n-1] - a2 y[n-2]."""

    b0: float
    b1: float
    b2: float
    a1: float
    a2: float


Delays = tuple[float, float]
_ANEW: Delays = (nan, nan)


@dataclass(frozen=True, slots=True)
class LowpassState:
    """The coefficients, the two delays of each channel, and the number of the next row, modulo `decimate`."""

    biquad: Biquad
    delays: tuple[Delays, ...]
    phase: int = 0


def butterworth(cutoff_hz: float, rate_hz: float) -> Biquad:
    """A Butterworth low-pass of order 2, -3 dB at `cutoff_hz`, for samples at `rate_hz`.

    The LPF of R. Bristow-Johnson, "Cookbook formulae for audio equalizer biquad filter coefficients", Q = 1/sqrt(2).

    >>> [round(value, 6) for value in butterworth(10, 100)]
    [0.067455, 0.134911, 0.067455, -1.142981, 0.412802]
    """
    angle = 2 * pi * cutoff_hz / rate_hz
    alpha = sin(angle) / sqrt(2)
    a0 = 1 + alpha
    b1 = (1 - cos(angle)) / a0
    return Biquad(b1 / 2, b1, b1 / 2, -2 * cos(angle) / a0, (1 - alpha) / a0)


class Lowpass(FilterConfig[LowpassState]):
    """A Butterworth low-pass of order 2 over every channel: -3 dB at `cutoff_hz`, 12 dB an octave above it.

    It is causal, so what passes comes later than its stamp, by 0.225 / `cutoff_hz` seconds for slow signals; stamps
    stay. At first, after a loss and after a value that is not finite it starts anew, at rest at the value. `decimate`
    keeps every so many rows, and since fewer rows are another stream it needs `into`; a loss is then counted in rows
    of that stream.

    >>> rows = Block("imu", np.arange(4), np.array([[1.0], [1.0], [1.0], [9.0]]))
    >>> spec = StreamSpec(name="imu", modality="imu", dtype="float64", shape=(1,), rate_hz=100)
    >>> lowpass = Lowpass(cutoff_hz=10)
    >>> lowpass.step(lowpass.start(spec), rows)[1].data.round(3).tolist()
    [[1.0], [1.0], [1.0], [1.54]]
    """

    annotates: ClassVar[tuple[str, ...] | None] = ()

    kind: Literal["lowpass"] = "lowpass"
    cutoff_hz: float = Field(gt=0)
    decimate: PositiveInt = 1

    @model_validator(mode="after")
    def _fewer_rows_are_another_stream(self) -> Self:
        if self.decimate > 1 and self.into is None:
            raise ValueError("decimate makes another stream: give its name, such as `into: imu.slow`")
        return self

    def output(self, spec: StreamSpec) -> StreamSpec:
        if spec.is_frames or spec.dtype == "bool":
            raise ConfigError(f"stream {spec.name!r} is {list(spec.shape)} {spec.dtype}, expected rows of numbers")
        if spec.rate_hz is None:
            raise ConfigError(f"stream {spec.name!r} has no nominal rate, which a low-pass needs")
        rate_hz = spec.rate_hz / self.decimate
        if self.cutoff_hz >= rate_hz / 2:
            raise ConfigError(
                f"cutoff_hz is {self.cutoff_hz:g}, expected below {rate_hz / 2:g}, half the rate of"
                f" what is left of {spec.name!r}"
            )
        low_hz, high_hz = spec.band_hz or (0.0, self.cutoff_hz)
        return msgspec.structs.replace(
            spec,
            rate_hz=rate_hz,
            dtype=spec.dtype if spec.dtype.startswith("float") else "float64",
            band_hz=(min(low_hz, self.cutoff_hz), min(high_hz, self.cutoff_hz)),
        )

    def start(self, spec: StreamSpec) -> LowpassState:
        if spec.rate_hz is None:
            raise ConfigError(f"stream {spec.name!r} has no nominal rate, which a low-pass needs")
        width = int(np.prod(spec.shape, dtype=np.int64))
        return LowpassState(butterworth(self.cutoff_hz, spec.rate_hz), (_ANEW,) * width)

    def step(self, state: LowpassState, block: Block) -> tuple[LowpassState, Block]:
        before = (_ANEW,) * len(state.delays) if block.lost_before else state.delays
        data = np.empty(block.data.shape, block.data.dtype if block.data.dtype.kind == "f" else np.float64)
        rows, passed = (array.reshape(len(block), len(before)) for array in (block.data, data))
        after = []
        for channel, delays in enumerate(before):
            passed[:, channel], left = _run(state.biquad, delays, rows[:, channel].tolist())
            after.append(left)
        first = state.phase + block.lost_before
        lost = ceil(first / self.decimate) - ceil(state.phase / self.decimate)
        kept = replace(block, content=data).take(slice(-first % self.decimate, None, self.decimate), lost)
        phase = (first + len(block)) % self.decimate
        return LowpassState(state.biquad, tuple(after), phase), kept


def _at_rest(biquad: Biquad, value: float) -> Delays:
    """The delays that a long constant `value` leaves behind, of a filter that passes it unchanged."""
    second = (biquad.b2 - biquad.a2) * value
    return (biquad.b1 - biquad.a1) * value + second, second


def _run(biquad: Biquad, delays: Delays, values: list[float]) -> tuple[list[float], Delays]:
    """Transposed direct form II. Plain floats, one by one, so that the result does not depend on how blocks are cut;
    they are also faster here than numpy is for a row of six."""
    b0, b1, b2, a1, a2 = biquad
    first, second = delays
    passed = []
    for value in values:
        if first - first != 0:  # neither finite: nothing yet, or nothing of use
            first, second = _at_rest(biquad, value)
        out = b0 * value + first
        first = b1 * value - a1 * out + second
        second = b2 * value - a2 * out
        passed.append(out)
    return passed, (first, second)
