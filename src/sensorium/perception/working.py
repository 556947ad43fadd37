"""The working size: each picture is brought to 160 px once, and all scores look at that."""

from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from sensorium.perception.gray import Picture, gray

WIDTH = 160


class Working(NamedTuple):
    """A picture at working size, [h, 160] or as narrow as it came.

    `gray` [h, w] has the sensor's own numbers, uint8 or float32, for what is measured. `picture`, uint8 [h, w] or
    [h, w, 3] BGR, is what it looks like: the same for uint8, else stretched from the least to the largest value.
    """

    gray: Picture
    picture: npt.NDArray[np.uint8]

    @property
    def shade(self) -> npt.NDArray[np.uint8]:
        """What it looks like, in gray, uint8 [h, w]."""
        return self.picture if self.picture.ndim == 2 else np.asarray(cv2.cvtColor(self.picture, cv2.COLOR_BGR2GRAY))


def working(picture: Picture, color_order: str = "", shape: tuple[int, ...] | None = None) -> Working:
    """Bring a picture [h, w] or [h, w, 1, 3 or 4] of an unsigned or float type to working size.

    `shape` is that of the whole picture where this one came already shrunk. Pixels are averaged over squares: sides are
    halved, which is three times as fast as to shrink them at once and cuts off less than a hundredth at the right and
    below, and then brought to size. What is not finite counts as 0.

    >>> working(np.full((480, 640, 3), [255, 0, 0], np.uint8), "RGB").picture[60, 80].tolist()
    [0, 0, 255]
    >>> working(np.eye(24, dtype=np.float32)).gray.shape
    (24, 24)
    """
    if picture.dtype.kind == "f":
        picture = np.nan_to_num(picture, posinf=0.0, neginf=0.0).astype(np.float32, copy=False)
    elif picture.dtype != np.uint8:
        picture = picture.astype(np.float32)
    if picture.ndim == 3 and picture.shape[2] == 1:
        picture = picture[:, :, 0]
    small = _shrunk(picture, (shape or picture.shape)[:2])
    if small.ndim == 3:
        small = small[:, :, 2::-1] if color_order.startswith("RGB") else small[:, :, :3]
        small = np.ascontiguousarray(small)
    flat = gray(small, "BGR")
    if small.dtype == np.uint8:
        return Working(flat, small)
    low, high = float(small.min()), float(small.max())
    return Working(flat, np.asarray((small - low) * (255.0 / ((high - low) or 1.0)), np.uint8))


def _shrunk(picture: Picture, whole: tuple[int, ...]) -> Picture:
    height, width = picture.shape[:2]
    if width <= WIDTH:
        return picture
    size = WIDTH, max(1, round(whole[0] * WIDTH / whole[1]))
    while width >= 2 * WIDTH and height >= 2:
        height, width = height // 2, width // 2
        picture = cv2.resize(picture[: 2 * height, : 2 * width], (width, height), interpolation=cv2.INTER_AREA)
    small: Picture = (
        picture if picture.shape[1::-1] == size else cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    )
    return small
