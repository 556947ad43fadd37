"""Drawing: pictures and curves on a time axis, with what is missing shaded; OpenCV alone."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from sensorium.drivers.stream import Samples, Stamps, StreamSpec
from sensorium.errors import ConfigError
from sensorium.perception.replacing import replace_file

Image = npt.NDArray[np.uint8]
Span = tuple[int, int]

PAPER, INK, FAINT, ALARM = (255, 255, 255), (50, 50, 50), (222, 222, 222), (40, 40, 200)
SHADE = (205, 205, 255)
COLORS = (
    (180, 119, 31), (14, 127, 255), (44, 160, 44), (40, 39, 214), (189, 103, 148), (75, 86, 140), (194, 119, 227),
    (127, 127, 127),
)  # fmt: skip
"""BGR, one a channel; the colours of Tableau 10."""

SILENT_PERIODS = 1.5
_ENOUGH = 8
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_APART = 11
_SHIFT = 4  # fractional bits of a coordinate


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle of pixels."""

    left: int
    top: int
    width: int
    height: int

    @property
    def right(self) -> int:
        return self.left + self.width

    @property
    def bottom(self) -> int:
        return self.top + self.height


@dataclass(frozen=True, slots=True)
class Axis:
    """Time, from `start_ns` to `end_ns`, over `width` pixels from `left`."""

    start_ns: int
    end_ns: int
    left: int
    width: int

    def x(self, stamps_ns: Stamps) -> npt.NDArray[np.float64]:
        """Where stamps are, in pixels."""
        span_ns = max(1, self.end_ns - self.start_ns)
        return self.left + (stamps_ns - self.start_ns).astype(np.float64) * (self.width / span_ns)


def blank(width: int, height: int) -> Image:
    """White, uint8 [height, width, 3], BGR as all here."""
    return np.full((height, width, 3), PAPER, np.uint8)


def write(
    image: Image, text: str, x: int, y: int, color: Sequence[int] = INK, size: float = 0.45, to_left: bool = False
) -> int:
    """Put `text` on the base line `y` from `x` on, or up to it (`to_left`); where it ends. Only ASCII can be drawn."""
    plain = text.encode("ascii", "replace").decode()
    width = int(cv2.getTextSize(plain, _FONT, size, 1)[0][0])
    start = x - width if to_left else x
    cv2.putText(image, plain, (start, y), _FONT, size, color, 1, cv2.LINE_AA)
    return start + width


def picture(frame: Samples, color_order: str, width: int, height: int) -> Image:
    """`frame` [h, w] or [h, w, c] as uint8 BGR, as large as fits, its shape kept.

    Numbers that are not uint8 are stretched from their least to their largest; of other than 1 or 3 channels the first
    is drawn.
    """
    while frame.ndim > 3:
        frame = frame[0]
    if frame.ndim == 3 and frame.shape[2] != 3:
        frame = frame[..., 0]
    scale = min(width / frame.shape[1], height / frame.shape[0])
    size = max(1, round(frame.shape[1] * scale)), max(1, round(frame.shape[0] * scale))
    if frame.dtype != np.uint8:
        frame = _stretched(frame)
    small = cv2.resize(np.ascontiguousarray(frame), size, interpolation=cv2.INTER_AREA)
    if small.ndim == 2:
        return np.asarray(cv2.cvtColor(small, cv2.COLOR_GRAY2BGR), np.uint8)
    return np.ascontiguousarray(small[..., ::-1] if color_order == "RGB" else small, np.uint8)


def silences(captured_ns: Stamps, rate_hz: float | None, start_ns: int, end_ns: int) -> list[Span]:
    """The stretches of [start_ns, end_ns) without a sample for more than 1.5 periods (None: of the median interval).

    >>> silences(np.array([0, 10, 40, 50], np.int64), 1e8, 0, 60)
    [(10, 40)]
    """
    if not len(captured_ns):
        return [(start_ns, end_ns)]
    intervals_ns = np.diff(captured_ns)
    median_ns = float(np.median(intervals_ns)) if len(intervals_ns) else 0.0
    longest_ns = SILENT_PERIODS * (1e9 / rate_hz if rate_hz else median_ns)
    if longest_ns <= 0:
        return []
    edges = np.concatenate(([start_ns], captured_ns, [end_ns]))
    return [(int(edges[i]), int(edges[i + 1])) for i in np.flatnonzero(np.diff(edges) > longest_ns)]


