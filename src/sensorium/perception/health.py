"""Health: whether a stream is worth keeping, told from its samples as they pass, in bounded memory."""

from operator import sub
from typing import Any

import numpy as np

from sensorium.drivers.stream import Block, Samples, Stamps, StreamSpec
from sensorium.errors import ConfigError
from sensorium.perception.exposure import white_level
from sensorium.perception.gray import check_pictures, gray
from sensorium.perception.percentile import percentile_of_sorted
from sensorium.perception.reservoir import FEW, Reservoir, percentiles
from sensorium.perception.sharpness import sharpness

GAP_PERIODS = 1.5
_GRID_PIXELS = 10_000
_BLUR_EVERY_NS = 200_000_000
_BLUR_SIDES = (480, 640)
_STUCK_ROWS = 20
_AT_FULL_SCALE = 0.999


class StreamHealth:
    """What one episode's samples of one stream say about the sensor.

    Feed it the blocks as captured: after a filter that drops, every drop looks like a gap. Of pictures it looks at a
    grid of some 10,000 pixels, and at the sharpness of the middle of at most five pictures a second, so the cost does
    not grow with their size: on the machine this was written on 0.09 ms a frame of 640x480x3, 0.22 ms more for each
    whose sharpness is measured, and 0.08 ms for 50 rows of an IMU.
    """

    def __init__(self, spec: StreamSpec) -> None:
        self._has_pictures = _is_pictures(spec)
        self._spec = spec
        self._timing = _Timing(spec.rate_hz)
        self._range = _Range(spec, bounds(spec))
        self._blur = _Blur(spec.color_order) if self._has_pictures else None

    def anew(self) -> "StreamHealth":
        """That of another episode of the stream; what is known of the stream is not found out again."""
        other = StreamHealth.__new__(StreamHealth)
        other._has_pictures, other._spec = self._has_pictures, self._spec
        other._timing = _Timing(self._spec.rate_hz)
        other._range = _Range(self._spec, self._range.limits)
        other._blur = _Blur(self._spec.color_order) if self._has_pictures else None
        return other

    def update(self, block: Block) -> None:
        """Take in one block of the stream, [n, *shape]; without data, [0, *shape], its stamps alone."""
        self.see(block.captured_ns, block.data)

    def see(self, captured_ns: Stamps, data: Samples) -> None:
        """The same, of its stamps and samples."""
        if not len(captured_ns):
            return
        self._timing.update(captured_ns)
        if len(data):
            self._range.update(data)
            if self._blur is not None:
                self._blur.update(captured_ns, data)

    def summary(self) -> dict[str, Any]:
        """What was found so far, as plain values for JSON; None where a thing cannot be told.

        `rate_hz` over the whole span; `interval_ms` and `jitter_ms` (the distance from the median interval) p50 and
        p99; `gaps`: how many intervals were longer than 1.5 nominal periods, the longest, and the stamp it follows;
        `saturated_share` of the values at full scale or at the type's limit, and `saturated` channels; `stuck`
        channels, which had one value in at least 20 samples ("all" if a whole picture stood still); `sharpness` p10
        and p50.
        """
        sharp = None if self._blur is None else self._blur.summary()
        return self._timing.summary() | self._range.summary() | {"sharpness": sharp}


