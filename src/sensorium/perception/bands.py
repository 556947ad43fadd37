"""Band energies: how much goes on in which range of frequencies, a window at a time."""

import functools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sensorium.drivers.described import Vectors

WINDOW_S = 0.5
_UNTIMED, _LEAST, _MOST = 64, 32, 4096
_MOST_GROUPS, _MOST_BANDS = 32, 24
_DECADES = 16
_ENOUGH_LINES = 12
_FLOOR = 1e-10
"""Energies count from here, in squared units, over 16 decades."""

Rows = npt.NDArray[np.float64]
Lines = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Bands:
    """Windows of `window` rows of `channels` channels, their bands by `edges`, numbers of the spectrum's lines.

    >>> bands_of(6, 200.0)
    Bands(channels=6, window=128, groups=6, edges=(1, 2, 5, 12, 28, 65))
    """

    channels: int
    window: int
    groups: int
    edges: tuple[int, ...]

    @property
    def by(self) -> str:
        """Who makes descriptors of these windows."""
        return f"sensorium-bands/1:{self.window}x{self.groups}:{'-'.join(map(str, self.edges))}"

    @property
    def size(self) -> int:
        """Numbers a descriptor."""
        return self.groups * (len(self.edges) - 1) * _DECADES

    @property
    def lines(self) -> Lines:
        """How many lines of the spectrum each band has, int64 [bands]."""
        return np.diff(self.edges)

    def energies(self, rows: Rows) -> Rows:
        """The mean power in each band of whole windows [m, window, channels], squared units, [m, groups, bands].

        Under a Hann window, without the mean. Where there are more than 32 channels, neighbours are added up.
        """
        weights = np.hanning(self.window + 1)[:-1]
        centred = np.nan_to_num(rows - rows.mean(axis=1, keepdims=True), nan=0.0, posinf=0.0, neginf=0.0)
        power = np.abs(np.fft.rfft(centred * weights[:, None], axis=1)) ** 2 / (weights**2).sum() / self.window
        starts = np.array(self.edges[:-1])
        sums = np.add.reduceat(power, starts, axis=1) / self.lines[:, None]
        first = np.linspace(0, self.channels, self.groups, endpoint=False).astype(np.int64)
        summed: Rows = np.add.reduceat(sums, first, axis=2).transpose(0, 2, 1)
        return summed


@functools.lru_cache(256)
def bands_of(channels: int, rate_hz: float | None) -> Bands:
    """Bands for rows at a nominal rate (None: irregular): windows of about half a second, as many bands as have room.

    The higher a band the wider it is, in proportion.
    """
    rows = _UNTIMED if rate_hz is None else rate_hz * WINDOW_S
    window = int(2 ** np.clip(np.rint(np.log2(max(rows, 1.0))), np.log2(_LEAST), np.log2(_MOST)))
    groups = min(channels, _MOST_GROUPS)
    count = int(np.clip(_MOST_GROUPS // groups, 1, min(_MOST_BANDS, window // 8)))
    edges = np.geomspace(1, window // 2 + 1, count + 1).round().astype(np.int64)
    return Bands(channels, window, groups, tuple(sorted(set(edges.tolist()))))


def described(energies: Rows, lines: Lines) -> Vectors:
    """Energies [m, groups, bands] as descriptors int8 [m, groups * bands * 16]: each band lights up its decade.

    Between two decades both glow, so that of two windows the cosine is one less the share of bands in which energy is
    ten times as much or as little, whatever unit and size it has. `lines` says of how many lines of the spectrum each
    band is the mean: of few it is mostly chance, and counts less.

    >>> one, other = described(np.array([[[1.0, 0.01]], [[1.0, 1.0]]]), np.array([99, 99])).astype(int)
    >>> float(one @ other / (one @ one))
    0.5
    """
    levels = np.clip(np.log10(energies + _FLOOR) - np.log10(_FLOOR), 0, _DECADES - 1.001)
    low = np.floor(levels).astype(np.int64)
    part = levels - low
    lights = np.zeros((*levels.shape, _DECADES))
    np.put_along_axis(lights, low[..., None], (1 - part)[..., None], axis=-1)
    np.put_along_axis(lights, low[..., None] + 1, part[..., None], axis=-1)
    vectors: Vectors = (
        np.rint(127 * lights * np.sqrt(np.minimum(lines / _ENOUGH_LINES, 1.0))[:, None])
        .astype(np.int8)
        .reshape(len(energies), -1)
    )
    return vectors
