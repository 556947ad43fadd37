"""A contact sheet: many small pictures side by side, each framed in a colour, with lines of text below."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sensorium.perception.drawing import ALARM, FAINT, INK, Image, blank, write

WIDTH = 1280
KEPT, DROPPED, NEUTRAL = (80, 160, 40), ALARM, FAINT
"""BGR frames."""
_GAP, _LINE, _HEAD = 6, 15, 24


class Tile(NamedTuple):
    """A picture uint8 [h, w, 3] BGR, or None where there is none any more; its frame; the lines below it."""

    picture: Image | None
    frame: Sequence[int] = NEUTRAL
    lines: tuple[str, ...] = ()


def sheet(sections: Sequence[tuple[str, Sequence[Tile]]], columns: int = 8) -> Image:
    """uint8 [h, 1280, 3] BGR: each section's heading, and its tiles in rows of `columns`.

    >>> sheet([("kept", [Tile(None, KEPT, ("novelty 4.2",))] * 9)]).shape[1]
    1280
    """
    parts: list[Image] = []
    for heading, tiles in sections:
        head = blank(WIDTH, _HEAD)
        write(head, heading, _GAP, 17, INK, 0.5)
        parts.append(head)
        parts += [_row(tiles[first : first + columns], columns) for first in range(0, len(tiles), columns)]
    return np.concatenate(parts) if parts else blank(WIDTH, _HEAD)


def tile_size(columns: int = 8, ratio: float = 0.75) -> tuple[int, int]:
    """Width and height of a picture that is `ratio` times as high as it is wide."""
    width = (WIDTH - _GAP) // columns - _GAP
    return width, round(width * ratio)


def _row(tiles: Sequence[Tile], columns: int) -> Image:
    width, _ = tile_size(columns)
    height = max((tile.picture.shape[0] for tile in tiles if tile.picture is not None), default=width // 4)
    lines = max(len(tile.lines) for tile in tiles)
    image = blank(WIDTH, height + lines * _LINE + 2 * _GAP)
    for place, tile in enumerate(tiles):
        left, top = _GAP + place * (width + _GAP), _GAP
        wide = width if tile.picture is None else min(tile.picture.shape[1], width)
        high = height if tile.picture is None else tile.picture.shape[0]
        image[top - 3 : top + high + 3, left - 3 : left + wide + 3] = tile.frame
        image[top : top + high, left : left + wide] = 235 if tile.picture is None else tile.picture[:, :wide]
        for number, line in enumerate(tile.lines):
            write(image, line, left, top + height + _LINE * (number + 1), INK, 0.36)
    return image