class _Timing:
    """When samples came: how many, how regularly, and where one is missing."""

    def __init__(self, rate_hz: float | None) -> None:
        self._rate_hz = rate_hz
        self._rows = 0
        self._first_ns = self._last_ns = 0
        self._gaps = 0
        self._longest_ns = self._longest_at_ns = 0
        self._intervals_ns = Reservoir()

    def update(self, captured_ns: Stamps) -> None:
        if len(captured_ns) == 1 and self._rows:  # frames come one by one, and numpy takes longer to begin than to do
            self._single(int(captured_ns[0]))
            return
        if len(captured_ns) <= FEW and self._few(captured_ns.tolist()):
            return
        if not self._rows:
            self._rows, self._first_ns = 1, int(captured_ns[0])
            self._last_ns = self._first_ns
        else:
            self._single(int(captured_ns[0]))
        if len(captured_ns) <= FEW:
            for stamp_ns in captured_ns[1:].tolist():
                self._single(stamp_ns)
            return
        intervals_ns = captured_ns[1:] - captured_ns[:-1]
        self._rows += len(intervals_ns)
        self._last_ns = int(captured_ns[-1])
        if not len(intervals_ns):
            return
        self._intervals_ns.add(intervals_ns.astype(np.float64))
        if self._rate_hz is not None:
            self._gaps += int(np.count_nonzero(intervals_ns > GAP_PERIODS * 1e9 / self._rate_hz))
        longest = int(intervals_ns.argmax())
        if intervals_ns[longest] > self._longest_ns:
            self._longest_ns, self._longest_at_ns = int(intervals_ns[longest]), int(captured_ns[longest])

    def _few(self, captured_ns: list[int]) -> bool:
        """Take some stamps together, as long as all were few; False if they are to be taken one by one."""
        before = [self._last_ns] if self._rows else []
        stamps_ns = before + captured_ns
        intervals_ns = list(map(sub, stamps_ns[1:], stamps_ns))
        if not self._intervals_ns.add_few(list(map(float, intervals_ns))):
            return False
        if not self._rows:
            self._first_ns = captured_ns[0]
        self._rows, self._last_ns = self._rows + len(captured_ns), captured_ns[-1]
        longest_ns = max(intervals_ns, default=0)
        if longest_ns > self._longest_ns:
            self._longest_ns, self._longest_at_ns = longest_ns, stamps_ns[intervals_ns.index(longest_ns)]
        if self._rate_hz is not None and longest_ns > (most_ns := GAP_PERIODS * 1e9 / self._rate_hz):
            self._gaps += sum([interval_ns > most_ns for interval_ns in intervals_ns])
        return True

    def _single(self, captured_ns: int) -> None:
        interval_ns, last_ns = captured_ns - self._last_ns, self._last_ns
        self._rows, self._last_ns = self._rows + 1, captured_ns
        self._intervals_ns.add_one(interval_ns)
        if self._rate_hz is not None and interval_ns > GAP_PERIODS * 1e9 / self._rate_hz:
            self._gaps += 1
        if interval_ns > self._longest_ns:
            self._longest_ns, self._longest_at_ns = interval_ns, last_ns

    def summary(self) -> dict[str, Any]:
        span_ns = self._last_ns - self._first_ns
        interval_ms, jitter_ms = _regularity(self._intervals_ns.ordered())
        return {
            "rows": self._rows,
            "rate_hz": round((self._rows - 1) * 1e9 / span_ns, 4) if span_ns > 0 else None,
            "interval_ms": interval_ms,
            "jitter_ms": jitter_ms,
            "gaps": self._gap_summary(),
        }

    def _gap_summary(self) -> dict[str, Any] | None:
        if self._rate_hz is None:
            return None
        found = self._gaps > 0
        return {
            "count": self._gaps,
            "longest_ms": self._longest_ns / 1e6 if found else None,
            "longest_after_ns": self._longest_at_ns if found else None,
        }


