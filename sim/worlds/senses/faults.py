"""Faults that are injected as they were planned, and the truth of it: a stream `faults`, and a note for each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sensorium.drivers.marks import SourceNote
from sensorium.drivers.stream import Block, Samples, Stamps, StreamSpec
from sensorium.sim.worlds.senses.fault import Fault, check_faults

FAULTS = "faults"
"""The truth stream's name: one row whenever a fault begins or ends, and one at 0; a channel a planned fault."""


@dataclass(frozen=True, slots=True)
class Faulty:
    """What faults made of n samples: `data` [n, ...]; which of them are `kept`, bool [n]; what is added to stamps and
    to deliveries, int64 ns [n] each."""

    data: Samples
    kept: npt.NDArray[np.bool_]
    shift_ns: Stamps
    delay_ns: Stamps


class Faults:
    """The planned faults of one world since its reset; `specs` are the streams that it senses, by bare name.

    Raises:
        ConfigError: there is no such stream or channel, or it cannot have such a fault.
    """

    def __init__(self, planned: Sequence[Fault], specs: Sequence[StreamSpec], rng: np.random.Generator) -> None:
        check_faults(planned, specs)
        by_name = {spec.name: spec for spec in specs}
        self.planned = tuple(planned)
        self._specs = by_name
        self._injected: dict[str, list[_Injected]] = {}
        for fault, mine in zip(self.planned, rng.spawn(len(self.planned)), strict=True):
            self._injected.setdefault(fault.sensor, []).append(_Injected(fault, by_name[fault.sensor], mine))
        self._told_ns = self._noted_ns = -1

    @property
    def spec(self) -> StreamSpec | None:
        """The truth stream `faults`, float64 [k]: the size of each planned fault while it lasts, else 0; None
        where none is planned."""
        if not self.planned:
            return None
        channels = tuple(f"{number}.{fault.sensor}.{fault.kind}" for number, fault in enumerate(self.planned))
        return StreamSpec(
            name=FAULTS, modality="truth", dtype="float64", shape=(len(channels),), channels=channels, rate_hz=None
        )

    def strikes(self, stream: str) -> bool:
        """Whether any fault is planned for a stream."""
        return stream in self._injected

    def apply(self, stream: str, true_ns: Stamps, data: Samples) -> Faulty:
        """Let the faults of `stream` strike the samples `data` [n, ...] that were taken at `true_ns` [n]."""
        n = len(true_ns)
        result = Faulty(data, np.ones(n, np.bool_), np.zeros(n, np.int64), np.zeros(n, np.int64))
        for injected in self._injected.get(stream, ()):
            result = injected.strike(true_ns, result)
        return result

    def until(self, now_ns: int) -> Block | None:
        """The rows of the truth stream in what has passed since the last call, up to and with `now_ns`."""
        spec = self.spec
        if spec is None:
            return None
        borders = {0} | {fault.start_ns for fault in self.planned}
        borders |= {fault.end_ns for fault in self.planned if fault.end_ns is not None}
        stamps = sorted(at for at in borders if self._told_ns < at <= now_ns)
        self._told_ns = now_ns
        if not stamps:
            return None
        rows = [[fault.badly if _lasts(fault, at) else 0.0 for fault in self.planned] for at in stamps]
        return Block(FAULTS, np.array(stamps, np.int64), np.array(rows, np.float64))

    def notes(self, now_ns: int) -> tuple[SourceNote, ...]:
        """A note of each fault that began since the last call, over its span: kind `event`, name `fault`."""
        before_ns, self._noted_ns = self._noted_ns, now_ns
        return tuple(
            SourceNote("event", "fault", fault.said(), fault.sensor, start_ns=fault.start_ns, end_ns=fault.end_ns)
            for fault in self.planned
            if before_ns < fault.start_ns <= now_ns
        )


