"""The instruments over the stage: a spectrometer, a thermal camera and a point probe; noise falls with dwell."""

from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field

from sensorium.sim.worlds.imperfections import NonNegative, Positive
from sensorium.sim.worlds.lab.sample import BANDS, WAVELENGTHS_NM, Sample
from sensorium.sim.worlds.senses.sense import Floats, SenseErrors

FIELD_MM = (8.0, 6.0)
THERMAL_PX = (32, 24)
KELVIN_STEP = 0.01

_NODES = np.linspace(-2.0, 2.0, 5)
_SPOT = np.stack(np.meshgrid(_NODES, _NODES), axis=-1).reshape(-1, 2)
_SPOT_SHARES = np.exp(-0.5 * (_SPOT**2).sum(axis=1)) / np.exp(-0.5 * (_SPOT**2).sum(axis=1)).sum()


class SpectrometerErrors(SenseErrors):
    """An InGaAs line of 64 bands behind a grating: a white surface gives `electrons_per_s` in the band where lamp and
    detector are best, a tenth of it at the ends; `dark_per_s` and, for each `frame_s` of the dwell, `read_noise_e`
    are added; `gain_error` is one sigma of what each band is off by for good. The spot is `spot_mm` wide (one sigma).
    """

    electrons_per_s: Positive = 2e6
    dark_per_s: NonNegative = 5e4
    read_noise_e: NonNegative = 400.0
    frame_s: Positive = 0.01
    gain_error: NonNegative = 0.004
    spot_mm: Positive = 0.15


class Spectrometer:
    """Reflectance against a white reference, taken once for good; bands at the ends are noisier."""

    def __init__(self, errors: SpectrometerErrors, rng: np.random.Generator) -> None:
        self._errors = errors
        self._rng = rng
        middle = (WAVELENGTHS_NM - 1300) / 400
        self._light = 0.1 + 0.9 * np.exp(-2.0 * middle**2) / np.exp(0)
        self._gain = 1 + errors.gain_error * rng.standard_normal(BANDS)

    def sigma(self, reflectance: Floats, dwell_s: float) -> Floats:
        """One sigma of each band, without what it is off by for good."""
        errors = self._errors
        white = errors.electrons_per_s * self._light * dwell_s
        frames = max(dwell_s / errors.frame_s, 1.0)
        variance = reflectance * white + errors.dark_per_s * dwell_s + frames * errors.read_noise_e**2
        sigma: Floats = np.sqrt(variance) / white
        return sigma

    def true(self, sample: Sample, x_mm: float, y_mm: float) -> Floats:
        """[64] reflectances of what the spot covers."""
        places = np.array([x_mm, y_mm]) + self._errors.spot_mm * _SPOT
        seen: Floats = _SPOT_SHARES @ sample.reflectance(places[:, 0], places[:, 1])
        return seen

    def measure(self, sample: Sample, x_mm: float, y_mm: float, dwell_s: float) -> npt.NDArray[np.float32]:
        """[64] reflectances."""
        true = self.true(sample, x_mm, y_mm)
        noise = self.sigma(true, dwell_s) * self._rng.standard_normal(BANDS)
        return (true * self._gain + noise).astype(np.float32)


class ThermalErrors(SenseErrors):
    """An array of 32 x 24 thermopiles: `netd_k` is one sigma at a dwell of 1 s, `offset_k` one sigma of what each pixel
    is off by for good. By default as Melexis 3901090640 (MLX90640) has it: 0.1 K at 1 Hz."""

    netd_k: NonNegative = 0.1
    offset_k: NonNegative = 0.05


class ThermalCamera:
    """Pictures of 8 x 6 mm around the stage, uint16 [24, 32] in hundredths of a kelvin."""

    def __init__(self, errors: ThermalErrors, rng: np.random.Generator) -> None:
        self._errors = errors
        self._rng = rng
        self._offset_k = errors.offset_k * rng.standard_normal((THERMAL_PX[1], THERMAL_PX[0]))

    def sigma(self, dwell_s: float) -> float:
        """One sigma of a pixel, without what it is off by for good."""
        return float(self._errors.netd_k / np.sqrt(dwell_s))

    @staticmethod
    def true(sample: Sample, x_mm: float, y_mm: float) -> Floats:
        """Temperatures, K, [24, 32]."""
        (wide, high), (columns, rows) = FIELD_MM, THERMAL_PX
        x = x_mm + wide * ((np.arange(columns) + 0.5) / columns - 0.5)
        y = y_mm + high * ((np.arange(rows) + 0.5) / rows - 0.5)
        return sample.warmth(x, y)

    def measure(self, sample: Sample, x_mm: float, y_mm: float, dwell_s: float) -> npt.NDArray[np.uint16]:
        true = self.true(sample, x_mm, y_mm)
        read = true + self._offset_k + self.sigma(dwell_s) * self._rng.standard_normal(true.shape)
        counts: npt.NDArray[np.uint16] = np.clip(np.rint(read / KELVIN_STEP), 0, 65_535).astype(np.uint16)
        return counts


class ProbeErrors(SenseErrors):
    """`relative` is one sigma of a reading at a dwell of 0.1 s, as a share of it; it never falls below `floor`."""

    relative: Annotated[float, Field(ge=0, lt=1)] = 0.04
    floor: Annotated[float, Field(ge=0, lt=1)] = 0.005


class PointProbe:
    """Conductivity (MS/m) and hardness (GPa) of the one place that its tip touches."""

    def __init__(self, errors: ProbeErrors, rng: np.random.Generator) -> None:
        self._errors = errors
        self._rng = rng

    def sigma(self, dwell_s: float) -> float:
        """One sigma, as a share of the reading."""
        return float(np.hypot(self._errors.relative * np.sqrt(0.1 / dwell_s), self._errors.floor))

    def measure(self, sample: Sample, x_mm: float, y_mm: float, dwell_s: float) -> Floats:
        """[2] conductivity and hardness."""
        true = sample.touch(x_mm, y_mm)
        read: Floats = true * (1 + self.sigma(dwell_s) * self._rng.standard_normal(2))
        return read
