"""Sharpness: how much fine detail a picture has.

The measure is the variance of the Laplacian (Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy",
ICPR 2000). Its value depends on scene, lens, resolution and noise: compare it only with others of the same stream.
"""

import cv2
import numpy as np

from sensorium.perception.gray import Picture


def sharpness(gray: Picture) -> float:
    """Variance of the Laplacian of a gray picture [h, w], in squared units of the picture.

    >>> sharpness(np.full((8, 8), 7, np.uint8))
    0.0
    >>> checks = np.indices((8, 8)).sum(axis=0) % 2 * np.uint8(255)
    >>> sharpness(checks) > sharpness(cv2.blur(checks, (3, 3))) > 0
    True
    """
    # int16 holds the Laplacian of bytes, and mean and norm of it are 15 times as fast as meanStdDev
    if gray.dtype == np.uint8:
        laplacian = cv2.Laplacian(gray, cv2.CV_16S)
    else:
        laplacian = cv2.Laplacian(gray.astype(np.float64), cv2.CV_64F)
    return _variance(laplacian)


def noise_ratio(gray: Picture, sharp: float | None = None) -> float:
    """Sharpness over the variance of the gray picture [h, w] itself; 0 for a flat one. `sharp`: its sharpness if known.

    A plain number that does transfer: independent noise gives 20 (the sum of the squared weights 1, 1, 1, 1, -4),
    scenes stay far below (under 0.4 where it was measured).

    >>> noise = np.random.default_rng(0).integers(0, 256, (240, 320), np.uint8)
    >>> round(noise_ratio(noise))
    20
    >>> round(noise_ratio(cv2.GaussianBlur(noise, (0, 0), 3)), 2) < 0.4
    True
    """
    variance = float(cv2.meanStdDev(gray)[1][0, 0]) ** 2
    if variance == 0:
        return 0.0
    return (sharpness(gray) if sharp is None else sharp) / variance


def _variance(values: Picture) -> float:
    mean = cv2.mean(values)[0]
    return max(float(cv2.norm(values, cv2.NORM_L2SQR)) / values.size - mean * mean, 0.0)
