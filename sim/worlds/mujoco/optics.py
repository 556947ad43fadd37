"""A camera's geometry: where it is mounted, its field of view, and what its stream's spec says of both."""

from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_OPENGL = np.diag([1.0, -1.0, -1.0])
"""MuJoCo's cameras look along -z with y up; the calibration of a stream is that of OpenCV: z forward, y down."""


@dataclass(frozen=True)
class Mount:
    """Where a sensor is in its body: `position` [3], m, and `rotation` [3, 3], its axes in those of the body."""

    position: Floats
    rotation: Floats

    @classmethod
    def looking(cls, position: tuple[float, float, float], down_rad: float, yaw_rad: float = 0.0) -> "Mount":
        """A camera (z forward, y down) in a body with x forward and z up, turned to the left by `yaw_rad`."""
        forward = np.array([np.cos(yaw_rad) * np.cos(down_rad), np.sin(yaw_rad) * np.cos(down_rad), -np.sin(down_rad)])
        right = np.array([np.sin(yaw_rad), -np.cos(yaw_rad), 0.0])
        return cls(np.array(position, np.float64), np.column_stack([right, np.cross(forward, right), forward]))

    @classmethod
    def straight(cls, position: tuple[float, float, float]) -> "Mount":
        """A sensor whose axes are the body's."""
        return cls(np.array(position, np.float64), np.eye(3))

    def shaken(self, rng: np.random.Generator, sigma_m: float, sigma_rad: float) -> "Mount":
        """As it was mounted in truth: off by so much along and about each axis, one sigma."""
        moved = self.position + sigma_m * rng.standard_normal(3)
        turned, _ = cv2.Rodrigues(sigma_rad * rng.standard_normal(3))
        return replace(self, position=moved, rotation=self.rotation @ turned)

    @property
    def matrix(self) -> list[list[float]]:
        """The sensor in the body, 4 x 4, as a spec's calibration has it (`T_BS`)."""
        matrix = np.eye(4)
        matrix[:3, :3], matrix[:3, 3] = self.rotation, self.position
        return [[float(value) for value in row] for row in matrix]

    @property
    def pose(self) -> Floats:
        """px py pz qw qx qy qz."""
        return np.concatenate([self.position, quaternion(self.rotation)])

    def attributes(self) -> str:
        """Position and orientation of a MJCF element with the sensor's axes."""
        return f'pos="{numbers(self.position)}" quat="{numbers(quaternion(self.rotation))}"'

    def camera_attributes(self) -> str:
        """The same of a MJCF camera."""
        return f'pos="{numbers(self.position)}" quat="{numbers(quaternion(self.rotation @ _OPENGL))}"'


def field_of_view_y(size: tuple[int, int], fov_deg: float) -> float:
    """The vertical field of view, degrees, of pictures of `size` (width, height) that see `fov_deg` across."""
    return float(np.degrees(2 * np.arctan(np.tan(np.radians(fov_deg) / 2) * size[1] / size[0])))


def intrinsics(size: tuple[int, int], fov_deg: float) -> Floats:
    """The camera matrix [3, 3], px; pixels are counted from the middle of the first."""
    width, height = size
    focal = width / 2 / np.tan(np.radians(fov_deg) / 2)
    return np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])


def calibration(size: tuple[int, int], fov_deg: float, mount: Mount) -> dict[str, Any]:
    """What a spec says of a pinhole camera, as it is meant to be mounted."""
    matrix = intrinsics(size, fov_deg)
    return {
        "camera_model": "pinhole",
        "intrinsics": [float(matrix[0, 0]), float(matrix[1, 1]), float(matrix[0, 2]), float(matrix[1, 2])],
        "resolution": list(size),
        "T_BS": mount.matrix,
    }


def quaternion(rotation: Floats) -> Floats:
    """w x y z of a rotation matrix, w not negative."""
    vector, _ = cv2.Rodrigues(np.asarray(rotation, np.float64))
    angle = float(np.linalg.norm(vector))
    axis = vector[:, 0] / angle if angle > 1e-12 else np.zeros(3)
    return np.concatenate([[np.cos(angle / 2)], np.sin(angle / 2) * axis])


def numbers(values: npt.ArrayLike) -> str:
    """Numbers as a MJCF attribute has them; as many digits as tell one from the next."""
    return " ".join(repr(float(value)) for value in np.ravel(np.asarray(values, np.float64)))
