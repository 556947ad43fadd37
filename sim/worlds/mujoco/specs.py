"""Specs of streams that more than one MuJoCo world has: pictures, depth, labels, an IMU."""

from collections.abc import Sequence

from sensorium.drivers.stream import StreamSpec
from sensorium.sim.worlds.mujoco.optics import Mount, calibration
from sensorium.sim.worlds.senses.camera import CameraErrors
from sensorium.sim.worlds.senses.imu import ImuErrors

POSE = ("px", "py", "pz", "qw", "qx", "qy", "qz", "vx", "vy", "vz", "wx", "wy", "wz")
POSE_UNIT = ", ".join(["m"] * 3 + [""] * 4 + ["m/s"] * 3 + ["rad/s"] * 3)
"""Position and velocity in the world, quaternion from body to world, angular velocity in the body."""
IMU = ("gx", "gy", "gz", "ax", "ay", "az")
IMU_UNIT = ", ".join(["rad/s"] * 3 + ["m/s^2"] * 3)


def camera_spec(
    name: str, size: tuple[int, int], fov_deg: float, rate_hz: float, mount: Mount, sense: CameraErrors
) -> StreamSpec:
    """Colour pictures, uint8 [h, w, 3] RGB, of a pinhole camera (and its lens)."""
    width, height = size
    return StreamSpec(
        name=name,
        modality="image",
        dtype="uint8",
        shape=(height, width, 3),
        rate_hz=rate_hz,
        frame=name,
        color_order="RGB",
        stamps_from="source",
        pixels_per_degree=width / fov_deg,
        calibration={**calibration(size, fov_deg, mount), **sense.calibration()},
    )


def depth_spec(
    name: str, size: tuple[int, int], fov_deg: float, rate_hz: float, mount: Mount, frame: str
) -> StreamSpec:
    """Depth along the optical axis, m, float32 [h, w], 0 where nothing is measured; a moment each."""
    return StreamSpec(
        name=name,
        modality="depth",
        dtype="float32",
        shape=(size[1], size[0]),
        unit="m",
        rate_hz=rate_hz,
        frame=frame,
        stamps_from="source",
        pixels_per_degree=size[0] / fov_deg,
        calibration=calibration(size, fov_deg, mount),
    )


def labels_spec(name: str, size: tuple[int, int], rate_hz: float, labels: Sequence[str], frame: str) -> StreamSpec:
    """What each pixel shows, uint16 [h, w]: the place of its name in `labels` of the calibration."""
    return StreamSpec(
        name=name,
        modality="truth",
        dtype="uint16",
        shape=(size[1], size[0]),
        rate_hz=rate_hz,
        frame=frame,
        stamps_from="source",
        calibration={"labels": list(labels)},
    )


def imu_spec(name: str, errors: ImuErrors, rate_hz: float, mount: Mount) -> StreamSpec:
    """Angular rate, rad/s, and specific force, m/s^2, gravity included, in the IMU's axes: float64 [6]."""
    return StreamSpec(
        name=name,
        modality="imu",
        dtype="float64",
        shape=(6,),
        unit=IMU_UNIT,
        channels=IMU,
        rate_hz=rate_hz,
        frame=name,
        stamps_from="source",
        full_scale=errors.full_scale(),
        noise_density=errors.noise_density(),
        calibration={"T_BS": mount.matrix},
    )
