"""A picture of one episode: its frames over its curves on one time axis, with what is missing shaded and counted."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from sensorium.corpus.episode import Episode
from sensorium.corpus.stream import Stream
from sensorium.perception.drawing import (
    ALARM,
    Axis,
    Box,
    Image,
    blank,
    channel_names,
    curves,
    groups,
    legend,
    picture,
    shade,
    silences,
    ticks,
    write,
)

WIDTH = 1600
_LEFT, _RIGHT = 80, 20
_HEAD, _LINE, _FRAMES, _CURVES, _FOOT = 48, 24, 150, 130, 40
_MOST_PANELS = 4


def draw(episode: Episode) -> Image:
    """uint8 [h, 1600, 3] BGR: a strip a stream of frames, a panel for each unit of a stream of rows.

    A stretch of more than 1.5 periods without a sample is shaded; what the account counts lost or filtered is written.

    Raises:
        Corrupt: what is drawn cannot be read.
    """
    end_ns = episode.start_ns + round(episode.duration_s * 1e9)
    axis = Axis(episode.start_ns, end_ns, _LEFT, WIDTH - _LEFT - _RIGHT)
    panels = [*_panels(episode, axis)]
    parts = [_heading(episode), *panels, _footing(axis)]
    return np.concatenate(parts)


def _heading(episode: Episode) -> Image:
    image = blank(WIDTH, _HEAD)
    row = episode.row
    start = row["start_utc"] or f"{episode.start_ns} ns of its own clock"
    write(image, f"{episode.id}   {episode.device}   {row['mission']}", _LEFT, 20, size=0.55)
    write(image, f"from {start}, {episode.duration_s:.3f} s, {row['reason']}", _LEFT, 40)
    return image


def _panels(episode: Episode, axis: Axis) -> Iterable[Image]:
    order = sorted(episode.streams.items(), key=lambda item: not item[1].spec.is_frames)
    for name, stream in order:
        spec = stream.spec
        spans = silences(stream.captured_ns, spec.rate_hz, axis.start_ns, axis.end_ns)
        image = blank(WIDTH, _LINE)
        write(image, name, _LEFT, 18, size=0.5)
        said = _said(stream, spans, episode.account[name])
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


def _said(stream: Stream, spans: list[tuple[int, int]], account: Mapping[str, Any]) -> str:
    missing_s = sum(stop - start for start, stop in spans) / 1e9
    parts = [f"{len(stream)} stored"]
    parts += [f"{n} filtered ({rule})" for rule, n in account["filtered"].items()]
    parts += [f"{n} lost ({cause})" for cause, n in account["lost"].items()]
    parts += [f"silent {len(spans)} times, {missing_s:.3g} s"] if spans else ["no gap"]
    return ", ".join(parts)


def _frames(stream: Stream, axis: Axis, spans: list[tuple[int, int]]) -> Image:
    """As many frames as fit side by side, each with its middle at its stamp; below, a stroke for every frame."""
    image = blank(WIDTH, _FRAMES + 12)
    box = Box(_LEFT, 0, axis.width, _FRAMES + 10)
    shade(image, box, axis, spans)
    if not len(stream):
        return image
    at = axis.x(stream.captured_ns)
    for x in at:
        image[_FRAMES + 2 : _FRAMES + 10, min(round(x), WIDTH - 1)] = 90
    height, width = stream.spec.shape[:2]
    wide = max(1, min(round(width * _FRAMES / height), axis.width))
    free = float(_LEFT)
    while free + wide <= box.right:
        row = int(np.searchsorted(at, free + wide / 2))
        if row == len(at):
            break
        small = picture(stream[row], stream.spec.color_order, wide, _FRAMES)
        left = round(min(max(at[row] - wide / 2, free), box.right - wide))
        image[: small.shape[0], left : left + small.shape[1]] = small
        x = min(round(at[row]), WIDTH - 1)
        image[_FRAMES : _FRAMES + 10, x : x + 2] = (0, 0, 0)
        free = left + wide + 4.0
    return image


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


def _footing(axis: Axis) -> Image:
    image = blank(WIDTH, _FOOT)
    ticks(image, axis, 6)
    return image
