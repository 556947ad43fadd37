"""The shift between two pictures, by phase correlation: how far it moved, and how sure that is."""

from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

Shade = npt.NDArray[np.uint8]

SURE = 0.15
"""A response below this is that of pictures that have nothing in common (0.13 at most, of noise)."""
_LEAST_DEVIATION = 0.5


class Shift(NamedTuple):
    """By how much of the picture's width what is seen moved to the right and down, and the `response`, 0 to 1.

    The response is about the share of the picture that can be seen in the other; below `SURE` the numbers mean nothing.
    """

    x: float
    y: float
    response: float


NO_SHIFT = Shift(np.nan, np.nan, 0.0)


def shift(before: Shade, after: Shade) -> Shift:
    """The shift from one picture to another of the same size, uint8 [h, w] each.

    Phase correlation after C. Kuglin and D. Hines ("The phase correlation image alignment method", 1975), as OpenCV
    has it, under a Hanning window.

    >>> plane = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (140, 200), np.uint8), (0, 0), 2)
    >>> found = shift(plane[:120, :160], plane[4:124, 8:168])
    >>> round(found.x * 160, 1), round(found.y * 160, 1), found.response > 0.5
    (-8.0, -4.0, True)
    """
    if before.shape != after.shape or min(after.shape) < 8:
        return NO_SHIFT
    one, other = before.astype(np.float32), after.astype(np.float32)
    for values in (one, other):
        mean, deviation = cv2.meanStdDev(values)
        if deviation[0, 0] < _LEAST_DEVIATION:
            return NO_SHIFT
        values -= np.float32(mean[0, 0])
    (x, y), response = cv2.phaseCorrelate(one, other, _window(after.shape))
    return Shift(x / after.shape[1], y / after.shape[1], min(max(float(response), 0.0), 1.0))


@lru_cache(maxsize=32)
def _window(shape: tuple[int, int]) -> npt.NDArray[np.float32]:
    window: npt.NDArray[np.float32] = cv2.createHanningWindow(shape[::-1], cv2.CV_32F)
    return window
