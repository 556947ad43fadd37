"""Obscuring: a part of a picture is made so that nobody can tell what was there, and nothing can be computed back."""

from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from sensorium.perception.masks import Region

Fill = Literal["black", "blur", "pixelate"]
CELLS = 4
SMALLEST_CELL = 8
"""A region keeps at most `CELLS` means along its longer side, each of squares of at least so many pixels a side."""


def obscure(picture: npt.NDArray[Any], region: Region, fill: Fill) -> None:
    """Write over the pixels of a region, in place; `picture` is [h, w] or [h, w, c].

    `black` leaves nothing. The others leave what a picture of 4 x 4 pixels would: a blur by itself can be undone as far
    as the numbers are exact, a mean of hundreds of pixels cannot, and 4 x 4 of them are no face: networks still tell
    people by 16 x 16, and many by 8 x 8 (McPherson, Shokri, Shmatikov: Defeating image obfuscation with deep
    learning, 2016). `blur` is smooth between the means, `pixelate` is not.

    >>> picture = np.arange(256, dtype=np.uint8).reshape(16, 16)
    >>> obscure(picture, Region(0, 16, 0, 8), "pixelate")
    >>> sorted(set(picture[:, :8].ravel().tolist())), picture[0, 8:10].tolist()
    ([60, 188], [8, 9])
    """
    if region.empty:
        return
    part = picture[region.top : region.bottom, region.left : region.right]
    made: npt.NDArray[Any] | int = 0 if fill == "black" else _coarse(part, fill)
    if region.marked is None:
        part[...] = made
    elif isinstance(made, int):
        part[region.marked] = made
    else:
        part[region.marked] = made[region.marked]


def _coarse(part: npt.NDArray[Any], fill: Fill) -> npt.NDArray[Any]:
    height, width = part.shape[:2]
    cell = max(SMALLEST_CELL, -(-max(height, width) // CELLS))
    means = cv2.resize(part, (max(1, width // cell), max(1, height // cell)), interpolation=cv2.INTER_AREA)
    if fill == "blur":
        means = cv2.GaussianBlur(means, (3, 3), 0)
    between = cv2.INTER_LINEAR if fill == "blur" else cv2.INTER_NEAREST
    return np.asarray(cv2.resize(means, (width, height), interpolation=between)).reshape(part.shape)
