"""What rows tell of a sensor: channels that stand still, or at full scale, that jump and stay, or drown in noise."""

from collections.abc import Collection
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

LEAST_ROWS = 40
STUCK_ROWS = 20.0
"""Rows in which a lively channel has one value; of one that repeats itself by nature, more (see `_needed`)."""
SATURATED_ROWS = 5.0
"""Rows in a channel at full scale, one behind the other."""
NOISE_TIMES = 10.0
"""By how many times what rows do not tell of each other is more in a tenth of a second and longer than mostly."""
STEP_SIGMAS = 12.0
"""By how many sigmas of what is new in rows a channel jumps from one to the next, and stays there."""
_SURE = 1e-6
_LIVELY = 0.6
_NOISE_ROWS = 20
_AROUND = 10
_OFTEN = 5
_BURSTS = 2
_BURST_SHARE = 0.15
"""A burst of noise goes on for as long as there is so much of its strongest stretch."""
_LASTING = (20, 40, 80)
_NEAR, _ABRUPT = 5, 4.0
"""What rests comes to it, and leaves it, by steps no greater than so many of its least, or of those that follow."""


class RowFaults(NamedTuple):
    """What was found, each over its limit, so that 1 and more is a fault; None where it cannot be told."""

    stuck: float | None
    frozen: float | None
    saturated: float | None
    noise: float | None
    bias_step: float | None
    not_finite: float


def row_faults(
    rows: Floats,
    full_scale: Floats | None,
    rests_at_zero: bool,
    after_gap: Bools | None = None,
    inert: Collection[int] = (),
    joints: bool = False,
    shaken: Collection[int] = (),
) -> RowFaults | None:
    """Look at rows [n, c]; None of so few that nothing can be told.

    `full_scale` [c] is where channels end, if that is known. A channel that stands at 0 may be at rest where
    `rests_at_zero` says so (a wheel), and is not stuck. `after_gap` [n] says before which rows some are missing, over
    which nothing is compared. `inert` are the channels of what cannot jump by nature, as a body's rates. Those of
    `joints` may rest at any value, and stand still for a fault only where they come to it, or leave it, by a leap.
    `shaken` are channels of which nothing is said of noise, as what they measure is shaken.

    >>> rng = np.random.default_rng(0)
    >>> rows = rng.normal(size=(400, 2))
    >>> rows[100:130, 0] = rows[99, 0]
    >>> found = row_faults(rows, None, False)
    >>> found.stuck > 1, found.frozen, found.saturated, found.noise < 1, found.bias_step < 1
    (True, 0.0, None, True, True)
    """
    if len(rows) < LEAST_ROWS:
        return None
    bad = ~np.isfinite(rows)
    at_limit = np.zeros(rows.shape, np.bool_)
    if full_scale is not None:
        with np.errstate(invalid="ignore"):
            at_limit = np.abs(rows) >= 0.999 * full_scale
    runs = _runs(rows, at_limit, rests_at_zero)
    lively = [channel for channel, run in enumerate(runs) if run is not None]
    stuck = frozen = None
    abrupt: list[int] = []
    if lively:
        together = _together([runs[channel] for channel in lively])
        abrupt = [channel for channel in lively if not joints or _leaps(rows[:, channel], runs[channel])]
        known = (runs[channel] for channel in abrupt)
        alone = max((float(run[0] / run[1]) for run in known if run is not None), default=0.0)
        if not abrupt:
            together = 0.0
        all_of_them = len(lively) > 1 and together >= 1
        frozen = together if len(lively) > 1 else None
        stuck = 0.0 if all_of_them else alone
    clean = np.where(bad, 0.0, rows)
    spoiled: Bools = np.asarray(bad.any(axis=1) | at_limit.any(axis=1))
    if lively:
        spoiled |= _standing(rows, abrupt)
    if after_gap is not None:
        spoiled |= after_gap
    moves = [channel for channel in range(rows.shape[1]) if np.ptp(clean[:, channel]) > 0]
    return RowFaults(
        stuck,
        frozen,
        float(max(_longest(at_limit[:, channel]) for channel in range(rows.shape[1]))) / SATURATED_ROWS
        if full_scale is not None
        else None,
        max((_noise(clean[:, channel], spoiled) for channel in moves if channel not in shaken), default=None),
        max((_step(clean[:, channel], spoiled, channel in inert) for channel in moves), default=None),
        float(bad.mean()) * 1000,
    )


