"""A camera: exposure, motion blur, rolling shutter, lens, shot and read noise, and frames that never come."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from sensorium.drivers.clock import SECOND_NS
from sensorium.drivers.stream import Stamps
from sensorium.sim.worlds.imperfections import NonNegative, Positive, Probability
from sensorium.sim.worlds.senses.lens import Lens
from sensorium.sim.worlds.senses.sense import Finite, SenseErrors
from sensorium.sim.worlds.senses.shutter import moments, shares

Frame = npt.NDArray[np.uint8]
Render = Callable[[int], Frame]
"""What an ideal camera sees at a moment, ns since the reset: uint8 [h, w] or [h, w, 3]."""

_CAMERA_PRESETS: Mapping[str, Mapping[str, Any]] = {
    # Sony IMX219PQH5-C data sheet: 1.12 um pixels, rolling shutter, 3,448 clocks of 182.4 MHz a line: 46.6 ms for 2,464
    # lines. Electrons are not in it: 3,400 per um^2 and 3 e- of read noise, as measured on its sibling, the IMX477
    # (strollswithmydog.com, "Pi HQ Cam Sensor Performance").
    "imx219": {"full_well_e": 4300.0, "read_noise_e": 3.0, "readout_s": 0.0466, "exposure_s": 0.01},
    # The IMX477 itself, from the same measurement; 3,040 lines at 10 frames a second.
    "imx477": {"full_well_e": 8180.0, "read_noise_e": 3.0, "readout_s": 0.1, "exposure_s": 0.01},
    # Aptina (onsemi) MT9V034 data sheet: global shutter, 6 um pixels, dynamic range above 55 dB at gain 1, which with
    # a full well of 15,000 e- (of 6 um pixels of its time; the sheet has none) is 27 e- of read noise.
    "mt9v034": {"full_well_e": 15_000.0, "read_noise_e": 27.0, "readout_s": 0.0, "exposure_s": 0.005},
}


class AutoExposure(BaseModel):
    """Exposure follows the mean of the picture towards `target` (of white) with a lag of one time constant; between
    `least_s` and `most_s` it is time, beyond, up to `most_gain`, amplification, noise included."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    target: Annotated[float, Field(gt=0, lt=1)] = 0.4
    lag_s: NonNegative = 0.2
    least_s: Positive = 1e-4
    most_s: Positive = 0.02
    most_gain: Annotated[float, Field(ge=1, le=64)] = 8.0

    @model_validator(mode="after")
    def _in_order(self) -> "AutoExposure":
        if self.least_s > self.most_s:
            raise ValueError(f"least_s {self.least_s} is above most_s {self.most_s}")
        return self


class CameraErrors(SenseErrors):
    """What a frame goes through. A pixel at white holds `full_well_e` electrons (None: no shot noise) at the exposure
    `exposure_s` (0: a moment); `read_noise_e` electrons are added on reading, `noise` gray levels beside, one sigma.

    Row r of h begins `readout_s` * r / h after the first. At most `renders` pictures are taken of the scene for one
    frame: moving edges come in as many steps. `distortion` is k1 k2 p1 p2 (k3). The share `drop` of frames never
    comes. `light` is that of the scene, as a share of the one in which it was rendered. `captured_ns` is the start of
    exposure of the first row.
    """

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = _CAMERA_PRESETS

    full_well_e: Positive | None = None
    read_noise_e: NonNegative = 0.0
    noise: NonNegative = 0.0
    light: Annotated[float, Field(gt=0, le=16)] = 1.0
    exposure_s: NonNegative = 0.0
    readout_s: NonNegative = 0.0
    renders: Annotated[int, Field(ge=1, le=64)] = 8
    auto_exposure: AutoExposure | None = None
    distortion: tuple[Finite, ...] = ()
    drop: Probability = 0.0

    @model_validator(mode="after")
    def _whole(self) -> "CameraErrors":
        if len(self.distortion) not in (0, 4, 5):
            raise ValueError(f"distortion has {len(self.distortion)} numbers, expected 4 or 5: k1 k2 p1 p2 (k3)")
        if self.read_noise_e and self.full_well_e is None:
            raise ValueError("read_noise_e without full_well_e; give both, or `noise` in gray levels")
        if self.auto_exposure is not None and not self.exposure_s:
            raise ValueError("auto_exposure without exposure_s, at which the scene is as it was rendered")
        return self

    @property
    def is_ideal(self) -> bool:
        """Whether a frame that comes is what is seen at its moment, as it is."""
        flaws = (self.full_well_e, self.noise, self.auto_exposure, self.distortion, self.exposure_s, self.readout_s)
        return not any(flaws) and self.light == 1

    def calibration(self) -> dict[str, Any]:
        """What whoever uses the frames must know, for the stream's spec; empty where all is ideal."""
        known: dict[str, Any] = {}
        if self.exposure_s:
            known["exposure_s"] = self.exposure_s
        if self.readout_s:
            known["readout_s"] = self.readout_s
        if self.distortion:
            known |= {"distortion_model": "radial-tangential", "distortion_coefficients": list(self.distortion)}
        return known