def usual_rate_hz(captured_ns: Stamps, rate_hz: float | None) -> float | None:
    """The rate by which a silence is told: the nominal one, or that of the median interval where it is lower; of a
    few samples the nominal one.

    >>> usual_rate_hz(np.arange(20) * 100_000_000, 30.0), usual_rate_hz(np.array([0, 10**9]), 30.0)
    (10.0, 30.0)
    """
    if rate_hz is None or len(captured_ns) < _ENOUGH:
        return rate_hz
    median_ns = float(np.median(np.diff(captured_ns)))
    return min(rate_hz, 1e9 / median_ns) if median_ns > 0 else rate_hz


def shade(image: Image, box: Box, axis: Axis, spans: Sequence[Span]) -> None:
    """Mark stretches in which something is missing, two pixels wide at least."""
    for x in axis.x(np.array(spans, np.int64).reshape(-1, 2)):
        left, right = np.clip((x[0], max(x[1], x[0] + 2)), box.left, box.right).astype(int)
        cv2.rectangle(image, (left, box.top), (right, box.bottom), SHADE, cv2.FILLED)


def curves(image: Image, box: Box, axis: Axis, captured_ns: Stamps, values: Samples, spans: Sequence[Span]) -> None:
    """The columns of `values` [n, k] over time, broken at `spans`, with the range of their values at the left."""
    shade(image, box, axis, spans)
    cv2.rectangle(image, (box.left, box.top), (box.right, box.bottom), FAINT, 1)
    finite = values[np.isfinite(values)]
    if not finite.size:
        return
    low, high = float(finite.min()), float(finite.max())
    margin = 0.05 * (high - low) or max(abs(high), 1.0) * 0.05
    low, high = low - margin, high + margin
    marks = {low + margin: INK, high - margin: INK} | ({0.0: INK} if low < -2 * margin and high > 2 * margin else {})
    where = {value: float(_y(np.array([value]), box, low, high)[0]) for value in marks}
    for value, color in marks.items():
        y = where[value]
        if value == 0 and any(abs(y - other) < _APART for mark, other in where.items() if mark):
            continue  # two numbers over each other say neither
        cv2.line(image, (box.left, round(y)), (box.right, round(y)), FAINT, 1)
        write(image, number_text(value, high - low - 2 * margin), box.left - 6, round(y) + 4, color, 0.4, to_left=True)
    breaks = np.searchsorted(captured_ns, [start for start, _ in spans], side="right")
    for column in range(values.shape[1]):
        for rows in np.split(np.arange(len(captured_ns)), breaks):
            _line(
                image, box, axis.x(captured_ns[rows]), values[rows, column], (low, high), COLORS[column % len(COLORS)]
            )


def number_text(value: float, apart: float = 0.0) -> str:
    """Three digits that count, or as many as tell it from another that is so far `apart`, and no exponent where a
    person would write none.

    >>> [number_text(each) for each in (0.0, -0.6612, 9.80665, 12_345.6, 101_325.0, 4.2e-7, 2.5e9)]
    ['0', '-0.661', '9.81', '12346', '101325', '4.2e-07', '2.5e+09']
    >>> number_text(1019.873, apart=0.2), number_text(1020.0, apart=0.2), number_text(0.5, apart=90.0)
    ('1019.87', '1020', '0.5')
    """
    if value == 0 or not 1e-4 <= abs(value) < 1e7:
        return f"{value:.3g}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    if apart > 0:
        digits = max(digits, min(9, 1 - math.floor(math.log10(apart))))
    text = f"{value:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


_STEPS_S = (
    *(1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20),
    *(60, 120, 300, 600, 1800, 3600, 7200, 21_600, 86_400),
)


def ticks(image: Image, axis: Axis, y: int, zero_ns: int | None = None) -> None:
    """Seconds since `zero_ns`, or since the axis begins, below the line `y`."""
    since_s = 0.0 if zero_ns is None else (axis.start_ns - zero_ns) / 1e9
    seconds = max(1, axis.end_ns - axis.start_ns) / 1e9
    step = next((s for s in _STEPS_S if seconds / s <= 12), seconds)
    cv2.line(image, (axis.left, y), (axis.left + axis.width, y), INK, 1)
    for number in range(math.ceil(since_s / step - 1e-9), math.floor((since_s + seconds) / step + 1e-9) + 1):
        x = round(axis.left + (number * step - since_s) / seconds * axis.width)
        cv2.line(image, (x, y), (x, y + 5), INK, 1)
        write(image, f"{number * step:.10g} s", x - 10, y + 20)


