"""A picture of a planning report: what was covered before, what is now, and what each planner brought over time."""

from collections.abc import Mapping

import cv2
import numpy as np

from sensorium.agents.planning.gain import Cell
from sensorium.agents.planning.reachable import Cut
from sensorium.agents.planning.report import PlanningReport
from sensorium.perception.drawing import COLORS, FAINT, INK, Image, blank, write
from sensorium.perception.sheet import WIDTH

_MAP, _EDGE, _HEAD = 480, 70, 40
_CURVES = 220
_EMPTY, _HAD, _NEW = (236, 236, 236), (196, 150, 90), (60, 160, 70)


def draw(found: PlanningReport) -> Image:
    """uint8 [h, 1280, 3] BGR: maps of the cells by the first two controls of places, before any plan and now, new ones
    in green; and by planner the new cells that it brought, by the seconds that its plans took."""
    return np.concatenate([_maps(found), _gains(found)])


def _maps(found: PlanningReport) -> Image:
    image = blank(WIDTH, _MAP + _HEAD + 40)
    cuts = [(at, axis) for at, axis in enumerate(found.places) if isinstance(axis, Cut)]
    if not cuts or "place" not in found.axes.axes:
        write(image, f"cells: {found.cells_before} before, {found.cells_after} now; no places to draw", 8, 24, size=0.6)
        return image
    before, after = (_counts(found, of, cuts) for of in (found.before, found.after))
    for number, (counts, said) in enumerate(
        (
            (before, f"before, without what plans brought: {found.cells_before} cells"),
            (after, f"now: {found.cells_after} cells"),
        )
    ):
        left = _EDGE + number * (WIDTH // 2)
        write(image, said, left, 24, size=0.6)
        _draw_map(image, left, counts, before if number else counts, cuts)
    return image


def _counts(found: PlanningReport, cells: Mapping[Cell, int], cuts: list[tuple[int, Cut]]) -> Image:
    """[rows, columns]: how many kinds of what is met are had at each place, as bytes."""
    (x_at, x), (y_at, y) = cuts[0], cuts[1] if len(cuts) > 1 else (-1, Cut("", 0, 1, 1))
    counts = np.zeros((y.count, x.count), np.uint8)
    at = found.axes.axes.index("place")
    for cell in cells:
        said = cell[at].split(",")
        if len(said) == len(found.places) and said[x_at].isdigit() and (y_at < 0 or said[y_at].isdigit()):
            counts[int(said[y_at]) if y_at >= 0 else 0, int(said[x_at])] += 1
    return counts


def _draw_map(image: Image, left: int, counts: Image, before: Image, cuts: list[tuple[int, Cut]]) -> None:
    rows, columns = counts.shape
    scale = min((WIDTH // 2 - _EDGE - 40) / columns, _MAP / rows)
    most = max(1, int(counts.max(initial=0)))
    for row in range(rows):
        for column in range(columns):
            top = round(_HEAD + (rows - 1 - row) * scale)
            box = (round(left + column * scale), top), (round(left + (column + 1) * scale) - 2, round(top + scale) - 2)
            had = int(counts[row, column])
            color = _EMPTY if not had else _NEW if had > before[row, column] else _HAD
            strength = 1.0 if not had else 0.45 + 0.55 * had / most
            shade = [round(255 - (255 - part) * strength) for part in color]
            cv2.rectangle(image, *box, shade, cv2.FILLED)
    x, y = cuts[0][1], cuts[1][1] if len(cuts) > 1 else None
    bottom = round(_HEAD + rows * scale) + 16
    write(image, f"{x.low:g}", left, bottom, size=0.4)
    write(image, f"{x.name} {x.high:g}", round(left + columns * scale), bottom, size=0.4, to_left=True)
    if y is not None:
        write(image, f"{y.high:g}", left - 6, _HEAD + 12, size=0.4, to_left=True)
        write(image, y.name, left - 6, _HEAD + round(rows * scale / 2), size=0.4, to_left=True)
        write(image, f"{y.low:g}", left - 6, bottom - 18, size=0.4, to_left=True)


def _gains(found: PlanningReport) -> Image:
    image = blank(WIDTH, _CURVES + 50)
    write(image, "new weighted cells by the seconds that plans took", 8, 16, size=0.5)
    curves: dict[str, list[tuple[float, float]]] = {}
    for outcome in found.outcomes:
        points = curves.setdefault(outcome.planner, [(0.0, 0.0)])
        points.append((points[-1][0] + outcome.seconds, points[-1][1] + outcome.got))
    most_s = max((points[-1][0] for points in curves.values()), default=0.0) or 1.0
    most = max((points[-1][1] for points in curves.values()), default=0.0) or 1.0
    left, right, top, bottom = _EDGE, WIDTH - 160, 30, 30 + _CURVES
    cv2.rectangle(image, (left, top), (right, bottom), FAINT, 1)
    write(image, f"{most:g}", left - 6, top + 8, INK, 0.4, to_left=True)
    write(image, f"{most_s:.0f} s", right, bottom + 16, INK, 0.4, to_left=True)
    for number, (name, points) in enumerate(sorted(curves.items())):
        color = COLORS[number % len(COLORS)]
        those = np.array(points) / (most_s, most)
        drawn = np.stack([left + those[:, 0] * (right - left), bottom - those[:, 1] * (bottom - top)], axis=1)
        cv2.polylines(image, [drawn.round().astype(np.int32)], False, color, 2, cv2.LINE_AA)
        write(image, f"{name} {points[-1][1]:g}", right + 8, top + 18 * (number + 1), color, 0.45)
    return image
