"""What pictures tell of a camera: that it repeats itself, or goes dark, blind or noisy at once and for a while."""

from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from sensorium.drivers.stream import StreamSpec
from sensorium.perception.exposure import exposure, white_level
from sensorium.perception.gray import Picture, gray

Floats = npt.NDArray[np.float64]

LEAST_PICTURES = 8
FROZEN_PICTURES = 3.0
"""Pictures that repeat the one before, one behind the other."""
DARK_SHARE = 0.4
"""The share of light that is lost from one picture to the next, and for three at least."""
WHITE_SHARE = 0.1
"""The share of values that turn white from one picture to the next, and for three at least; or half, from the start."""
NOISE_LEVELS = 5.0
"""Noise that is added from one picture to the next, one sigma, in steps of 1/255 of white, for three at least."""
_BLACK = 0.004
_WHITE_ALWAYS = 0.5
_HELD = 3
_AS_LIT = 1.25
_ALL_ALIKE = 0.8
_SIDE = 320
_LEAST_SIDE = 48
_LAPLACIAN = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)


class FrameFaults(NamedTuple):
    """What was found, each over its limit, so that 1 and more is a fault."""

    frozen: float
    black: float
    saturated: float
    noise: float


class FrameWatch:
    """Looks at the pictures of one stream as they come, and says at their end what is wrong."""

    def __init__(self, spec: StreamSpec) -> None:
        self._spec = spec
        self._white = white_level(spec)
        self._before: Picture | None = None
        self.repeats: list[bool] = []
        self._light: list[float] = []
        self._blind: list[float] = []
        self._noise: list[float] = []

    def look(self, picture: Picture) -> None:
        """Take in the next picture."""
        self.repeats.append(self._before is not None and bool(np.array_equal(picture, self._before)))
        self._before = picture
        middle = _middle(gray(picture, self._spec.color_order))
        self._light.append(exposure(picture, self._white).mean)
        self._blind.append(float(np.count_nonzero(middle >= 0.998 * self._white)) / middle.size)
        told = min(middle.shape) >= _LEAST_SIDE  # of fewer pixels what is seen changes more than noise does
        self._noise.append(noise_sigma(middle) * 255 / self._white if told else 0.0)

    def faults(self, still: npt.NDArray[np.bool_] | None = None) -> FrameFaults | None:
        """What is wrong; None of so few that nothing can be told. `still` [n] says in which pictures the camera is
        known to have stood: there two may be the same, if mostly they are."""
        if len(self.repeats) < LEAST_PICTURES:
            return None
        repeats = np.array(self.repeats)
        stood = repeats.copy()
        # Where it has noise no two pictures are the same, however still it stands.
        if still is not None and still.any() and repeats[still].mean() > _ALL_ALIKE:
            repeats &= ~still
        light, blind, noise = (np.array(each) for each in (self._light, self._blind, self._noise))
        repeats &= light >= _BLACK  # what sees nothing is not frozen
        dark, white = _gone(light, blind), _turned(blind)
        dark = max(dark / DARK_SHARE, float(light.max() < _BLACK))
        white = max(white / WHITE_SHARE, float(np.median(blind)) / _WHITE_ALWAYS)
        return FrameFaults(
            _longest(repeats) / FROZEN_PICTURES, dark, white, _added(noise, light, blind, stood) / NOISE_LEVELS
        )


def _gone(light: Floats, blind: Floats) -> float:
    """The most light that is lost at once; not where a picture was blind before."""
    lost = [0.0]
    for row in _borders(light):
        before, after = float(light[row - _HELD : row].min()), float(light[row : row + _HELD].max())
        if before > after and float(blind[row - 1] - blind[row]) < WHITE_SHARE / 2:
            lost.append(1 - after / before)
    return max(lost)


def _turned(blind: Floats) -> float:
    """The most of a picture that turns white at once."""
    return max(
        (float(blind[row : row + _HELD].min() - blind[row - _HELD : row].max()) for row in _borders(blind)), default=0.0
    )


def _added(noise: Floats, light: Floats, blind: Floats, stood: npt.NDArray[np.bool_]) -> float:
    """The most noise that is added at once; not where more or less light makes more or less of everything, or where
    what was seen is another thing, behind pictures that stood."""
    added = [0.0]
    for row in _borders(noise):
        before, after = float(noise[row - _HELD : row].max()), float(noise[row : row + _HELD].min())
        more = float(np.sqrt(max(after**2 - before**2, 0.0)))
        # Noise that is cut off at black makes a picture brighter, by less than half of it.
        change = max(abs(float(light[row] - light[row - 1])) - 0.5 * more / 255, 0.0)
        lit = 1 + change / max(min(float(light[row]), float(light[row - 1])), 1e-9)
        if stood[row - _HELD : row + _HELD].any():
            continue
        if after > before and lit < _AS_LIT and abs(float(blind[row] - blind[row - 1])) < WHITE_SHARE / 2:
            added.append(more)
    return max(added)


def _borders(series: Floats) -> range:
    """Where as many as count stand on either side."""
    return range(_HELD, len(series) - _HELD + 1)


def noise_sigma(shade: Picture) -> float:
    """One sigma of the noise in a gray picture, in its units (J. Immerkaer, "Fast noise variance estimation", 1996).

    >>> rng = np.random.default_rng(0)
    >>> round(noise_sigma(rng.normal(100, 5, (200, 200)).astype(np.float32)))
    5
    """
    if min(shade.shape) < 3:
        return 0.0
    bent = cv2.filter2D(shade.astype(np.float32), -1, _LAPLACIAN)[1:-1, 1:-1]
    return float(np.abs(bent).mean()) * float(np.sqrt(np.pi / 2)) / 6


def _middle(shade: Picture) -> Picture:
    top, left = (max(side - _SIDE, 0) // 2 for side in shade.shape)
    return shade[top : top + _SIDE, left : left + _SIDE]


def _longest(flags: npt.NDArray[np.bool_]) -> int:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return int((edges[1::2] - edges[::2]).max()) if len(edges) else 0