def legend(image: Image, x: int, y: int, names: Sequence[str]) -> int:
    """Channel names in the colours of their curves; where they end."""
    for number, name in enumerate(names):
        x = write(image, name, x, y, COLORS[number % len(COLORS)]) + 10
    return x


def groups(spec: StreamSpec) -> list[tuple[str, list[int]]]:
    """The channels of a stream of rows that may share an axis: (unit, columns), in order.

    >>> groups(StreamSpec(name="imu", modality="imu", dtype="float64", shape=(6,), unit="rad/s, m/s^2"))
    [('rad/s', [0, 1, 2]), ('m/s^2', [3, 4, 5])]
    """
    width = int(np.prod(spec.shape, dtype=np.int64))
    units = [unit.strip() for unit in spec.unit.split(",")]
    each = units if len(units) == width else [spec.unit] * width
    if len(units) == 2 and width == 6:  # "rad/s, m/s^2" of an IMU's two triples
        each = [units[0]] * 3 + [units[1]] * 3
    found: list[tuple[str, list[int]]] = []
    for column, unit in enumerate(each):
        if found and found[-1][0] == unit and len(found[-1][1]) < len(COLORS):
            found[-1][1].append(column)
        else:
            found.append((unit, [column]))
    return found


def channel_names(spec: StreamSpec) -> list[str]:
    """The channels' names, or numbers where they have none."""
    width = int(np.prod(spec.shape, dtype=np.int64))
    return list(spec.channels) if len(spec.channels) == width else [str(number) for number in range(width)]


def write_picture(path: Path, image: Image) -> None:
    """Put `image` into a PNG or JPEG file, whole or not at all: whoever reads it meanwhile finds the one before.

    Raises:
        ConfigError: the file cannot be written, or its name says no format.
    """
    options = {".png": [cv2.IMWRITE_PNG_COMPRESSION, 1], ".jpg": [cv2.IMWRITE_JPEG_QUALITY, 90]}
    if path.suffix not in options:
        raise ConfigError(f"{path}: expected a name that ends in .png or .jpg")
    _, data = cv2.imencode(path.suffix, image, options[path.suffix])
    replace_file(path, data.tobytes())


def _stretched(frame: Samples) -> Image:
    numbers = np.nan_to_num(frame.astype(np.float32), posinf=0.0, neginf=0.0)
    low, high = float(numbers.min()), float(numbers.max())
    return np.asarray((numbers - low) * (255.0 / (high - low or 1.0)), np.uint8)


def _y(values: npt.NDArray[np.float64], box: Box, low: float, high: float) -> npt.NDArray[np.float64]:
    return box.bottom - (values - low) * (box.height / (high - low))


def _line(
    image: Image,
    box: Box,
    x: npt.NDArray[np.float64],
    values: Samples,
    within: tuple[float, float],
    color: Sequence[int],
) -> None:
    known = np.isfinite(values) & (x >= box.left - 1) & (x <= box.right + 1)  # stamps may be of another time
    x, y = x[known], _y(values[known].astype(np.float64), box, *within)
    if np.count_nonzero(np.diff(x) == 0) > len(x) // 4:  # rows of one moment each: no line leads from one to the next
        for column, row in np.unique(np.stack((x, y), axis=1).round().astype(np.intp), axis=0).tolist():
            cv2.rectangle(image, (column - 1, row - 1), (column, row), color, cv2.FILLED)
        return
    if len(x) > 4 * box.width:  # more rows than can be told apart: from the least to the largest of each pixel
        first = np.flatnonzero(np.diff(x.astype(np.int64), prepend=-1))
        y = np.stack((np.minimum.reduceat(y, first), np.maximum.reduceat(y, first)), axis=1).ravel()
        x = np.repeat(x[first], 2)
    if len(x) == 1:
        cv2.circle(image, (round(x[0]), round(y[0])), 2, color, cv2.FILLED)
    elif len(x):
        points = (np.stack((x, y), axis=1) * (1 << _SHIFT)).round().astype(np.int32)
        cv2.polylines(image, [points], False, color, 1, cv2.LINE_AA, _SHIFT)