_Run = tuple[int, float, int]


def _runs(rows: Floats, at_limit: Bools, rests_at_zero: bool) -> list[_Run | None]:
    """Of each channel its longest run of one value, how long one would be a fault, and where it begins; None of a
    channel that stands as often as not."""
    found: list[_Run | None] = []
    for channel in range(rows.shape[1]):
        values = rows[:, channel]
        same = np.concatenate([[False], (values[1:] == values[:-1]) | (np.isnan(values[1:]) & np.isnan(values[:-1]))])
        same &= ~at_limit[:, channel]
        if rests_at_zero:
            same &= values != 0
        length, start = _longest_at(same)
        outside = len(values) - length
        others = float(same.sum() - length) / max(outside, 1)
        if others >= _LIVELY or outside < LEAST_ROWS // 2:
            found.append(None)
        else:
            found.append((length, _needed(others, len(values)), start))
    return found


def _leaps(values: Floats, run: _Run | None) -> bool:
    """Whether a run of one value begins in the midst of a motion, or ends with what was missed meanwhile."""
    if run is None:
        return False
    length, _, start = run  # the first that repeats the one before it
    steps = np.abs(np.diff(values))
    least = float(steps[steps > 0].min(initial=np.inf))
    before, after = steps[max(0, start - 1 - _NEAR) : start - 1], steps[start + length : start + length + _NEAR]
    begins = float(np.median(before)) if len(before) else 0.0
    ends = float(steps[start + length - 1]) if start + length <= len(steps) else 0.0
    usual = max(least, float(np.median(after)) if len(after) else 0.0)
    return begins > _ABRUPT * least or ends > _ABRUPT * usual


def _needed(share: float, rows: int) -> float:
    """How many repeats chance would not make of a channel that repeats its last value in a `share` of rows."""
    if share <= 0:
        return STUCK_ROWS
    # Twice, as rows that repeat themselves do so more when little goes on.
    return max(STUCK_ROWS, 2 * float(np.log(_SURE / rows) / np.log(share)))


def _together(runs: list[_Run | None]) -> float:
    """How long all of them stood in the same rows, over how long that would be a fault."""
    known = [run for run in runs if run is not None]
    start = max(run[2] for run in known)
    stop = min(run[2] + run[0] for run in known)
    return max(0, stop - start) / max(run[1] for run in known)


def _standing(rows: Floats, channels: list[int]) -> Bools:
    """The rows in which some channel has stood for half of what is a fault, or is the first that does not again."""
    found = np.zeros(len(rows), np.bool_)
    for channel in channels:
        values = rows[:, channel]
        edges = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1], [True]]))
        for first, last in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            if last - first >= STUCK_ROWS / 2:
                found[first : last + 1] = True
    return found


