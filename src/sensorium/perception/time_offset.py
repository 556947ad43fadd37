"""The time offset between a camera and a gyro that moves with it, told by how what is seen turns as they are turned."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sensorium.drivers.stream import Stamps

Floats = npt.NDArray[np.float64]

MOST_S = 0.2
"""Offsets are looked for up to so much, either way."""
LEAST_PAIRS = 25
_STEP_S = 0.002
_LONGEST_S = 0.25
# 95% of a chi-square of one degree, times two: what is left behind the whitening is not quite independent.
_LIKELY = 2 * 3.84
_CERTAIN = 25.0
_FOLLOWED = 2.0
"""So much more, in log likelihood a pair, do turns tell where the way may follow from them: of flights of `sim-drone`
along a route up to 1.9; hovering in gusts 1.6, and was 5 ms wrong, or from 2.6 on, and was up to 14 ms wrong."""
_LITTLE_RAD_S, _TELLING = 0.03, 3.0
"""What turns less than so much must be told by its turns alone, by so much log likelihood a pair. What a rover sees
that stands on a slope, and rocks and creeps, is its way: at 0.003 to 0.011 rad/s it gained up to 1.7, and was 12 ms
wrong. The EuRoC excerpt, which hardly turns (0.010), gains 4 to 6, and is 0.3 ms wrong."""
_OFFSETS: Floats = np.arange(-round(MOST_S / _STEP_S), round(MOST_S / _STEP_S) + 1).astype(np.float64) * _STEP_S
# Of a camera that turns by a small angle what it sees moves and turns against it: right by that around y, down by that
# around x, clockwise by that around z.
SEEN_OF_TURN = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])


class TimeOffset(NamedTuple):
    """By how much the camera's stamps are late against the gyro's, s, and between what it lies (about 95%);
    `gain` is by how much the turns explain what is seen, in log likelihood."""

    offset_s: float
    low_s: float
    high_s: float
    gain: float


def time_offset(
    seen_ns: Stamps, motion: Floats, gyro_ns: Stamps, rates: Floats, seen_of_turn: Floats
) -> TimeOffset | str:
    """The offset, or why it cannot be told.

    Args:
        seen_ns: When each picture was taken, [n].
        motion: Between each and the one before, [n, 5] as `ImageMotion`; NaN where it is not known, as in the first.
        gyro_ns: Stamps of the gyro's rows, [m].
        rates: Its rates around three axes, rad/s, [m, 3].
        seen_of_turn: By how much turns around them move what is seen (right, down, clockwise), [3, 3].

    For each offset the turns between two pictures predict how what is seen moved. What is left is taken for the motion
    past what is near, whitened by two lags, and the offset is where least is left of all three by their log likelihood.
    It is told twice, the second time less what of that motion follows from the tilt, as of what flies: how far the two
    are apart is doubt, so that the interval holds those of both. Where most of it follows, nothing is told. The turn is
    not the curl alone: a way past a plane that is not square to it has one too, which its deformation tells (J.
    Koenderink and A. van Doorn, "Local structure of movement parallax of the plane", 1976).

    >>> at, rng = np.arange(0, 6, 0.005), np.random.default_rng(0)
    >>> angle = lambda t: 0.2 * np.column_stack([np.sin(3 * t), np.sin(4 * t + 1), np.sin(5 * t + 2)])
    >>> rates = np.gradient(angle(at), at, axis=0)
    >>> taken = np.arange(0.5, 5.5, 0.05)
    >>> seen = np.diff(angle(taken), axis=0, prepend=np.nan) @ SEEN_OF_TURN.T
    >>> motion = np.column_stack([seen * [1, 1, 2], np.zeros((len(seen), 2))]) + rng.normal(0, 1e-4, (len(seen), 5))
    >>> late_ns = np.round(taken * 1e9).astype(np.int64) + 30_000_000
    >>> found = time_offset(late_ns, motion, np.round(at * 1e9).astype(np.int64), rates, SEEN_OF_TURN)
    >>> round(found.offset_s, 3), found.low_s < 0.03 < found.high_s
    (0.03, True)
    """
    start_ns = int(min(seen_ns[0], gyro_ns[0])) if len(seen_ns) and len(gyro_ns) else 0
    seen, gyro = (seen_ns - start_ns) / 1e9, (gyro_ns - start_ns) / 1e9
    if len(gyro) < 2 or len(seen) < 2:
        return "too few samples"
    steps = (rates[1:] + rates[:-1]) / 2 * np.diff(gyro)[:, None]
    turned = np.vstack([np.zeros(3), np.cumsum(steps, axis=0)])
    spans = np.diff(seen, prepend=seen[0])
    held = np.isfinite(motion).all(axis=1) & (spans > 0) & (spans < _LONGEST_S)
    held &= (seen - spans - MOST_S >= gyro[0]) & (seen + MOST_S <= gyro[-1])
    pairs = int(held.sum())
    if pairs < LEAST_PAIRS:
        return f"{pairs} pairs of pictures with points to follow and the gyro around them, at least {LEAST_PAIRS}"
    seen, spans, motion = seen[held], spans[held], motion[held]

    def least(follows: bool) -> TimeOffset | str:
        """The offset at which least is left, whether or not the way `follows` from the tilt."""

        def left(predicted: Floats) -> float:
            return pairs * float(np.log(_residuals(motion, predicted, follows)).sum())

        def left_at(offset_s: float) -> float:
            ends = [_between(gyro, turned, at - offset_s) for at in (seen - spans, seen)]
            return left((ends[1] - ends[0]) @ seen_of_turn.T)

        return _least(np.array([left_at(float(offset)) for offset in _OFFSETS]), left(np.zeros((pairs, 3))))

    plain, following = least(False), least(True)
    if isinstance(plain, str) or isinstance(following, str):
        return plain if isinstance(plain, str) else str(following)
    if (following.gain - plain.gain) / pairs > _FOLLOWED:
        return "its way follows from its turns, as of what hovers, and what is seen of either cannot be told apart"
    gain = min(plain.gain, following.gain)
    rates_seen = (_between(gyro, turned, seen) - _between(gyro, turned, seen - spans)) / spans[:, None]
    rate = float(np.sqrt(rates_seen.var(axis=0).sum()))
    if rate < _LITTLE_RAD_S and gain / pairs < _TELLING:
        return f"it hardly turns ({rate:.3f} rad/s), and what is seen may be its way"
    return TimeOffset(
        (plain.offset_s + following.offset_s) / 2,
        min(plain.low_s, following.low_s),
        max(plain.high_s, following.high_s),
        gain,
    )


def _least(curve: Floats, still: float) -> TimeOffset | str:
    """Where the curve over `_OFFSETS` is least; `still` is what is left where nothing is predicted."""
    best = int(curve.argmin())
    gain = still - float(curve[best])
    if gain < _CERTAIN:
        return f"what is seen does not move as the gyro turns (log likelihood gained {gain:.0f}, at least {_CERTAIN:g})"
    if best in (0, len(curve) - 1):
        return f"it lies beyond {MOST_S * 1000:g} ms, or the turns repeat themselves"
    offset_s, lowest = _vertex(_OFFSETS, curve, best)
    return TimeOffset(offset_s, *_crossings(_OFFSETS, curve, best, lowest + _LIKELY), gain)


def _between(gyro: Floats, turned: Floats, at: Floats) -> Floats:
    return np.column_stack([np.interp(at, gyro, turned[:, axis]) for axis in range(3)])


def _residuals(motion: Floats, predicted: Floats, follows: bool) -> Floats:
    """The variance of what is new in what is left of right, down and clockwise, [3]."""
    way = motion[:, :2] - predicted[:, :2]
    length = np.maximum((way**2).sum(axis=1), 1e-18)
    # Twice the direction of the way; the curl of a plane's parallax is its deformation, turned by that.
    along, across = (way[:, 0] ** 2 - way[:, 1] ** 2) / length, 2 * way[:, 0] * way[:, 1] / length
    turn = (motion[:, 2] + along * motion[:, 4] - across * motion[:, 3]) / 2
    if follows:
        way = way - _followed(way, predicted[:, :2])
    return np.array([_innovation(each) for each in (way[:, 0], way[:, 1], turn - predicted[:, 2])])


def _followed(way: Floats, predicted: Floats) -> Floats:
    """What of the way past what is near follows from how the body is tilted: what flies is driven by its tilt, so that
    its speed has as much of the tilt's integral; and what is as slow as a trend. By least squares."""
    tilt = np.cumsum(predicted, axis=0)
    tilt -= tilt.mean(axis=0)
    time = np.linspace(-1, 1, len(way))
    told = np.column_stack([tilt, np.cumsum(tilt, axis=0), np.ones(len(way)), time, time**2])
    if not tilt.any():
        told = told[:, 4:]
    return np.asarray(told @ np.linalg.lstsq(told, way, rcond=None)[0], np.float64)


