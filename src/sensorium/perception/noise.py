"""Noise: whether a picture is of nothing at all, also where neighbouring pixels go together."""

import cv2

from sensorium.perception.gray import Picture
from sensorium.perception.sharpness import noise_ratio

_COARSER = 0.6
_LEAST = 16


def noise(gray: Picture) -> float:
    """How much a gray picture [h, w] at working size is like noise; above 4 it is.

    It is `noise_ratio`, which is 20 for white noise and stays below 1 for scenes, or 0.6 of that ratio at a half or a
    quarter of the size, whichever is greatest: what noise has in common with its neighbours over one or two pixels (an
    interpolated, denoised or compressed picture of it) is gone there, and a scene is still one: below 3 where it was
    measured. It cannot tell noise from fine texture that fills a picture, as grass or print may.

    >>> import numpy as np
    >>> random = np.random.default_rng(0).integers(0, 256, (120, 160), np.uint8)
    >>> round(noise(random)), round(noise(cv2.GaussianBlur(random, (0, 0), 1))), round(noise(cv2.blur(random, (3, 3))))
    (20, 9, 10)
    >>> noise(cv2.GaussianBlur(random, (0, 0), 6)) < 2
    True
    """
    found = noise_ratio(gray)
    while min(gray.shape) >= 2 * _LEAST and gray.shape[1] > 40:
        half = gray.shape[1] // 2, gray.shape[0] // 2
        gray = cv2.resize(gray, half, interpolation=cv2.INTER_AREA)
        found = max(found, _COARSER * noise_ratio(gray))
    return found
