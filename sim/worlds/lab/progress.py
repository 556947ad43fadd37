"""How much of a sample is known by what was measured: the map of its phases, and the defects; judged by the truth."""

import cv2
import numpy as np
import numpy.typing as npt

from sensorium.sim.worlds.lab.instruments import FIELD_MM, PointProbe, Spectrometer, ThermalCamera
from sensorium.sim.worlds.lab.sample import SIDE_MM, VOID_K, Defect, Sample
from sensorium.sim.worlds.senses.sense import Floats

CONTRAST = 5.0
"""A defect is found by a measurement in which it stands out by so many sigmas of the noise."""

_UNKNOWN = 255
_WORTH_A_WAY_MM = 3.0


class PhaseMap:
    """Each place has the phase of the spectrum that was measured nearest to it; `share` of places have the right one.

    A spectrum is of the phase whose own is nearest to it; what is nearest to that of an inclusion says nothing.
    """

    def __init__(self, sample: Sample) -> None:
        self._sample = sample
        cells = sample.cells
        middles = (np.arange(cells) + 0.5) * (SIDE_MM / cells)
        self._x_mm, self._y_mm = np.meshgrid(middles, middles)
        self._far_mm = np.full((cells, cells), np.inf)
        self._unseen_mm = self._far_mm.copy()
        self.labels = np.full((cells, cells), _UNKNOWN, np.uint8)

    @property
    def share(self) -> float:
        return float((self.labels == self._sample.phases).mean())

    def add(self, x_mm: float, y_mm: float, reflectance: npt.NDArray[np.float32]) -> None:
        """One spectrum [64], measured there."""
        distance = np.hypot(self._x_mm - x_mm, self._y_mm - y_mm)
        self._unseen_mm = np.minimum(self._unseen_mm, distance)
        phase = int(np.argmin(((self._sample.spectra - reflectance) ** 2).sum(axis=1)))
        if phase == len(self._sample.spectra) - 1:
            return
        nearer = distance < self._far_mm
        self._far_mm[nearer] = distance[nearer]
        self.labels[nearer] = phase

    def doubtful(self, place: Floats) -> tuple[float, float]:
        """x, y in mm of a place between two phases, far from what was measured and not too far from `place` [2]."""
        if not np.isfinite(self._unseen_mm).all():
            return SIDE_MM / 2, SIDE_MM / 2
        around = np.ones((3, 3), np.uint8)
        border = (cv2.dilate(self.labels, around) != cv2.erode(self.labels, around)).astype(np.float64)
        way_mm = np.hypot(self._x_mm - place[0], self._y_mm - place[1])
        worth = self._unseen_mm * (border + 1e-3) / (way_mm + _WORTH_A_WAY_MM)
        row, column = np.unravel_index(int(worth.argmax()), border.shape)
        return float(self._x_mm[row, column]), float(self._y_mm[row, column])


def stands_out(
    defect: Defect,
    sample: Sample,
    instrument: Spectrometer | ThermalCamera | PointProbe,
    x_mm: float,
    y_mm: float,
    dwell_s: float,
) -> bool:
    """Whether a measurement there, that long, shows the defect: by contrast over noise, whatever was drawn."""
    here = float(defect.depth(np.array([x_mm]), np.array([y_mm]))[0])
    if isinstance(instrument, ThermalCamera):
        within = abs(defect.x_mm - x_mm) <= FIELD_MM[0] / 2 and abs(defect.y_mm - y_mm) <= FIELD_MM[1] / 2
        return defect.kind == "void" and within and CONTRAST * instrument.sigma(dwell_s) <= VOID_K
    if isinstance(instrument, PointProbe):
        return defect.kind == "crack" and 0.8 * here >= CONTRAST * instrument.sigma(dwell_s)
    if defect.kind != "inclusion":
        return False
    pure = sample.spectra[sample.phase_at(np.array([x_mm]), np.array([y_mm]))[0]]
    changed = here * (sample.spectra[-1] - pure)
    sigma = instrument.sigma(pure, dwell_s)
    return _rms(changed) >= CONTRAST * _rms(sigma)


def _rms(values: Floats) -> float:
    return float(np.sqrt(np.mean(values**2)))
