"""A picture of a store's stats: the figures, and what is most novel in it."""

import cv2
import numpy as np

from sensorium.corpus.episode import Episode
from sensorium.corpus.stats import Stats
from sensorium.episode.plural import many
from sensorium.errors import SensoriumError
from sensorium.perception.drawing import ALARM, COLORS, Image, blank, picture, write
from sensorium.perception.gray import is_pictures
from sensorium.perception.sheet import WIDTH, Tile, sheet, tile_size

MOST_TILES = 32
MOST_GROUPS = 24
_LEFT, _BAR = 130, 18
_NAMES, _LETTERS = 380, 44


def draw(found: Stats) -> Image:
    """uint8 [h, 1280, 3] BGR: the figures; bars of hours and bytes by kind, and of hours by device, mission and day, of
    the 24 with the most, with bytes, rate and losses; and up to 32 of the most novel episodes."""
    tiles = [_tile(each.episode, each.novelty) for each in found.distinct[:MOST_TILES]]
    heading = f"the most novel of {len(found.distinct)} that do not look alike, and one minus the cosine to the next"
    return np.concatenate([_figures(found), _bars(found), _groups(found), sheet([(heading, tiles)])])


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
            (f"{kind}, hours", each.hours / hours, f"{each.hours:.3f} in {many(each.episodes, 'episode')}"),
            (f"{kind}, bytes", each.bytes / size, f"{each.bytes / 1e6:.1f} MB"),
        ):
            write(image, label, _LEFT - 8, y + 13, to_left=True)
            right = _LEFT + round(part * (WIDTH - _LEFT - 260))
            cv2.rectangle(image, (_LEFT, y + 2), (max(right, _LEFT + 1), y + _BAR - 3), COLORS[0], cv2.FILLED)
            write(image, said, right + 8, y + 13)
            y += _BAR
    return image


def _groups(found: Stats) -> Image:
    """A bar for each device, mission and day, as long as its hours; red the share that was lost."""
    groups = found.amounts.groups
    most = sorted(sorted(groups, key=lambda key: -groups[key].hours)[:MOST_GROUPS])
    image = blank(WIDTH, len(most) * _BAR + _BAR + 12)
    left_out = f", the {len(most)} longest of {len(groups)}" * (len(most) < len(groups))
    write(image, f"hours by device, mission and day (UTC){left_out}", 8, 14, size=0.5)
    longest = max((groups[key].hours for key in most), default=0.0) or 1.0
    for number, key in enumerate(most):
        each, top = groups[key], _BAR * (number + 1) + 8
        write(image, _shortened("  ".join(part for part in key if part)), _NAMES - 8, top + 13, to_left=True)
        right = max(_NAMES + 1, _NAMES + round(each.hours / longest * (WIDTH - _NAMES - 420)))
        cv2.rectangle(image, (_NAMES, top + 2), (right, top + _BAR - 3), COLORS[0], cv2.FILLED)
        if each.lost:
            until = max(_NAMES + 1, _NAMES + round(each.lost_share * (right - _NAMES)))
            cv2.rectangle(image, (_NAMES, top + 2), (until, top + _BAR - 3), ALARM, cv2.FILLED)
        said = f"{each.hours:.3f} h  {each.bytes / 1e6:.1f} MB  {each.bytes_per_s / 1e6:.3f} MB/s"
        write(image, f"{said}  {each.lost} lost ({each.lost_share:.2%})", right + 8, top + 13)
    return image


def _shortened(name: str) -> str:
    return name if len(name) <= _LETTERS else f"{name[: _LETTERS - 3]}..."


def _tile(episode: Episode, novelty: float) -> Tile:
    lines = (f"{novelty:.3f}  {episode.id[:13]}", f"{episode.device}  {episode.row['mission'] or ''}")
    try:
        opened = episode.reopened()
        stream = next(each for each in opened.streams.values() if is_pictures(each.spec) and len(each))
        width, height = tile_size()
        return Tile(picture(stream[len(stream) // 2], stream.spec.color_order, width, height), lines=lines)
    except (StopIteration, SensoriumError):
        return Tile(None, lines=lines)
