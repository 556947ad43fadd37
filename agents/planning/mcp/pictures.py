"""Pictures for a model: of a window of an episode, or of a preview, as a small JPEG."""

import math
from collections.abc import Sequence

import cv2
import numpy as np

from sensorium.agents.planning.sampled import TRUTH
from sensorium.corpus.episode import Episode
from sensorium.corpus.stream import Samples, Stream
from sensorium.drivers.stream import StreamSpec
from sensorium.errors import ConfigError
from sensorium.perception.drawing import (
    Axis,
    Box,
    Image,
    blank,
    channel_names,
    curves,
    groups,
    legend,
    picture,
    ticks,
    write,
)
from sensorium.perception.gray import is_pictures

WIDTH, MOST_S = 960, 60.0
_LEFT, _FRAMES, _CURVES, _LINE, _FOOT = 70, 180, 100, 20, 34
_MOST_FRAMES, _MOST_PANELS, _MOST_STREAMS = 4, 3, 4
_MOST_SHRINK = 8


def shown(episode: Episode) -> list[str]:
    """The streams that may be looked at, pictures first: none in which a world says what is true."""
    there = [(name, each) for name, each in episode.streams.items() if each.spec.modality not in TRUTH and len(each)]
    return [name for name, _ in sorted(there, key=lambda item: (not is_pictures(item[1].spec), item[0]))]


def window_picture(episode: Episode, start_s: float, length_s: float, streams: Sequence[str] = ()) -> Image:
    """uint8 [h, 960, 3] BGR: of each stream up to four pictures side by side, or its curves, over the same time.

    Raises:
        ConfigError: there is no such stream, or window; or it is longer than a minute.
        Corrupt: what is read is damaged.
    """
    if not 0 < length_s <= MOST_S:
        raise ConfigError(f"length_s: expected up to {MOST_S:g}, got {length_s:g}")
    may = shown(episode)
    if unknown := [name for name in streams if name not in may]:
        raise ConfigError(f"episode {episode.id}: no stream {unknown[0]!r} to look at; it has {', '.join(may)}")
    names = list(streams or may)[:_MOST_STREAMS]
    if not names:
        raise ConfigError(f"episode {episode.id}: nothing in it can be looked at")
    start_ns = episode.start_ns + round(start_s * 1e9)
    axis = Axis(start_ns, start_ns + round(length_s * 1e9), _LEFT, WIDTH - _LEFT - 10)
    shrink = {name: _shrink(episode.streams[name]) for name in names if is_pictures(episode.streams[name].spec)}
    found = episode.window(start_s, length_s, names, shrink=shrink)
    parts = [_panel(name, episode.streams[name].spec, found[name], axis) for name in names]
    foot = blank(WIDTH, _FOOT)
    ticks(foot, axis, 6, episode.start_ns)
    return np.concatenate([*parts, foot])


def preview_picture(episode: Episode) -> Image:
    """The middle picture of the first stream of pictures, at most 480 pixels wide; else all of it as curves.

    Raises:
        ConfigError: nothing in it can be looked at.
        Corrupt: what is read is damaged.
    """
    for name in shown(episode):
        stream = episode.streams[name]
        if is_pictures(stream.spec):
            return picture(stream.middle(), stream.spec.color_order, 480, 480)
    return window_picture(episode, 0.0, min(max(episode.interval_s, 1e-3), MOST_S))


def as_jpeg(image: Image) -> bytes:
    """Its bytes."""
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 85])
    return data.tobytes()


def _shrink(stream: Stream) -> int:
    """What sides can be divided by so that a picture is still as high as it is shown."""
    factor = 1
    while factor < _MOST_SHRINK and stream.spec.shape[0] // (2 * factor) >= _FRAMES:
        factor *= 2
    return factor


def _panel(name: str, spec: StreamSpec, samples: Samples, axis: Axis) -> Image:
    head = blank(WIDTH, _LINE)
    write(head, f"{name}: {len(samples.data)} samples", _LEFT, 14, size=0.42)
    if not len(samples.data):
        return head
    if is_pictures(spec):
        return np.concatenate([head, _strip(spec, samples, axis)])
    values = np.asarray(samples.data).reshape(len(samples.data), math.prod(spec.shape))
    panels = [head]
    for unit, columns in groups(spec)[:_MOST_PANELS]:
        image = blank(WIDTH, _CURVES + _LINE)
        legend(image, write(image, unit, _LEFT, 12, size=0.4) + 12, 12, [channel_names(spec)[at] for at in columns])
        curves(image, Box(_LEFT, 16, axis.width, _CURVES), axis, samples.captured_ns, values[:, columns], [])
        panels.append(image)
    return np.concatenate(panels)


def _strip(spec: StreamSpec, samples: Samples, axis: Axis) -> Image:
    wide = axis.width // _MOST_FRAMES - 4
    image = blank(WIDTH, _FRAMES + _LINE)
    rows = sorted({round(at) for at in np.linspace(0, len(samples.data) - 1, _MOST_FRAMES)})
    for number, row in enumerate(rows):
        small = picture(samples.data[row], spec.color_order, wide, _FRAMES)
        left = _LEFT + number * (wide + 4)
        image[: small.shape[0], left : left + small.shape[1]] = small
        since_s = (int(samples.captured_ns[row]) - axis.start_ns) / 1e9
        write(image, f"+{since_s:.2f} s", left, _FRAMES + 14, size=0.4)
    return image
