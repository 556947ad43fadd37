"""A picture of a store's stats: the figures, and what is most novel in it."""

import cv2
import numpy as np

from sensorium.corpus.episode import Episode
from sensorium.corpus.stats import Stats
from sensorium.errors import SensoriumError
from sensorium.perception.drawing import COLORS, Image, blank, picture, write
from sensorium.perception.gray import is_pictures
from sensorium.perception.sheet import WIDTH, Tile, sheet, tile_size

MOST_TILES = 32
_LEFT, _BAR = 130, 18


def draw(found: Stats) -> Image:
    """uint8 [h, 1280, 3] BGR: the figures, hours and bytes by kind as bars, and up to 32 of the most novel episodes."""
    tiles = [_tile(each.episode, each.novelty) for each in found.distinct[:MOST_TILES]]
    heading = f"the most novel of {len(found.distinct)} that do not look alike, and one minus the cosine to the next"
    return np.concatenate([_figures(found), _bars(found), sheet([(heading, tiles)])])


def _figures(found: Stats) -> Image:
    said = [f"effective episodes {found.effective:.1f}", f"novelty {found.novelty:.3f}"]
    for name, each in (("cells", found.cells), ("clusters", found.clusters)):
        if each is not None:
            said.append(f"{name} {each.covered} of {each.seen} ({each.share:.1%})")
    image = blank(WIDTH, 36)
    write(image, "     ".join(said), 8, 24, size=0.6)
    return image


def _bars(found: Stats) -> Image:
    image = blank(WIDTH, 2 * len(found.kinds) * _BAR + 12)
    hours = max([each.hours for each in found.kinds.values()] or [0.0]) or 1.0
    size = max([each.bytes for each in found.kinds.values()] or [0]) or 1
    y = 4
    for kind, each in found.kinds.items():
        for label, part, said in (
            (f"{kind}, hours", each.hours / hours, f"{each.hours:.3f} in {each.episodes} episodes"),
            (f"{kind}, bytes", each.bytes / size, f"{each.bytes / 1e6:.1f} MB"),
        ):
            write(image, label, _LEFT - 8, y + 13, to_left=True)
            right = _LEFT + round(part * (WIDTH - _LEFT - 260))
            cv2.rectangle(image, (_LEFT, y + 2), (max(right, _LEFT + 1), y + _BAR - 3), COLORS[0], cv2.FILLED)
            write(image, said, right + 8, y + 13)
            y += _BAR
    return image


def _tile(episode: Episode, novelty: float) -> Tile:
    lines = (f"{novelty:.3f}  {episode.id[:13]}", f"{episode.device}  {episode.row['mission'] or ''}")
    try:
        opened = episode.reopened()
        stream = next(each for each in opened.streams.values() if is_pictures(each.spec) and len(each))
        width, height = tile_size()
        return Tile(picture(stream[len(stream) // 2], stream.spec.color_order, width, height), lines=lines)
    except (StopIteration, SensoriumError):
        return Tile(None, lines=lines)
