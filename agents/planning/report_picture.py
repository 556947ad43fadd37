"""A picture of a planning report: what was covered before any plan, what is now and by whom, and what that took."""

from collections import Counter
from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from sensorium.agents.planning.gain import Cell
from sensorium.agents.planning.reachable import Cut
from sensorium.agents.planning.report import BEFORE, ROAMING, PlanningReport
from sensorium.episode.plural import many
from sensorium.perception.drawing import COLORS, FAINT, INK, Image, blank, write
from sensorium.perception.sheet import WIDTH

_MAP, _EDGE, _HEAD, _LEGEND = 480, 70, 40, 30
_CURVES = 220
BY_NOBODY = {BEFORE: (130, 130, 130), ROAMING: (195, 195, 195)}

Color = tuple[int, int, int]
Square = tuple[int, int]
"""Row and column."""


def draw(found: PlanningReport) -> Image:
    """uint8 [h, 1280, 3] BGR: maps of the cells by the first two controls of places, before any plan and now, white
    where there is nothing, gray what no plan has caused, else in the colour of who planned it; and by planner the new
    cells that it brought, by the seconds that its plans took."""
    names = sorted({*found.planners, *found.by, *(outcome.planner for outcome in found.outcomes)} - BY_NOBODY.keys())
    colors = {name: COLORS[number % len(COLORS)] for number, name in enumerate(names)}
    return np.concatenate([_maps(found, colors | BY_NOBODY), _gains(found, colors)])


def _maps(found: PlanningReport, colors: Mapping[str, Color]) -> Image:
    image = blank(WIDTH, _MAP + _HEAD + _LEGEND + 40)
    cuts = [(at, axis) for at, axis in enumerate(found.places) if isinstance(axis, Cut)]
    if not cuts or "place" not in found.axes.axes:
        write(image, f"{found.said_of_cells()}; no places to draw", 8, 24, size=0.6)
        return image
    had = {cell: who for cell, who in found.brought.items() if who == BEFORE}
    for number, (cells, said) in enumerate(
        (
            (had, f"before any plan: {many(found.cells_before, 'cell')}"),
            (found.brought, f"now: {many(found.cells_after, 'cell')}"),
        )
    ):
        left = _EDGE + number * (WIDTH // 2)
        write(image, said, left, 24, size=0.6)
        _draw_map(image, left, _squares(found, cells, cuts), colors, cuts)
    _legend(image, found.by, colors)
    return image


def _legend(image: Image, by: Counter[str], colors: Mapping[str, Color]) -> None:
    x, y = _EDGE, _MAP + _HEAD + _LEGEND + 18
    for name, color in colors.items():
        if by[name] or name not in BY_NOBODY:
            cv2.rectangle(image, (x, y - 12), (x + 14, y + 2), color, cv2.FILLED)
            x = write(image, f"{name}: {by[name]}", x + 20, y, INK, 0.5) + 24


def _squares(found: PlanningReport, cells: Mapping[Cell, str], cuts: list[tuple[int, Cut]]) -> dict[Square, list[str]]:
    """By whom the cells at each place were brought: several, of what is met there, or of a third control."""
    (x_at, _), y_at = cuts[0], cuts[1][0] if len(cuts) > 1 else -1
    squares: dict[Square, list[str]] = {}
    at = found.axes.axes.index("place")
    for cell, who in cells.items():
        said = cell[at].split(",")
        if len(said) == len(found.places) and said[x_at].isdigit() and (y_at < 0 or said[y_at].isdigit()):
            squares.setdefault((int(said[y_at]) if y_at >= 0 else 0, int(said[x_at])), []).append(who)
    return squares


def _draw_map(
    image: Image,
    left: int,
    squares: Mapping[Square, Sequence[str]],
    colors: Mapping[str, Color],
    cuts: list[tuple[int, Cut]],
) -> None:
    """A square a place, with a stripe for each cell that was brought there."""
    columns, rows = cuts[0][1].count, cuts[1][1].count if len(cuts) > 1 else 1
    scale = min((WIDTH // 2 - _EDGE - 40) / columns, _MAP / rows)
    for row in range(rows):
        for column in range(columns):
            top = round(_HEAD + (rows - 1 - row) * scale)
            start, end = round(left + column * scale), round(left + (column + 1) * scale) - 3
            bottom = round(top + scale) - 3
            whose = squares.get((row, column), ())
            edges = np.linspace(start, end + 1, len(whose) + 1).round().astype(int).tolist()
            for who, first, after in zip(whose, edges, edges[1:], strict=False):
                cv2.rectangle(image, (first, top), (after - 1, bottom), colors[who], cv2.FILLED)
            if not whose:
                cv2.rectangle(image, (start, top), (end, bottom), FAINT, 1)
    x, y = cuts[0][1], cuts[1][1] if len(cuts) > 1 else None
    bottom = round(_HEAD + rows * scale) + 16
    write(image, f"{x.low:g}", left, bottom, size=0.4)
    write(image, f"{x.name} {x.high:g}", round(left + columns * scale), bottom, size=0.4, to_left=True)
    if y is not None:
        write(image, f"{y.high:g}", left - 6, _HEAD + 12, size=0.4, to_left=True)
        write(image, y.name, left - 6, _HEAD + round(rows * scale / 2), size=0.4, to_left=True)
        write(image, f"{y.low:g}", left - 6, bottom - 18, size=0.4, to_left=True)


def _gains(found: PlanningReport, colors: Mapping[str, Color]) -> Image:
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
        those = np.array(points) / (most_s, most)
        drawn = np.stack([left + those[:, 0] * (right - left), bottom - those[:, 1] * (bottom - top)], axis=1)
        cv2.polylines(image, [drawn.round().astype(np.int32)], False, colors[name], 2, cv2.LINE_AA)
        write(image, f"{name} {points[-1][1]:g}", right + 8, top + 18 * (number + 1), colors[name], 0.45)
    return image