class CameraSense:
    """One camera since the reset; `intrinsics` [3, 3] are asked for where its lens distorts."""

    def __init__(
        self, config: CameraErrors, rng: np.random.Generator, intrinsics: npt.NDArray[np.float64] | None = None
    ) -> None:
        if config.distortion and intrinsics is None:
            raise ValueError("a lens that distorts needs the camera's intrinsics")
        self._config = config
        self._rng = rng
        self._intrinsics = intrinsics
        self._lens: Lens | None = None
        self._light = config.exposure_s  # time times gain
        self._exposed_ns: int | None = None
        flaws = (config.full_well_e, config.noise, config.auto_exposure, config.distortion)
        self._is_ideal = not any(flaws) and config.light == 1

    @property
    def exposure_s(self) -> float:
        """How long the next frame will be exposed."""
        auto = self._config.auto_exposure
        return self._light if auto is None else min(self._light, auto.most_s)

    def moments(self, t_ns: int) -> Stamps:
        """When the scene must be looked at for the frame that begins at `t_ns`; int64 [k], the first not before it."""
        config = self._config
        exposure_ns, readout_ns = round(self.exposure_s * SECOND_NS), round(config.readout_s * SECOND_NS)
        return moments(t_ns, exposure_ns, readout_ns, config.renders)

    def expose(self, render: Render, t_ns: int) -> Frame | None:
        """The frame whose first row begins at `t_ns`; None where it never comes. The scene goes on either way."""
        if self._dropped():
            return None
        return self.develop([render(int(moment)) for moment in self.moments(t_ns)], t_ns)

    def develop(self, looks: "list[Frame]", t_ns: int) -> Frame:
        """The frame of what was seen at `moments(t_ns)`."""
        if self._is_ideal and len(looks) == 1:
            return looks[0]
        light = self._gathered(looks)
        if self._config.distortion and self._intrinsics is not None:
            if self._lens is None:
                height, width = light.shape[:2]
                self._lens = Lens(self._config.distortion, self._intrinsics, (width, height))
            light = self._lens.through(light)
        return self._read(light, t_ns)

    def _dropped(self) -> bool:
        return bool(self._config.drop) and float(self._rng.random()) < self._config.drop

    def _gathered(self, looks: "list[Frame]") -> npt.NDArray[np.float32]:
        """Gray levels, float32, each row over the time of its exposure."""
        if len(looks) == 1:
            return looks[0].astype(np.float32)
        config = self._config
        rows = len(looks[0])
        exposure_ns, readout_ns = round(self.exposure_s * SECOND_NS), round(config.readout_s * SECOND_NS)
        weights = shares(rows, exposure_ns, readout_ns, len(looks))
        light = np.zeros(looks[0].shape, np.float32)
        for look, weight in zip(looks, weights, strict=True):
            mine = np.flatnonzero(weight)
            if len(mine):
                part = slice(int(mine[0]), int(mine[-1]) + 1)
                light[part] += look[part] * weight[part].reshape(-1, *[1] * (look.ndim - 1))
        return light

    def _read(self, light: npt.NDArray[np.float32], t_ns: int) -> Frame:
        config, rng = self._config, self._rng
        time, gain = config.light, 1.0
        if config.auto_exposure is not None:
            time *= self.exposure_s / config.exposure_s
            gain = self._light / self.exposure_s
        if time != 1.0:
            light = light * np.float32(time)
        if config.full_well_e is not None:
            per_level = np.float32(config.full_well_e / 255)
            electrons = light * per_level
            sigma = np.sqrt(electrons + np.float32(config.read_noise_e**2))
            electrons += sigma * rng.standard_normal(light.shape, np.float32)
            light = np.clip(electrons, 0, np.float32(config.full_well_e)) / per_level
        if gain != 1.0:
            light = light * np.float32(gain)
        if config.noise:
            light = light + rng.standard_normal(light.shape, np.float32) * np.float32(config.noise)
        frame: Frame = np.rint(np.clip(light, 0, 255)).astype(np.uint8)
        self._adapt(frame, t_ns)
        return frame

    def _adapt(self, frame: Frame, t_ns: int) -> None:
        auto = self._config.auto_exposure
        if auto is None:
            return
        passed_s = 0.0 if self._exposed_ns is None else (t_ns - self._exposed_ns) / SECOND_NS
        self._exposed_ns = t_ns
        wanted = self._light * auto.target * 255 / max(float(frame.mean()), 1.0)
        pull = 1.0 if not auto.lag_s else 1 - float(np.exp(-passed_s / auto.lag_s))
        moved = self._light * (wanted / self._light) ** pull
        self._light = min(max(moved, auto.least_s), auto.most_s * auto.most_gain)
