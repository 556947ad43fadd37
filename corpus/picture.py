"""A picture of one episode: its frames over its curves on one time axis, with what is missing shaded and counted."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from sensorium.corpus.episode import Episode
from sensorium.corpus.extent import Span, covered
from sensorium.corpus.stream import Stream
from sensorium.perception.drawing import (
    ALARM,
    SILENT_PERIODS,
    Axis,
    Box,
    Image,
    blank,
    channel_names,
    curves,
    groups,
    legend,
    number_text,
    picture,
    shade,
    silences,
    ticks,
    usual_rate_hz,
    write,
)

WIDTH = 1600
_LEFT, _RIGHT = 80, 20
_HEAD, _LINE, _FRAMES, _CURVES, _FOOT = 48, 24, 150, 130, 40
_MOST_PANELS = 4
_BETWEEN = 4
_SLOW = 0.9
FAINT_INK = (150, 150, 150)


def draw(episode: Episode, *, goes_on: tuple[bool, bool] = (False, False)) -> Image:
    """uint8 [h, 1600, 3] BGR: a strip a stream of frames, a panel for each unit of a stream of rows.

    A stretch of more than 1.5 periods without a sample is shaded (of a stream slower than its nominal rate 1.5 of its
    own); what the account counts lost or filtered is written. `goes_on` says whether an episode joins this one before
    and behind: where none does, nothing is missing before the first and behind the last sample of any stream, and in a
    recording, whose sensors begin and end as they did, of this stream.

    The axis spans what the data covers, in seconds since the episode's start.

    Raises:
        Corrupt: what is drawn cannot be read.
    """
    axis = _axis(episode, goes_on)
    panels = [*_panels(episode, axis, goes_on)]
    parts = [_heading(episode), *panels, _footing(axis, episode.start_ns)]
    return np.concatenate(parts)


def _axis(episode: Episode, goes_on: tuple[bool, bool]) -> Axis:
    """Of the time that the data covers, and to the ends of the interval where another episode joins."""
    start_ns, end_ns = episode.start_ns, episode.end_ns
    spans = [
        Span(int(each.captured_ns[0]), int(each.captured_ns[-1]), len(each), each.spec.rate_hz)
        for each in episode.streams.values()
        if len(each)
    ]
    if spans:
        from_ns, until_ns = covered(spans, start_ns, end_ns)
        start_ns, end_ns = start_ns if goes_on[0] else from_ns, end_ns if goes_on[1] else until_ns
    return Axis(start_ns, end_ns, _LEFT, WIDTH - _LEFT - _RIGHT)


def _heading(episode: Episode) -> Image:
    image = blank(WIDTH, _HEAD)
    row = episode.row
    start = row["start_utc"] or f"{episode.start_ns} ns of its own clock"
    write(image, f"{episode.id}   {episode.device}   {row['mission']}", _LEFT, 20, size=0.55)
    write(image, f"from {start}, {episode.duration_s:.3f} s, {row['reason']}", _LEFT, 40)
    return image


def _panels(episode: Episode, axis: Axis, goes_on: tuple[bool, bool]) -> Iterable[Image]:
    order = sorted(episode.streams.items(), key=lambda item: not item[1].spec.is_frames)
    ends = [(int(each.captured_ns[0]), int(each.captured_ns[-1])) for _, each in order if len(each)]
    first_ns, last_ns = min((a for a, _ in ends), default=axis.start_ns), max((b for _, b in ends), default=axis.end_ns)
    recording = episode.row["clock"] == "recording"
    for name, stream in order:
        spec, stamps = stream.spec, stream.captured_ns
        own = (int(stamps[0]), int(stamps[-1])) if recording and len(stamps) else (first_ns, last_ns)
        start_ns = axis.start_ns if goes_on[0] else own[0]
        end_ns = axis.end_ns if goes_on[1] else own[1]
        spans = silences(stamps, usual_rate_hz(stamps, spec.rate_hz), start_ns, end_ns)
        image = blank(WIDTH, _LINE)
        write(image, name, _LEFT, 18, size=0.5)
        said = _said(stream, spans, episode.account[name], (first_ns, last_ns))
        write(
            image,
            said,
            WIDTH - _RIGHT,
            18,
            ALARM if spans or episode.account[name]["lost"] else (90, 90, 90),
            to_left=True,
        )
        yield image
        if spec.is_frames:
            yield _frames(stream, axis, spans)
        else:
            yield from _rows(stream, axis, spans)


def _said(stream: Stream, spans: list[tuple[int, int]], account: Mapping[str, Any], of_all: tuple[int, int]) -> str:
    missing_s = sum(stop - start for start, stop in spans) / 1e9
    stamps, nominal_hz = stream.captured_ns, stream.spec.rate_hz
    parts = [f"{len(stream)} stored"]
    if nominal_hz and (hz := usual_rate_hz(stamps, nominal_hz)) and hz < _SLOW * nominal_hz:
        parts += [f"at {number_text(hz)} Hz, not {number_text(nominal_hz)}"]
    if len(stamps):
        periods_ns = SILENT_PERIODS * 1e9 / (usual_rate_hz(stamps, nominal_hz) or 1e9)
        lead_ns, lag_ns = int(stamps[0]) - of_all[0], of_all[1] - int(stamps[-1])
        if nominal_hz is not None and lead_ns > periods_ns:
            parts += [f"begins {number_text(lead_ns / 1e9)} s behind the first"]
        if nominal_hz is not None and lag_ns > periods_ns:
            parts += [f"ends {number_text(lag_ns / 1e9)} s before the last"]
    parts += [f"{n} filtered ({rule})" for rule, n in account["filtered"].items()]
    parts += [f"{n} lost ({cause})" for cause, n in account["lost"].items()]
    times = "once" if len(spans) == 1 else f"{len(spans)} times"
    parts += [f"silent {times}, {number_text(missing_s)} s"] if spans else ["no gap"]
    return ", ".join(parts)


def _frames(stream: Stream, axis: Axis, spans: list[tuple[int, int]]) -> Image:
    """As many frames as fit side by side, each with its middle at its stamp; below, a stroke for every frame."""
    image = blank(WIDTH, _FRAMES + 12)
    box = Box(_LEFT, 0, axis.width, _FRAMES + 10)
    shade(image, box, axis, spans)
    if not len(stream):
        write(image, "no frames", _LEFT + 8, _FRAMES // 2, FAINT_INK)
        return image
    at = axis.x(stream.captured_ns).clip(0, WIDTH - 1)  # of an episode that was cut off any stamp may be anywhere
    for x in at:
        image[_FRAMES + 2 : _FRAMES + 10, round(x)] = 90
    height, width = stream.spec.shape[:2]
    wide = max(1, min(round(width * _FRAMES / height), axis.width))
    for row, left in _placed(at, wide, box):
        small = picture(stream[row], stream.spec.color_order, wide, _FRAMES)
        image[: small.shape[0], left : left + small.shape[1]] = small
        x = round(at[row])
        image[_FRAMES : _FRAMES + 10, x : x + 2] = (0, 0, 0)
    return image


def _placed(at: npt.NDArray[np.float64], wide: int, box: Box) -> list[tuple[int, int]]:
    """Which frames of those `at` these x are drawn, each as `wide`, and from where: all in a row if they fit, else
    those nearest to the middles of their places.

    >>> box = Box(100, 0, 1000, 10)
    >>> _placed(np.array([100.0]), 50, box), _placed(np.array([100.0, 103.0]), 50, box)
    ([(0, 100)], [(0, 100), (1, 154)])
    """
    step = wide + _BETWEEN
    most = max(1, (box.width + _BETWEEN) // step)
    if len(at) <= most:
        rows = list(range(len(at)))
    else:
        middles = np.linspace(box.left + wide / 2, box.right - wide / 2, most)
        behind = np.searchsorted(at, middles).clip(1, len(at) - 1)
        rows = sorted(
            {int(row) for row in np.where(middles - at[behind - 1] <= at[behind] - middles, behind - 1, behind)}
        )
    lefts: list[int] = []
    for number, row in enumerate(rows):
        room = box.right - (len(rows) - number) * step + _BETWEEN
        before = lefts[-1] + step if lefts else box.left
        lefts.append(max(before, min(round(at[row] - wide / 2), room)))
    return list(zip(rows, lefts, strict=True))


def _rows(stream: Stream, axis: Axis, spans: list[tuple[int, int]]) -> Iterable[Image]:
    values = stream[:].reshape(len(stream), math.prod(stream.spec.shape))
    names = channel_names(stream.spec)
    shared = groups(stream.spec)
    for unit, columns in shared[:_MOST_PANELS]:
        image = blank(WIDTH, _CURVES + 20)
        x = write(image, unit, _LEFT, 12, size=0.4) + 12 if unit else _LEFT
        legend(image, x, 12, [names[column] for column in columns])
        box = Box(_LEFT, 18, axis.width, _CURVES - 4)
        curves(image, box, axis, stream.captured_ns, values[:, columns], spans)
        yield image
    if len(shared) > _MOST_PANELS:
        image = blank(WIDTH, _LINE)
        left_out = [names[column] for _, columns in shared[_MOST_PANELS:] for column in columns]
        write(image, f"not drawn: {' '.join(left_out)}", _LEFT, 14)
        yield image


def _footing(axis: Axis, zero_ns: int) -> Image:
    image = blank(WIDTH, _FOOT)
    ticks(image, axis, 6, zero_ns)
    return image
