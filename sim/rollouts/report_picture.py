"""The report as a picture: of every task and policy how much was accepted, what it cost, and how rewards spread."""

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from sensorium.perception.drawing import ALARM, COLORS, FAINT, INK, Box, Image, blank, write

ROW, LEFT, WIDTH, GAP = 26, 300, 240, 40
TOP, FOOT = 70, 30


def picture_of(report: Mapping[str, Any]) -> Image:
    """Three columns of bars, a row a task and policy: pass@1 of the first group, mean reward with the deviation as a
    whisker, and wall seconds for each accepted rollout. One without signal has its name in red."""
    cells: Sequence[Mapping[str, Any]] = report["cells"]
    columns = [Box(LEFT + n * (WIDTH + GAP), TOP, WIDTH, ROW * len(cells)) for n in range(3)]
    image = blank(columns[-1].right + GAP, TOP + ROW * max(1, len(cells)) + FOOT)
    names = ", ".join(each["campaign"] for each in report["campaigns"])
    write(image, f"rollouts: {names or 'no campaign'}"[:110], 12, 24, size=0.6)
    for box, title in zip(columns, ("accepted (pass@1)", "reward: mean, deviation", "wall s / accepted"), strict=True):
        write(image, title, box.left, TOP - 14)
    accepted = [cell["pass_at"].get("1") for cell in cells]
    costs = [cell["cost_per_accepted"]["wall_s"] for cell in cells]
    means = [(cell["mean"], cell["deviation"] or 0.0) for cell in cells]
    reach = max([abs(mean) + spread for mean, spread in means if mean is not None], default=0.0) or 1.0
    dearest = max([cost for cost in costs if cost is not None], default=0.0) or 1.0
    for row, cell in enumerate(cells):
        top = TOP + row * ROW
        name = f"{cell['task']}  {cell['policy']}"
        write(image, name[:40], 12, top + 17, ALARM if cell["flag"] else INK)
        _bar(image, columns[0], top, accepted[row], COLORS[0], f"{cell['accepted']} of {cell['n']}")
        mean, spread = means[row]
        _bar(image, columns[1], top, None if mean is None else abs(mean) / reach, COLORS[2], _short(mean))
        if mean is not None and spread:
            _whisker(image, columns[1], top, (abs(mean) - spread) / reach, (abs(mean) + spread) / reach)
        cost = costs[row]
        _bar(image, columns[2], top, None if cost is None else cost / dearest, COLORS[1], _short(cost))
    return image


def _bar(image: Image, box: Box, top: int, share: float | None, color: Sequence[int], text: str) -> None:
    cv2.rectangle(image, (box.left, top + 5), (box.right, top + ROW - 5), FAINT, -1)
    if share is None:
        write(image, "not known", box.left + 4, top + 17)
        return
    right = box.left + round(float(np.clip(share, 0.0, 1.0)) * box.width)
    cv2.rectangle(image, (box.left, top + 5), (right, top + ROW - 5), color, -1)
    write(image, text, box.left + 4, top + 17)


def _whisker(image: Image, box: Box, top: int, low: float, high: float) -> None:
    at = [box.left + round(float(np.clip(share, 0.0, 1.0)) * box.width) for share in (low, high)]
    cv2.line(image, (at[0], top + ROW // 2), (at[1], top + ROW // 2), INK, 1)
    for x in at:
        cv2.line(image, (x, top + 8), (x, top + ROW - 8), INK, 1)


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"