class _Injected:
    """One fault of one stream, as it goes on."""

    def __init__(self, fault: Fault, spec: StreamSpec, rng: np.random.Generator) -> None:
        self._fault = fault
        self._spec = spec
        self._rng = rng
        self._held: Samples | None = None
        strikers = {
            "stuck": self._stuck,
            "frozen": self._frozen,
            "saturated": self._saturated,
            "bias_step": self._biased,
            "noise": self._noisy,
            "black": self._black,
        }
        self._spoil = strikers.get(fault.kind)

    def strike(self, true_ns: Stamps, so_far: Faulty) -> Faulty:
        fault = self._fault
        struck = true_ns >= fault.start_ns
        if fault.end_ns is not None:
            struck &= true_ns < fault.end_ns
        data, kept, shift_ns, delay_ns = so_far.data, so_far.kept, so_far.shift_ns, so_far.delay_ns
        if self._spoil is not None:
            data = self._spoiled(data, struck)
        elif fault.kind == "drift":
            # what a clock was wrong by stays when it runs right again
            lasted_ns = np.maximum(true_ns - fault.start_ns, 0)
            if fault.end_ns is not None:
                lasted_ns = np.minimum(lasted_ns, fault.end_ns - fault.start_ns)
            shift_ns = shift_ns + np.rint(lasted_ns * (fault.badly * 1e-6)).astype(np.int64)
        elif struck.any():
            size_ns = fault.badly * 1e9
            if fault.kind == "dropout":
                kept = kept & ~(struck & (self._rng.random(len(struck)) < fault.badly))
            elif fault.kind == "late":
                delay_ns = delay_ns + np.where(struck, round(size_ns), 0)
            elif fault.kind == "time_offset":
                shift_ns = shift_ns + np.where(struck, round(size_ns), 0)
            else:
                wrong_ns = np.rint(size_ns * self._rng.standard_normal(len(struck))).astype(np.int64)
                shift_ns = shift_ns + np.where(struck, wrong_ns, 0)
        return Faulty(data, kept, shift_ns, delay_ns)

    def _spoiled(self, data: Samples, struck: npt.NDArray[np.bool_]) -> Samples:
        """The samples, those that are struck made anew; what held before is remembered either way."""
        if self._spoil is None or not len(data):
            return data
        if not struck.any():
            self._held = data[-1].copy()
            return data
        first = int(np.flatnonzero(struck)[0])
        if first:
            self._held = data[first - 1].copy()
        elif self._held is None:
            self._held = data[0].copy()
        spoiled = data.copy()
        spoiled[struck] = self._spoil(data[struck], self._held)
        return spoiled

    def _channels(self, all_by_default: bool) -> Any:
        """Of a row: the columns that are struck."""
        if not self._spec.shape:
            return Ellipsis
        if self._fault.channels:
            return (Ellipsis, [self._spec.channels.index(name) for name in self._fault.channels])
        return Ellipsis if all_by_default else (Ellipsis, [0])

    def _stuck(self, data: Samples, held: Samples) -> Samples:
        spoiled, at = data.copy(), self._channels(all_by_default=False)
        spoiled[at] = held[at]
        return spoiled

    def _frozen(self, data: Samples, held: Samples) -> Samples:
        return np.broadcast_to(held, data.shape)

    def _saturated(self, data: Samples, held: Samples) -> Samples:  # noqa: ARG002
        if self._spec.is_frames:
            return np.stack([_overexposed(frame, self._fault.badly, _white(self._spec)) for frame in data])
        spoiled, at = data.copy(), self._channels(all_by_default=False)
        full = np.broadcast_to(np.asarray(self._spec.full_scale, np.float64), data.shape)
        spoiled[at] = np.where(data < 0, -full, full)[at]
        return spoiled

    def _biased(self, data: Samples, held: Samples) -> Samples:  # noqa: ARG002
        added = np.zeros(data.shape)
        added[self._channels(all_by_default=True)] = self._fault.badly
        return self._within(data + added)

    def _noisy(self, data: Samples, held: Samples) -> Samples:  # noqa: ARG002
        added = np.zeros(data.shape)
        at = self._channels(all_by_default=True)
        added[at] = self._fault.badly * self._rng.standard_normal(added[at].shape)
        return self._within(data + added)

    def _black(self, data: Samples, held: Samples) -> Samples:  # noqa: ARG002
        return self._within(data * (1 - self._fault.badly))

    def _within(self, values: npt.NDArray[np.float64]) -> Samples:
        """Values as the stream can have them."""
        spec = self._spec
        if not spec.dtype.startswith("float"):
            limits = np.iinfo(spec.dtype)
            return np.clip(np.rint(values), limits.min, limits.max).astype(spec.dtype)
        if spec.full_scale is not None:
            full = np.asarray(spec.full_scale, np.float64)
            values = np.clip(values, -full, full)
        return values.astype(spec.dtype)


def _overexposed(frame: Samples, share: float, white: float) -> Samples:
    """The frame so bright that at least `share` of its values are at white."""
    level = max(float(np.quantile(frame, 1 - share)), 1e-6 * white)
    lit = np.minimum(frame * (white / level), white)
    return (np.ceil(lit) if frame.dtype.kind in "ui" else lit).astype(frame.dtype)


def _white(spec: StreamSpec) -> float:
    if spec.dtype.startswith("float"):
        full = spec.full_scale if spec.full_scale is not None else 1.0
        return float(np.max(np.asarray(full)))
    return float(2**spec.bits - 1 if spec.bits else np.iinfo(spec.dtype).max)


def _lasts(fault: Fault, at_ns: int) -> bool:
    return fault.start_ns <= at_ns and (fault.end_ns is None or at_ns < fault.end_ns)