def _noise(values: Floats, spoiled: Bools) -> float:
    """What is new in stretches of rows over what mostly is, less the limit's own 1."""
    bent = np.abs(np.diff(values, n=3))
    held = ~(spoiled[3:] | spoiled[2:-1] | spoiled[1:-2] | spoiled[:-3])
    levels = []
    for first in range(0, len(bent) - _NOISE_ROWS + 1, _NOISE_ROWS // 2):
        part = bent[first : first + _NOISE_ROWS][held[first : first + _NOISE_ROWS]]
        if len(part) >= _NOISE_ROWS * 3 // 4:
            levels.append(float(np.median(part)))
    if len(levels) < 4:
        return 0.0
    found = np.array(levels)
    usual = max(float(np.median(found)), _quantum(values), _by_nature(found))
    # Two stretches that overlap by half: one that is short has one of its own at least.
    return max(levels) / max(usual, 1e-9 * float(np.ptp(values)) + 1e-300) / NOISE_TIMES


def _by_nature(levels: Floats) -> float:
    """The level of the strongest stretch besides two bursts: a fault comes once or twice, while what is shaken as it
    goes over stones is so again and again."""
    left = levels.copy()
    for _ in range(_BURSTS):
        top = int(left.argmax())
        quiet = np.flatnonzero(left < _BURST_SHARE * left[top])
        place = int(quiet.searchsorted(top))
        first = int(quiet[place - 1]) if place else -1
        last = int(quiet[place]) if place < len(quiet) else len(left)
        left[max(first - 1, 0) : last + 2] = 0.0  # with what a stretch has half of
    return float(left.max())


def _quantum(values: Floats) -> float:
    """The step of a channel of few values: the least difference between two rows, where many do not differ."""
    steps = np.abs(np.diff(values))
    return float(steps[steps > 0].min()) if (steps == 0).mean() > 0.02 and steps.any() else 0.0


def _step(values: Floats, spoiled: Bools, inert: bool) -> float:
    """The greatest jump that stays, in sigmas of what is new from row to row around it, over its limit."""
    steps = np.diff(values)
    bent = np.abs(np.diff(values, n=2))
    best = 0.0
    floor = max(1e-9 * float(np.ptp(values)), _quantum(values)) + 1e-300
    # A fault has two ends; what jumps more often does so by nature, as what walks.
    trends = np.median(
        np.lib.stride_tricks.sliding_window_view(np.pad(steps, _AROUND, mode="edge"), 2 * _AROUND + 1), 1
    )
    jumps = np.where(spoiled[1:] | spoiled[:-1], 0.0, np.abs(steps - trends))
    floor = max(floor, float(np.sort(jumps)[-_OFTEN]) / 3)
    candidates = np.argsort(jumps)[-8:]
    for row in candidates.tolist():
        if row < _AROUND or row + 1 + _AROUND >= len(values) or spoiled[row - _AROUND : row + 2 + _AROUND].any():
            continue
        near = np.concatenate([steps[row - _AROUND : row], steps[row + 1 : row + 1 + _AROUND]])
        jump = float(steps[row] - np.median(near))
        before, after = values[row - _AROUND + 1 : row + 1], values[row + 1 : row + 1 + _AROUND]
        trend = float(np.median(near)) * _AROUND
        stays = float(np.median(after) - np.median(before)) - trend
        around = bent[max(0, row - 5 * _AROUND) : row + 5 * _AROUND]
        sigma = max(float(np.median(around)) / 0.6745, float(np.abs(near - np.median(near)).max()) / 2, floor)
        if jump * stays > 0 and abs(stays) > 0.6 * abs(jump) and (inert or _lasts(values, row, jump)):
            best = max(best, abs(jump) / sigma)
    return best / STEP_SIGMAS


def _lasts(values: Floats, row: int, jump: float) -> bool:
    """Whether the level stays where it jumped to, as one does not that began to move."""
    for length in _LASTING:
        before, after = values[max(0, row + 1 - length) : row + 1], values[row + 1 : row + 1 + length]
        if abs(float(np.median(after) - np.median(before)) / jump - 1) > 0.5:
            return False
    return True


def _longest(flags: Bools) -> int:
    return _longest_at(flags)[0]


def _longest_at(flags: Bools) -> tuple[int, int]:
    """The longest run of what is true: its length, and where it begins."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    if not len(edges):
        return 0, 0
    lengths = edges[1::2] - edges[::2]
    which = int(lengths.argmax())
    return int(lengths[which]), int(edges[2 * which])