def _innovation(values: Floats) -> float:
    """The variance of a series that its last two values do not tell (Yule-Walker, order 2)."""
    values = values - values.mean()
    whole, one, two = (float(values[lag:] @ values[: len(values) - lag]) for lag in (0, 1, 2))
    if whole <= 0:
        return 1e-18
    first, second = one / whole, two / whole
    rest = max(1 - first**2, 1e-6)
    gains = first * (1 - second) / rest, (second - first**2) / rest
    told = gains[0] * first + gains[1] * second
    return max(whole / len(values) * max(1 - told, 1e-6), 1e-18)


def _vertex(offsets: Floats, curve: Floats, best: int) -> tuple[float, float]:
    """The least of the parabola through the least value and its neighbours: where, and how much."""
    before, least, after = (float(curve[best + step]) for step in (-1, 0, 1))
    bend = before - 2 * least + after
    shift = 0.0 if bend <= 0 else (before - after) / (2 * bend)
    return float(offsets[best]) + shift * _STEP_S, least - bend * shift**2 / 2


def _crossings(offsets: Floats, curve: Floats, best: int, level: float) -> tuple[float, float]:
    """The outermost offsets that are as likely as `level`; whatever lies between is possible too."""
    likely = np.flatnonzero(curve <= level)
    first, last = (int(likely[0]), int(likely[-1])) if len(likely) else (best, best)
    ends = []
    for inner, outer in ((first, first - 1), (last, last + 1)):
        if not 0 <= outer < len(curve):
            ends.append(float(offsets[inner]))
            continue
        share = (level - curve[inner]) / max(curve[outer] - curve[inner], 1e-12)
        ends.append(float(offsets[inner] + np.clip(share, 0, 1) * (offsets[outer] - offsets[inner])))
    return ends[0], ends[1]
