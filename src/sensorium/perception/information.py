"""Information: how much there is to say of a picture."""

import cv2
import numpy as np
import numpy.typing as npt

_QUALITY = 75


def entropy(shade: npt.NDArray[np.uint8]) -> float:
    """Entropy of the shades of a picture, uint8 [h, w], in bits, 0 to 8.

    >>> entropy(np.full((4, 4), 7, np.uint8)), entropy(np.arange(256, dtype=np.uint8).reshape(16, 16))
    (0.0, 8.0)
    """
    counts = cv2.calcHist([shade], [0], None, [256], [0, 256])
    shares = counts[counts > 0] / shade.size
    return abs(float((shares * np.log2(shares)).sum()))


def jpeg_bytes(picture: npt.NDArray[np.uint8]) -> int:
    """Bytes of a picture, uint8 [h, w] or [h, w, 3] BGR, as JPEG of quality 75.

    >>> flat, noise = np.zeros((32, 32), np.uint8), np.random.default_rng(0).integers(0, 256, (32, 32), np.uint8)
    >>> 2 * jpeg_bytes(flat) < jpeg_bytes(noise)
    True
    """
    return len(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1])
