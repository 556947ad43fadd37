"""A textured plane seen through a pinhole camera: each frame is one homography of one seeded texture, exactly."""

import math

import cv2
import numpy as np
import numpy.typing as npt

from sensorium.sim.worlds.trajectory import Floats

BODY_FROM_CAMERA = np.diag([1.0, -1.0, -1.0])
"""Rotation from camera to body axes: the camera sits at the body's origin and looks down (its z is the body's -z)."""

SIDE_M = 10.0
_PX_PER_M = 102.4


def intrinsics_of(width: int, height: int, fov_deg: float) -> Floats:
    """Of a pinhole camera of `width` x `height` px and `fov_deg` across, [3, 3]."""
    focal = width / 2 / np.tan(np.radians(fov_deg) / 2)
    return np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])


class PlanarScene:
    """The plane z = 0 under a camera of `width` x `height` px and `fov_deg` across; gray [h, w] or BGR [h, w, 3].

    Its texture is `side_m` wide around the origin, and mirrored beyond.
    """

    def __init__(self, seed: int, width: int, height: int, fov_deg: float, color: bool, side_m: float = SIDE_M) -> None:
        self.size = (width, height)
        self.intrinsics = intrinsics_of(width, height, fov_deg)
        self.texture = _texture(np.random.default_rng([seed, 1]), color, side_m / SIDE_M)
        metre = 1 / _PX_PER_M
        centre = (len(self.texture) - 1) / 2
        self._plane_from_texture = np.array([[metre, 0, -metre * centre], [0, metre, -metre * centre], [0, 0, 1]])

    def mark(self, place: Floats, radius_m: float) -> None:
        """Paint a white disc in a black ring on the plane, around `place` [2], m."""
        at = place * _PX_PER_M + (len(self.texture) - 1) / 2
        centre = (round(float(at[0])), round(float(at[1])))
        for share, shade in ((1.0, 0), (0.75, 255), (0.2, 0)):
            cv2.circle(self.texture, centre, round(share * radius_m * _PX_PER_M), (shade,) * 3, -1)

    def homography(self, position: Floats, rotation: Floats) -> Floats:
        """[3, 3], from (X, Y, 1) on the plane, in metres, to pixels, for a body so placed and turned."""
        camera_from_world = (rotation @ BODY_FROM_CAMERA).T
        columns = np.column_stack([camera_from_world[:, :2], -camera_from_world @ position])
        homography: Floats = self.intrinsics @ columns
        return homography

    def render(self, position: Floats, rotation: Floats) -> npt.NDArray[np.uint8]:
        """The frame seen from `position` [3] with `rotation` [3, 3] (body to world), uint8 [h, w] or [h, w, 3]."""
        matrix = self.homography(position, rotation) @ self._plane_from_texture
        frame: npt.NDArray[np.uint8] = cv2.warpPerspective(
            self.texture, matrix, self.size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
        )
        return frame


def _texture(rng: np.random.Generator, color: bool, times: float) -> npt.NDArray[np.uint8]:
    """Noise of several scales under discs and rectangles: something to track at every distance.

    It is `times` as wide as 10 m, with as much in each square metre.
    """
    channels = 3 if color else 1
    side = math.ceil(SIDE_M * _PX_PER_M * times)
    texture = np.zeros((side, side, channels), np.float32)
    for octave in range(3, 9):
        nodes = math.ceil(2**octave * times)
        coarse = rng.standard_normal((nodes, nodes, channels)).astype(np.float32)
        texture += 18.0 * cv2.resize(coarse, (side, side), interpolation=cv2.INTER_LINEAR).reshape(texture.shape)
    image = np.clip(texture + 128.0, 0, 255).astype(np.uint8)
    for _ in range(round(400 * times * times)):
        x, y, a, b = (int(value) for value in rng.integers((0, 0, 4, 4), (side, side, 24, 24)))
        shade = [int(value) for value in rng.integers(0, 256, channels)]
        if rng.random() < 0.5:
            cv2.circle(image, (x, y), a, shade, -1)
        else:
            cv2.rectangle(image, (x, y), (x + a, y + b), shade, -1)
    return image if color else np.ascontiguousarray(image[:, :, 0])
