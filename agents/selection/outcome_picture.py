"""A picture of outcomes: how coverage grows under each policy, and when each keeps what, over one axis of units."""

from collections.abc import Sequence

import cv2
import numpy as np

from sensorium.agents.selection.landscape import Landscape
from sensorium.agents.selection.outcome import Outcome
from sensorium.perception.drawing import COLORS, FAINT, INK, PAPER, Image, blank, write

WIDTH = 1280
_LEFT, _RIGHT, _HEAD, _CURVE, _STRIP = 210, 20, 30, 320, 26
_OF_REASON = {"always": (40, 140, 240), "novelty": (80, 160, 40), "floor": (180, 119, 31), "roll": (170, 170, 170)}
"""BGR; what is kept for another reason is dark."""


def draw(outcomes: Sequence[Outcome], landscape: Landscape) -> Image:
    """uint8 [h, 1280, 3] BGR: coverage over units, a strip of what is kept for each policy, and what colours mean."""
    return np.concatenate([_curves(outcomes, landscape), *(_strip(each) for each in outcomes), _legend()])


def _curves(outcomes: Sequence[Outcome], landscape: Landscape) -> Image:
    image = blank(WIDTH, _HEAD + _CURVE + 24)
    right, bottom = WIDTH - _RIGHT, _HEAD + _CURVE
    write(image, "share of all cells that is covered, as units come", _LEFT, 20, size=0.5)
    for part in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = bottom - round(part * _CURVE)
        cv2.line(image, (_LEFT, y), (right, y), FAINT, 1)
        write(image, f"{part:.0%}", _LEFT - 6, y + 4, to_left=True)
    for number, each in enumerate(outcomes):
        color = COLORS[number % len(COLORS)]
        grows = covered(each, landscape)
        x = _LEFT + np.arange(len(grows)) * ((right - _LEFT) / max(len(grows), 1))
        points = np.stack((x, bottom - grows * _CURVE), axis=1).round().astype(np.int32)
        if len(points):
            cv2.polylines(image, [points], False, color, 2, cv2.LINE_AA)
        write(image, each.name[-26:], 8, _HEAD + 16 + 34 * number, color, 0.45)
        said = f"{each.coverage:.1%}, regret {each.regret:.3f}"
        write(image, said, 8, _HEAD + 30 + 34 * number, color, 0.38)
    return image


def covered(outcome: Outcome, landscape: Landscape) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """The share of all cells that is covered by the end of each unit, float64 [n]."""
    there = len(set().union(*landscape.cells)) or 1
    seen: set[int] = set()
    found = np.zeros(len(outcome.judged))
    for place, each in enumerate(outcome.judged):
        if each.decision.kept:
            seen |= landscape.cells[place]
        found[place] = len(seen) / there
    return found


def _strip(outcome: Outcome) -> Image:
    image = blank(WIDTH, _STRIP)
    write(image, outcome.name[-26:], 8, 16, size=0.42)
    width = WIDTH - _LEFT - _RIGHT
    image[4:-4, _LEFT : _LEFT + width] = 240
    count = max(len(outcome.judged), 1)
    for place, each in enumerate(outcome.judged):
        if each.decision.kept:
            x = _LEFT + place * width // count
            image[4:-4, x : max(_LEFT + (place + 1) * width // count, x + 1)] = _OF_REASON.get(
                each.decision.reason, INK
            )
    return image


def _legend() -> Image:
    image = blank(WIDTH, _STRIP)
    x = write(image, "kept by", _LEFT, 16) + 10
    for reason, color in _OF_REASON.items():
        cv2.rectangle(image, (x, 7), (x + 12, 19), color, cv2.FILLED)
        x = write(image, reason, x + 18, 16) + 16
    image[-1:] = PAPER
    return image
