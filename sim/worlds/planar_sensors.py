"""What the planar world senses, moved by itself or by actions: a camera that looks down, an IMU, and the truth."""

import math
from typing import Annotated

import numpy as np
from pydantic import Field, model_validator

from sensorium.drivers.stream import StreamSpec
from sensorium.sim.worlds.config import WorldConfig
from sensorium.sim.worlds.imperfections import NonNegative, Probability
from sensorium.sim.worlds.scene import BODY_FROM_CAMERA, intrinsics_of
from sensorium.sim.worlds.senses.camera import CameraErrors
from sensorium.sim.worlds.senses.clock import ClockErrors
from sensorium.sim.worlds.senses.fault import Fault, check_faults
from sensorium.sim.worlds.senses.imu import ImuErrors
from sensorium.sim.worlds.senses.odometry import OdometryErrors

RateHz = Annotated[float, Field(gt=0, le=100_000)]
Side = Annotated[int, Field(ge=8, le=8192)]

_POSE = ("px", "py", "pz", "qw", "qx", "qy", "qz")
TRUTH = (*_POSE, "vx", "vy", "vz", "wx", "wy", "wz", "bgx", "bgy", "bgz", "bax", "bay", "baz")
_TRUTH_UNITS = ["m"] * 3 + [""] * 4 + ["m/s"] * 3 + ["rad/s"] * 6 + ["m/s^2"] * 3
_IMU_UNITS = ["rad/s"] * 3 + ["m/s^2"] * 3


class PlanarSensors(WorldConfig):
    """`size` is width, height in px. `cam` uint8 [h, w], or [h, w, 3] BGR with `color`; `imu` float64 [6] gx gy gz ax
    ay az in body axes, gravity included; `truth` float64 [19] at the moments of the IMU: position, quaternion (w x y z,
    body to world), velocity in the world, angular velocity in the body, the IMU's biases. `pixel_noise`, gray levels,
    one sigma, is in every pixel on its own. `camera_offset_s` is how late the camera's stamps are. Stamps of `truth`
    are true. `camera` is what else is wrong with a picture (noise and drops are those of both together), `camera_clock`
    and `imu_clock` with stamps, and `faults` are planned: truth has a stream `faults` then, and a note of each.

    With `odometry` ({} for one as usual) it is flown by its script, senses where it is, float64 [4] x, y, z, yaw, and
    can be sent there (plan `viewpoint`: `x_m`, `y_m`, `z_m`, `yaw_rad`); there it hovers, and by itself
    it goes on for ever then, unless `limit_s` is set."""

    size: tuple[Side, Side] = (320, 240)
    color: bool = False
    fov_deg: float = Field(default=70.0, gt=1, lt=120)
    camera_hz: RateHz = 30.0
    imu_hz: RateHz = 200.0
    pixel_noise: NonNegative = 0.0
    imu_errors: ImuErrors = ImuErrors()
    jitter_s: NonNegative = 0.0
    camera_offset_s: float = Field(default=0.0, allow_inf_nan=False)
    camera_drop: Probability = 0.0
    imu_drop: Probability = 0.0
    camera: CameraErrors = CameraErrors()
    camera_clock: ClockErrors = ClockErrors()
    imu_clock: ClockErrors = ClockErrors()
    faults: tuple[Fault, ...] = ()
    odometry: OdometryErrors | None = None

    @model_validator(mode="after")
    def _possible(self) -> "PlanarSensors":
        check_faults(self.faults, self.specs()[:2])
        return self

    @property
    def is_plain(self) -> bool:
        """Whether there is nothing wrong but bias, noise, jitter, an offset and drops."""
        plain = self.camera == CameraErrors() and self.camera_clock == self.imu_clock == ClockErrors()
        return plain and not self.faults

    def camera_errors(self) -> CameraErrors:
        """All that is wrong with pictures."""
        noise, drop = self.pixel_noise, self.camera_drop
        both = {"noise": math.hypot(self.camera.noise, noise), "drop": 1 - (1 - self.camera.drop) * (1 - drop)}
        return self.camera.model_copy(update=both)

    def clocks(self) -> tuple[ClockErrors, ClockErrors]:
        """All that is wrong with stamps, of the camera and of the IMU."""
        camera, imu = self.camera_clock, self.imu_clock
        offset_s = camera.offset_s + self.camera_offset_s
        jitters_s = [math.hypot(clock.jitter_s, self.jitter_s) for clock in (camera, imu)]
        return (
            camera.model_copy(update={"offset_s": offset_s, "jitter_s": jitters_s[0]}),
            imu.model_copy(update={"jitter_s": jitters_s[1]}),
        )

    def specs(self, prefix: str = "") -> tuple[StreamSpec, StreamSpec, StreamSpec]:
        """Of the camera, the IMU and the truth."""
        width, height = self.size
        matrix = intrinsics_of(width, height, self.fov_deg)
        focal, centre_x, centre_y = (float(matrix[place]) for place in ((0, 0), (0, 2), (1, 2)))
        camera = StreamSpec(
            name=f"{prefix}cam",
            modality="image",
            dtype="uint8",
            shape=(height, width, 3) if self.color else (height, width),
            rate_hz=self.camera_hz,
            frame="camera",
            color_order="BGR" if self.color else "",
            stamps_from="source",
            pixels_per_degree=width / self.fov_deg,
            calibration={
                "camera_model": "pinhole",
                "intrinsics": [focal, focal, centre_x, centre_y],
                "resolution": [width, height],
                "T_BS": _transform(BODY_FROM_CAMERA),
                **self.camera.calibration(),
            },
        )
        imu = StreamSpec(
            name=f"{prefix}imu",
            modality="imu",
            dtype="float64",
            shape=(6,),
            unit=", ".join(_IMU_UNITS),
            channels=("gx", "gy", "gz", "ax", "ay", "az"),
            rate_hz=self.imu_hz,
            frame="body",
            stamps_from="source",
            full_scale=self.imu_errors.full_scale(),
            noise_density=self.imu_errors.noise_density(),
            calibration={"T_BS": _transform(np.eye(3))},
        )
        truth = StreamSpec(
            name=f"{prefix}truth",
            modality="truth",
            dtype="float64",
            shape=(len(TRUTH),),
            unit=", ".join(_TRUTH_UNITS),
            channels=TRUTH,
            rate_hz=self.imu_hz,
            frame="world",
            stamps_from="source",
        )
        return camera, imu, truth


def _transform(rotation: np.typing.NDArray[np.float64]) -> list[list[float]]:
    """A pose in the body, 4 x 4, at its origin."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation
    return [[float(value) for value in row] for row in matrix]
