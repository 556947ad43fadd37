"""Noise: whether a picture is of nothing at all, also where neighbouring pixels go together."""

import cv2

from sensorium.perception.gray import Picture
from sensorium.perception.sharpness import noise_ratio
from sensorium.perception.working import WIDTH

_COARSER = (0.6, 0.45)
_LEAST_WIDTH, _LEAST_HEIGHT = 120, 32


def noise(gray: Picture) -> float:
    """How much a gray picture [h, w] at working size is like noise; above 4 it is.

    It is `noise_ratio`, which is 20 for white noise and stays below 1 for scenes, or 0.6 of that ratio at half the
    size, or 0.45 at a quarter, whichever is greatest: what noise has in common with its neighbours over one or two
    pixels (an interpolated, denoised or compressed picture of it) is gone there, and a scene is still one: at most 3.2
    where it was measured. A picture narrower than the working size is as coarse already, and counts less in proportion.
    It cannot tell noise from fine texture that fills a picture, as grass or print may.

    >>> import numpy as np
    >>> random = np.random.default_rng(0).integers(0, 256, (120, 160), np.uint8)
    >>> round(noise(random)), round(noise(cv2.GaussianBlur(random, (0, 0), 1))), round(noise(cv2.blur(random, (3, 3))))
    (20, 7, 7)
    >>> noise(cv2.GaussianBlur(random, (0, 0), 6)) < 2
    True
    """
    width = gray.shape[1]
    found = noise_ratio(gray)
    for counts in _COARSER if width >= _LEAST_WIDTH else ():
        if gray.shape[0] < _LEAST_HEIGHT:
            break
        gray = cv2.resize(gray, (gray.shape[1] // 2, gray.shape[0] // 2), interpolation=cv2.INTER_AREA)
        found = max(found, counts * noise_ratio(gray))
    return found * min(1.0, float(width) / WIDTH)
