"""A picture of windows that look alike: a tile each, in sections."""

from collections.abc import Sequence

import numpy as np

from sensorium.corpus.queried import Queried
from sensorium.corpus.stream import Array
from sensorium.errors import SensoriumError
from sensorium.perception.drawing import Image, picture
from sensorium.perception.gray import is_pictures
from sensorium.perception.sheet import Tile, sheet, tile_size

Asked = tuple[tuple[str, str, float], str]
"""A window: its episode, stream (an empty one: the first of pictures) and second; and what is written below."""


def draw(corpus: Queried, sections: Sequence[tuple[str, Sequence[Asked]]], window_s: float = 1.0) -> Image:
    """uint8 [h, 1280, 3] BGR: each section's heading, and a tile of each of its windows."""
    return sheet([(heading, [_tile(corpus, *each, window_s) for each in windows]) for heading, windows in sections])


def _tile(corpus: Queried, window: tuple[str, str, float], said: str, window_s: float) -> Tile:
    episode, name, start_s = window
    lines = (said, f"{episode[:13]}@{start_s:g}")
    try:
        (opened,) = corpus.query(f"episode = '{episode}'", limit=1)
        name = name or next(each for each, stream in opened.streams.items() if is_pictures(stream.spec))
        stream = opened.streams[name]
        at_ns = opened.start_ns + int((start_s + window_s / 2) * 1e9)
        row = min(int(np.searchsorted(stream.captured_ns, at_ns)), len(stream) - 1)
        seen: Array = stream[row]
        return Tile(picture(seen, stream.spec.color_order, *tile_size()), lines=lines)
    except (StopIteration, ValueError, IndexError, SensoriumError):
        return Tile(None, lines=lines)
