"""A lens: where each pixel of a picture looks, by the usual radial and tangential distortion; as one table."""

import cv2
import numpy as np
import numpy.typing as npt


class Lens:
    """Distorts frames of a pinhole camera; `distortion` is k1 k2 p1 p2 (k3), OpenCV's plumb-bob model.

    Beyond the edge of what was rendered the picture is repeated from its border: render somewhat wider for more.
    """

    def __init__(
        self, distortion: tuple[float, ...], intrinsics: npt.NDArray[np.float64], size: tuple[int, int]
    ) -> None:
        width, height = size
        columns, rows = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
        points = np.stack([columns.ravel(), rows.ravel()], axis=1)[:, None]
        straight = cv2.undistortPoints(points, intrinsics, np.array(distortion), P=intrinsics)
        self._x, self._y = straight[:, 0].T.reshape(2, height, width).astype(np.float32)

    def through(self, frame: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The frame [h, w] or [h, w, 3] as the lens shows it."""
        seen: npt.NDArray[np.float32] = cv2.remap(
            frame, self._x, self._y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        return seen
