"""Scores of rows: whether channels are at their limits, stuck or late, and what goes on in them."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sensorium.drivers.described import Vectors
from sensorium.drivers.stream import Samples, Scores, Stamps, StreamSpec
from sensorium.perception.bands import Bands, bands_of, described
from sensorium.perception.health import bounds

STUCK_ROWS = 20
_PLATEAU_ROWS = 5
_LIVELY = 0.5

Rows = npt.NDArray[np.float64]

NAMES = ("saturated", "stuck", "jitter", "energy")
"""All scores of a row; docs/scores.md says what they mean."""


@dataclass(frozen=True, slots=True)
class Watched:
    """What is known of a stream of rows: its limits by channel, its nominal interval, its bands, and by what whole
    numbers are divided there."""

    low: Rows | None
    high: Rows | None
    period_ns: float | None
    bands: Bands
    scale: float


@dataclass(frozen=True, slots=True)
class RowsBefore:
    """What is remembered of the rows before, of c channels: the last one, its stamp, for how many rows each channel has
    had that value, the least and largest so far, how often each changed in how many; the rows of a window that is not
    full, and the energy of the last that was."""

    row: Rows | None = None
    at_ns: int = 0
    run: npt.NDArray[np.int64] | None = None
    least: Rows | None = None
    largest: Rows | None = None
    changes: npt.NDArray[np.int64] | None = None
    count: int = 0
    waiting: Rows | None = None
    energy: float = np.nan


class LookedRows(NamedTuple):
    """What is said of n rows: scores by name, float64 [n]; which rows end a window, int64 [m]; its descriptors."""

    scores: dict[str, Scores]
    ends: npt.NDArray[np.int64]
    vectors: Vectors


def watched(spec: StreamSpec) -> Watched:
    """What is to be known of a stream of rows [n, *shape] of any type."""
    channels = int(np.prod(spec.shape, dtype=np.int64))
    low, high = bounds(spec) or (None, None)
    whole = np.dtype(spec.dtype).kind in "iu"
    return Watched(
        None if low is None else np.broadcast_to(np.asarray(low, np.float64), channels),
        None if high is None else np.broadcast_to(np.asarray(high, np.float64), channels),
        None if spec.rate_hz is None else 1e9 / spec.rate_hz,
        bands_of(channels, spec.rate_hz),
        float(np.iinfo(spec.dtype).max) if whole else 1.0,
    )


def look_rows(
    before: RowsBefore, of: Watched, data: Samples, captured_ns: Stamps, lost_before: int
) -> tuple[RowsBefore, LookedRows]:
    """Score n rows [n, ...]; what is remembered then, and what is said. It does not matter how rows come in blocks.

    `saturated`: the share of channels at their limit; where none is known, of those that stay at the largest or least
    value they ever had for five rows and more, though they change from row to row else. `stuck`: the share that had
    one value for 20 rows or more, NaN included. `jitter`: how far the interval before is from the nominal one, in
    nominal ones; NaN without one, and behind a loss. `energy`: log10 of what goes on, mean taken off, in the last whole
    window; NaN before it. A loss begins a window anew.

    >>> rows = np.column_stack([np.arange(40.0), np.full(40, 7.0)])
    >>> spec = StreamSpec(name="imu", modality="imu", dtype="float64", shape=(2,), rate_hz=100)
    >>> _, looked = look_rows(RowsBefore(), watched(spec), rows, np.arange(40) * 10_000_000, 0)
    >>> looked.scores["stuck"][[0, 19, 39]].tolist(), looked.scores["jitter"][[1, 39]].tolist(), looked.ends.tolist()
    ([0.0, 0.5, 0.5], [0.0, 0.0], [])
    """
    n = len(data)
    values = data.reshape(n, of.bands.channels).astype(np.float64)
    if lost_before:
        before = replace(before, waiting=None)
    jitter = np.full(n, np.nan)
    if n == 0:
        none = np.zeros(0)
        found = {"saturated": none, "stuck": none, "jitter": jitter, "energy": none}
        return before, LookedRows(found, np.zeros(0, np.int64), np.zeros((0, of.bands.size), np.int8))
    if of.period_ns is not None:
        intervals = np.diff(captured_ns, prepend=before.at_ns)
        jitter = np.abs(intervals / of.period_ns - 1)
        if lost_before or before.row is None:
            jitter[0] = np.nan
    before, run, saturated = _limits(before, of, values)
    before, energy, ends, vectors = _windows(before, of, values / of.scale)
    scores = {
        "saturated": saturated,
        "stuck": (run >= STUCK_ROWS).mean(axis=1),
        "jitter": jitter,
        "energy": energy,
    }
    return replace(before, row=values[-1].copy(), at_ns=int(captured_ns[-1])), LookedRows(scores, ends, vectors)


def _limits(before: RowsBefore, of: Watched, values: Rows) -> tuple[RowsBefore, npt.NDArray[np.int64], Scores]:
    """For how many rows each channel has had its value, [n, c], and the share of channels that are saturated."""
    n, c = values.shape
    last = np.full(c, np.inf) if before.row is None else before.row
    earlier = np.vstack([last, values[:-1]])
    same = (values == earlier) | (np.isnan(values) & np.isnan(earlier))
    if before.row is None:
        same[0] = False
    rows = np.arange(n)[:, None]
    changed = np.maximum.accumulate(np.where(same, -1, rows), axis=0)
    run = np.where(changed >= 0, rows - changed + 1, rows + 1 + (0 if before.run is None else before.run))
    least = np.fmin.accumulate(values if before.least is None else np.vstack([before.least, values]), axis=0)[-n:]
    largest = np.fmax.accumulate(values if before.largest is None else np.vstack([before.largest, values]), axis=0)[-n:]
    changes = np.cumsum(~same, axis=0) + (0 if before.changes is None else before.changes)
    if of.high is not None:
        at_limit = values >= of.high
        if of.low is not None:
            at_limit |= values <= of.low
    else:
        lively = changes > _LIVELY * (before.count + rows + 1)
        at_limit = ((values == largest) | (values == least)) & (run >= _PLATEAU_ROWS) & lively & (largest > least)
    after = replace(
        before,
        run=run[-1].copy(),
        least=least[-1].copy(),
        largest=largest[-1].copy(),
        changes=changes[-1].copy(),
        count=before.count + n,
    )
    return after, run, at_limit.mean(axis=1)


def _windows(
    before: RowsBefore, of: Watched, values: Rows
) -> tuple[RowsBefore, Scores, npt.NDArray[np.int64], Vectors]:
    """Of every row the energy of the last whole window, [n]; which rows end one, and their descriptors."""
    held = 0 if before.waiting is None else len(before.waiting)
    rows = values if before.waiting is None else np.vstack([before.waiting, values])
    size = of.bands.window
    whole = len(rows) // size
    ends = (np.arange(1, whole + 1) * size - held - 1).astype(np.int64)
    energies = of.bands.energies(rows[: whole * size].reshape(whole, size, -1)) if whole else np.zeros((0, 1, 1))
    vectors = described(energies, of.bands.lines) if whole else np.zeros((0, of.bands.size), np.int8)
    totals = np.log10(np.maximum(energies.sum(axis=(1, 2)), 1e-30))
    levels = np.concatenate([[before.energy], totals])
    energy = levels[np.searchsorted(ends, np.arange(len(values)), side="right")]
    rest = rows[whole * size :].copy()
    return replace(before, waiting=rest, energy=float(levels[-1])), energy, ends, vectors
