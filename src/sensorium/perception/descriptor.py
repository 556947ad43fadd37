"""The descriptor: 512 numbers that say what a picture looks like, and little of how bright it is."""

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from sensorium.drivers.described import Hashes, Vectors
from sensorium.perception.dhash import dhash
from sensorium.perception.working import Working

BY = "sensorium-picture/1"
"""Goes up when the numbers change: those of one version are not compared with those of another."""
SIZE = 512
_LONGEST = 4095.0
_THUMBNAIL = 16
_CELLS, _ANGLES = 4, 8
_PARTS, _COLORS = 2, 32
_STILL = 2.0
"""Deviation, in levels of 255, below which what is left of a picture is its sensor's noise."""
_PALE = 24
_STRONG = np.choose(np.clip((np.arange(256) - 48) // 52, -1, 2) + 1, [_PALE, 0, 8, 16]).astype(np.uint8)
_BLUNT = np.array([[1, 2, 3, 4, 3, 2, 1]]) / 16
_EVEN = 0.08
"""How far from even a histogram of 128 bins is by chance, and twice that."""

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]


def descriptor(seen: Working) -> Vectors:
    """int8 [512]: a thumbnail of 16 x 16, gradients in 4 x 4 cells by 8 directions, colours (or shades) in 2 x 2 cells.

    Each part is centred, so that what all pictures have in common says nothing, and has a weight: where a camera moves,
    pictures of one place are alike in gradients and colours longer than in the thumbnail. Brightness and contrast
    cancel out; of a picture without any structure little is left.

    >>> ramp = np.tile(np.arange(160, dtype=np.uint8), (120, 1))
    >>> one, other = (descriptor(Working(shade, shade)).astype(int) for shade in (ramp, ramp // 2 + 90))
    >>> one.shape, bool(one @ other > 0.99 * (one @ one))
    ((512,), True)
    """
    shade = seen.shade
    colors = _shades(shade) if seen.picture.ndim == 2 else _colors(seen.picture)
    return quantised(np.concatenate((0.5 * _thumbnail(shade), _gradients(shade), 0.7 * colors)))


def hashes(seen: Working) -> Hashes:
    """The dHash from left to right, and that from top to bottom, uint64 [2]."""
    shade = seen.shade
    return np.array([dhash(shade), dhash(np.ascontiguousarray(shade.T))], np.uint64)


def quantised(vector: npt.NDArray[Any]) -> Vectors:
    """A vector of floats [d] as int8, its direction kept, as exactly as goes with a length below 4,096.

    >>> quantised(np.array([0.5, -1.0, 0.0])).tolist(), quantised(np.zeros(2)).tolist()
    ([64, -127, 0], [0, 0])
    """
    most, length = float(np.abs(vector).max(initial=0.0)), float(np.linalg.norm(vector))
    if most == 0:
        return np.zeros(len(vector), np.int8)
    # rounding to the nearest adds half a unit a number at most
    scale = min(127.0 / most, (_LONGEST - 0.5 * len(vector) ** 0.5) / length)
    whole: Vectors = np.rint(vector * scale).astype(np.int8)
    return whole


def _thumbnail(shade: Bytes) -> Floats:
    small = cv2.resize(shade, (_THUMBNAIL, _THUMBNAIL), interpolation=cv2.INTER_AREA).astype(np.float32).ravel()
    small -= small.mean()
    return _unit(small, _STILL * _THUMBNAIL)


def _gradients(shade: Bytes) -> Floats:
    across, down = (cv2.Sobel(shade, cv2.CV_32F, *order, scale=0.125) for order in ((1, 0), (0, 1)))
    size, angle = cv2.cartToPolar(across, down)
    # an angle of just under a turn may come as a whole one
    angles = (angle * (_ANGLES / (2 * np.pi))).astype(np.uint8) & (_ANGLES - 1)
    angles += _cells(shade.shape, _CELLS, _ANGLES)
    strength = min(1.0, float(cv2.mean(size)[0]) / _STILL)
    return np.float32(strength) * _evened(np.bincount(angles.ravel(), size.ravel(), _CELLS * _CELLS * _ANGLES))


def _colors(picture: Bytes) -> Floats:
    """Eight hues of three saturations, and eight shades of what has hardly any colour."""
    hue, saturation, value = cv2.split(cv2.cvtColor(picture, cv2.COLOR_BGR2HSV_FULL))
    strong = cv2.LUT(saturation, _STRONG)
    counts = _counts(strong + np.where(strong == _PALE, _relative(value, 8), hue >> 5))
    counts[:, _PALE:] = cv2.filter2D(counts[:, _PALE:], -1, _BLUNT[:, 2:5] * 1.6, borderType=cv2.BORDER_REPLICATE)
    return _evened(counts.ravel())


def _shades(shade: Bytes) -> Floats:
    counts = _counts(_relative(shade, _COLORS))
    # levels are coarser than bins where there is little contrast: neighbours share, lest a hair's breadth be novel
    return _evened(cv2.filter2D(counts, -1, _BLUNT, borderType=cv2.BORDER_REPLICATE).ravel())


def _counts(bins: Bytes) -> npt.NDArray[np.float64]:
    """How many pixels of each part are in each of the bins, [4, 32]; `bins` [h, w] are their numbers."""
    places = (bins + _cells(bins.shape, _PARTS, _COLORS)).ravel()
    return np.bincount(places, minlength=_PARTS * _PARTS * _COLORS).reshape(-1, _COLORS).astype(np.float64)


def _relative(shade: Bytes, bins: int) -> Bytes:
    """Shades by how bright they are for this picture, in `bins` from two deviations below its mean to two above."""
    mean, deviation = (float(value[0, 0]) for value in cv2.meanStdDev(shade))
    levels = (np.arange(256) - mean) / (4 * max(deviation, _STILL)) + 0.5
    found: Bytes = cv2.LUT(shade, np.clip(np.floor(levels * bins), 0, bins - 1).astype(np.uint8))
    return found


def _evened(counts: npt.NDArray[Any]) -> Floats:
    """A histogram by square roots, so that a few large bins are not all of it; without what all have in common."""
    roots = np.sqrt(counts / max(float(counts.sum()), 1e-9)).astype(np.float32)
    return _unit(roots - roots.mean(dtype=np.float32), _EVEN)


def _unit(vector: Floats, least: float) -> Floats:
    """Of length 1, or less where it is shorter than `least`: what chance makes of nothing."""
    return vector / np.float32(max(float(np.linalg.norm(vector)), least))


@lru_cache(maxsize=32)
def _cells(shape: tuple[int, ...], cells: int, times: int) -> Bytes:
    """Of every pixel the number of its cell among `cells` x `cells`, times `times`, uint8 [h, w]."""
    rows, columns = (np.arange(side) * cells // side for side in shape)
    numbers: Bytes = ((rows[:, None] * cells + columns) * times).astype(np.uint8)
    return numbers