class _Range:
    """Saturation, and the least and largest value of every channel, or of every pixel on the grid."""

    def __init__(self, spec: StreamSpec, limits: "tuple[Any, Any] | None") -> None:
        self._spec = spec
        self.limits = limits
        self._stride = max(1, int((spec.shape[0] * spec.shape[1] / _GRID_PIXELS) ** 0.5)) if spec.is_frames else 1
        self._rows_seen = self._values_seen = 0
        channels = 1 if spec.is_frames or limits is None else max(int(np.prod(spec.shape)), 1)
        self._saturated = np.zeros(channels, np.int64)
        self._early: list[Samples] = []
        self._low: Samples | None = None
        self._high: Samples | None = None

    def update(self, data: Samples) -> None:
        if self._spec.is_frames:
            values = data[:, :: self._stride, :: self._stride].reshape(len(data), -1)
        else:
            values = data.reshape(len(data), -1)
        self._rows_seen += len(data)
        self._values_seen += values.size
        if self.limits is not None:
            low, high = self.limits
            saturated = values >= high
            if low is not None:
                saturated |= values <= low
            self._saturated += np.count_nonzero(saturated, axis=None if self._spec.is_frames else 0)
        if self._rows_seen < _STUCK_ROWS and not self._spec.is_frames:
            self._early.append(values)  # so few tell nothing of their range
            return
        if self._early:
            values = np.concatenate([*self._early, values])
            self._early = []
        least, largest = (values[0], values[0]) if len(values) == 1 else (values.min(axis=0), values.max(axis=0))
        self._low = least.copy() if self._low is None else np.minimum(self._low, least)
        self._high = largest.copy() if self._high is None else np.maximum(self._high, largest)

    def summary(self) -> dict[str, Any]:
        return {
            "saturated_share": self._saturated_share(),
            "saturated": [] if self._spec.is_frames or self.limits is None else self._names(self._saturated > 0),
            "stuck": self._stuck(),
        }

    def _saturated_share(self) -> float | None:
        if self.limits is None or not self._values_seen:
            return None
        return round(float(self._saturated.sum()) / self._values_seen, 6)

    def _stuck(self) -> list[str]:
        if self._low is None or self._high is None or self._rows_seen < _STUCK_ROWS:
            return []
        # a channel of nothing but NaN is as stuck as one that stays at a number
        same = (self._low == self._high) | (np.isnan(self._low) if self._low.dtype.kind == "f" else False)
        if self._spec.is_frames:
            return ["all"] if bool(same.all()) else []
        return self._names(same)

    def _names(self, picked: Samples) -> list[str]:
        names = self._spec.channels if len(self._spec.channels) == len(picked) else range(len(picked))
        return [str(name) for name, is_picked in zip(names, picked.tolist(), strict=True) if is_picked]


class _Blur:
    """How sharp the middle of a picture is, of at most five a second."""

    def __init__(self, color_order: str) -> None:
        self._color_order = color_order
        self._sharpness = Reservoir(1024)
        self._due_ns: int | None = None

    def update(self, captured_ns: Stamps, data: Samples) -> None:
        for row, stamp in enumerate(captured_ns.tolist()):
            if self._due_ns is None or stamp >= self._due_ns:
                self._due_ns = stamp + _BLUR_EVERY_NS
                middle = _middle(data[row])
                self._sharpness.add(np.array([sharpness(gray(middle, self._color_order))]))

    def summary(self) -> dict[str, float] | None:
        return self._sharpness.percentiles(10, 50)


def _regularity(intervals_ns: list[float]) -> tuple[dict[str, float] | None, dict[str, float] | None]:
    """Of intervals in order: they, and how far they are from the one in the middle, in ms."""
    if not intervals_ns:
        return None, None
    if intervals_ns[0] == intervals_ns[-1]:  # as a world's clock goes
        return _in_ms(intervals_ns[:1]), {"p50": 0.0, "p99": 0.0}
    middle_ns = percentile_of_sorted(intervals_ns, 50)  # stamps are whole numbers
    return _in_ms(intervals_ns), _in_ms(sorted(abs(interval_ns - middle_ns) for interval_ns in intervals_ns))


def _in_ms(intervals_ns: list[float]) -> dict[str, float] | None:
    found = percentiles(intervals_ns, 50, 99)
    return None if found is None else {name: value / 1e6 for name, value in found.items()}


def _is_pictures(spec: StreamSpec) -> bool:
    try:
        check_pictures(spec)
    except ConfigError:
        return False
    return True


def _middle(picture: Samples) -> Samples:
    top, left = (max(side - kept, 0) // 2 for side, kept in zip(picture.shape, _BLUR_SIDES, strict=False))
    return picture[top : top + _BLUR_SIDES[0], left : left + _BLUR_SIDES[1]]


def bounds(spec: StreamSpec) -> tuple[Any, Any] | None:
    """The values at and beyond which a sample is saturated, low (None: nothing is) and high; None if not known."""
    if spec.dtype == "bool" or (spec.dtype.startswith("float") and spec.full_scale is None):
        return None
    if spec.full_scale is not None and not spec.is_frames:
        # a converted value may fall short of full scale by a rounding, or by the one step that two's complement lacks
        high = np.asarray(spec.full_scale, np.float64) * _AT_FULL_SCALE
        return (None if spec.dtype.startswith("uint") else -high), high
    if spec.dtype.startswith("uint") or spec.is_frames:
        return None, white_level(spec)
    limits = np.iinfo(spec.dtype)
    return int(limits.min), int(limits.max)
