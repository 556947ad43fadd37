"""RVL: depth as runs of zeros and steps from pixel to pixel, each number in as many groups of three bits as it needs.

After A. D. Wilson, "Fast Lossless Depth Image Compression" (ISS 2017), as compressed_depth_image_transport sends it.
"""

import struct

import numpy as np
import numpy.typing as npt

_SIZE = struct.Struct("<II")
_MOST_PIXELS = 1 << 26
_MOST_GROUPS = 11
"""A number has 32 bits."""


def depth_of(data: bytes) -> npt.NDArray[np.uint16]:
    """Depth, uint16 [h, w], of its width and height and the words that follow.

    Raises:
        ValueError: it is cut short or damaged.
    """
    if len(data) < _SIZE.size:
        raise ValueError(f"{len(data)} bytes are no depth")
    width, height = _SIZE.unpack_from(data)
    pixels = width * height
    if not 0 < pixels <= _MOST_PIXELS:
        raise ValueError(f"depth of {width} x {height} pixels: expected up to {_MOST_PIXELS}")
    numbers = _numbers(data[_SIZE.size :])
    is_step = np.zeros(len(numbers), np.bool_)
    is_seen = np.zeros(pixels, np.bool_)
    at = place = 0
    while place < pixels:
        run = numbers[at : at + 2].tolist()
        if len(run) < 2 or not 0 < sum(run) <= pixels - place or at + 2 + run[1] > len(numbers):
            raise ValueError(f"depth of {width} x {height} pixels is cut short or damaged at pixel {place}")
        at, place = at + 2 + run[1], place + sum(run)
        is_step[at - run[1] : at] = True
        is_seen[place - run[1] : place] = True
    folded = numbers[is_step]
    seen = np.cumsum((folded >> 1) ^ -(folded & 1))
    if len(seen) and not (seen.min() > 0 and seen.max() < 1 << 16):
        raise ValueError(f"depth of {width} x {height} pixels is damaged: it leaves 16 bits")
    depth = np.zeros(pixels, np.uint16)
    depth[is_seen] = seen
    return depth.reshape(height, width)


def _numbers(data: bytes) -> npt.NDArray[np.int64]:
    """All numbers of whole words: of four bits the highest says that more follow, the others are its next higher bits.

    >>> _numbers(bytes.fromhex("0000a151")).tolist()
    [5, 1, 10, 0, 0, 0, 0]
    """
    words = np.frombuffer(data, "<u4", len(data) // 4)
    groups = (words.astype(np.int64)[:, None] >> np.arange(28, -1, -4) & 15).ravel()
    ends = np.flatnonzero(groups < 8)
    if not len(ends):
        return np.empty(0, np.int64)
    starts = np.concatenate([[0], ends[:-1] + 1])
    if int((ends - starts).max()) >= _MOST_GROUPS:
        raise ValueError("depth is damaged: a number in it has more than 32 bits")
    groups = groups[: ends[-1] + 1]
    place = np.arange(len(groups)) - np.repeat(starts, ends - starts + 1)
    return np.add.reduceat((groups & 7) << 3 * place, starts)
