"""Image motion: where points of one picture of a camera are in the next, as rays."""

from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from sensorium.drivers.stream import StreamSpec

Shade = npt.NDArray[np.uint8]
Points = npt.NDArray[np.float32]

WIDTH = 320
"""Wider pictures are looked at at this width."""
LEAST_POINTS = 20
MOST_POINTS = 150
_AGREE_PX = 0.3
"""So near must a point come that is followed there and back."""


class Followed(NamedTuple):
    """Points that were followed from one picture to the next: their rays in either, x/z and y/z, [n, 2]; `pixel_rad`
    is how wide a pixel of the pictures is in which they were followed, in the middle (rad). `rows` are where they stood
    in either, in heights of the picture below its middle, [n, 2]; None: all in the middle."""

    before: npt.NDArray[np.float64]
    after: npt.NDArray[np.float64]
    pixel_rad: float
    rows: npt.NDArray[np.float64] | None = None


class Optics(NamedTuple):
    """How pixels of a picture are rays: `matrix` [3, 3] and radial-tangential `distortion`, of pictures as stored."""

    matrix: npt.NDArray[np.float64]
    distortion: npt.NDArray[np.float64]


def optics_of(spec: StreamSpec) -> Optics | None:
    """What a camera's `calibration` states of its lens (`intrinsics` fu fv cu cv, `distortion_coefficients`); None
    where it does not state the first, or states another model than the pinhole."""
    said = spec.calibration
    try:
        fu, fv, cu, cv = (float(value) for value in said["intrinsics"][-4:])
        if said.get("camera_model", "pinhole") != "pinhole" or min(fu, fv) <= 0:
            return None
        width, height = (float(value) for value in said.get("resolution", spec.shape[1::-1]))
        distortion = np.array([float(value) for value in said.get("distortion_coefficients") or (0.0,) * 4])
    except (KeyError, TypeError, ValueError):
        return None
    if said.get("distortion_model", "radial-tangential") not in ("radial-tangential", "radtan", "plumb_bob"):
        distortion = np.zeros(4)
    across, down = spec.shape[1] / width, spec.shape[0] / height
    matrix = np.array([[fu * across, 0, cu * across], [0, fv * down, cv * down], [0, 0, 1]])
    return Optics(matrix, distortion)


def small(picture: Shade) -> Shade:
    """The picture at the width that it is looked at."""
    height, width = picture.shape
    if width <= WIDTH:
        return picture
    size = WIDTH, max(1, round(height * WIDTH / width))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def image_motion(before: Shade, after: Shade, lens: Optics, full: tuple[int, int]) -> Followed | None:
    """The points followed between two small pictures of one camera, whose pictures as stored are `full` (height,
    width); None where they are less than `LEAST_POINTS`.

    Corners (J. Shi and C. Tomasi, "Good features to track", 1994) are followed by the pyramidal tracker of J. Bouguet
    (2000), there and back.

    >>> plane = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (160, 200), np.uint8), (0, 0), 2)
    >>> optics = Optics(np.array([[100.0, 0, 80], [0, 100, 60], [0, 0, 1]]), np.zeros(4))
    >>> found = image_motion(plane[:120, :160], plane[3:123, 6:166], optics, (120, 160))
    >>> np.median(found.after - found.before, axis=0).round(3).tolist()
    [-0.06, -0.03]
    """
    found = cv2.goodFeaturesToTrack(before, MOST_POINTS, 0.005, 7)
    if found is None or len(found) < LEAST_POINTS:
        return None
    moved, there, _ = cv2.calcOpticalFlowPyrLK(before, after, found, None, winSize=(15, 15), maxLevel=4)
    back, again, _ = cv2.calcOpticalFlowPyrLK(after, before, moved, None, winSize=(15, 15), maxLevel=4)
    held = (there & again).ravel().astype(bool) & (np.linalg.norm((back - found)[:, 0], axis=1) < _AGREE_PX)
    if held.sum() < LEAST_POINTS:
        return None
    scale = full[1] / before.shape[1], full[0] / before.shape[0]
    rays = [_rays(points[held], lens, scale)[:, 0].astype(np.float64) for points in (found, moved)]
    down = [(points[held][:, 0, 1].astype(np.float64) + 0.5) / len(before) - 0.5 for points in (found, moved)]
    return Followed(rays[0], rays[1], float(scale[0] / lens.matrix[0, 0]), np.column_stack(down))


def _rays(points: Points, lens: Optics, scale: tuple[float, float]) -> Points:
    """Points of a small picture [n, 1, 2] as rays, x/z and y/z, without the lens' distortion."""
    stored = (points + 0.5) * np.array(scale, np.float32) - 0.5
    return np.asarray(cv2.undistortPoints(stored, lens.matrix, lens.distortion), np.float32)
