"""dHash: 64 bits that stay nearly the same while a picture looks the same.

The difference hash of N. Krawetz ("Kind of Like That", hackerfactor.com, 2013): the picture is shrunk to 9x8 and each
bit says whether a pixel is brighter than its left neighbour. It does not see brightness or contrast, and what it says
of a picture without any structure is noise.
"""

import cv2
import numpy as np

from sensorium.perception.gray import Picture

BITS = 64
_WORTH_TRIMMING = 400


def dhash(gray: Picture) -> int:
    """The 64-bit hash of a gray picture [h, w], rows from the top, bits from the left, the first bit highest.

    >>> ramp = np.tile(np.arange(90, dtype=np.uint8), (80, 1))
    >>> hex(dhash(ramp)), dhash(ramp[:, ::-1])
    ('0xffffffffffffffff', 0)
    """
    height, width = gray.shape
    if min(height, width) >= _WORTH_TRIMMING:
        # cells of whole pixels, at most a fiftieth of the picture cut off: ten times as fast
        gray = gray[: height // 8 * 8, : width // 9 * 9]
    small = cv2.resize(gray, (9, 8), interpolation=cv2.INTER_AREA)
    return int.from_bytes(np.packbits(small[:, 1:] > small[:, :-1]).tobytes(), "big")


def distance(one: int, other: int) -> int:
    """How many of the 64 bits differ (Hamming), 0 to 64.

    >>> distance(0b1011, 0b0001)
    2
    """
    return (one ^ other).bit_count()
