"""Gray pictures, what the measures of a picture look at, and coloured ones, what models do."""

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from sensorium.drivers.stream import StreamSpec
from sensorium.errors import ConfigError

Picture = npt.NDArray[Any]

_DTYPES = ("uint8", "uint16", "float32", "float64")
_TO_GRAY = {
    (3, "BGR"): cv2.COLOR_BGR2GRAY,
    (3, "RGB"): cv2.COLOR_RGB2GRAY,
    (4, "BGRA"): cv2.COLOR_BGRA2GRAY,
    (4, "RGBA"): cv2.COLOR_RGBA2GRAY,
}


def check_pictures(spec: StreamSpec) -> None:
    """Raise `ConfigError` unless samples are pictures: [h, w] or [h, w, 1, 3 or 4], of an unsigned or float type."""
    is_picture = len(spec.shape) == 2 or (len(spec.shape) == 3 and spec.shape[2] in (1, 3, 4))
    if not is_picture or spec.dtype not in _DTYPES:
        raise ConfigError(
            f"stream {spec.name!r} is {spec.modality or 'a stream'} {list(spec.shape)} {spec.dtype},"
            f" expected pictures [h, w] or [h, w, 1|3|4] of {', '.join(_DTYPES)}"
        )


def gray(picture: Picture, color_order: str = "") -> Picture:
    """The picture [h, w] of a picture [h, w] or [h, w, 1, 3 or 4]; no copy where it is gray already.

    Colours are weighed by ITU-R BT.601. An unstated order is taken for OpenCV's, blue first. float64 becomes float32
    if it was coloured.

    >>> gray(np.full((2, 2, 3), [0, 0, 255], np.uint8), "BGR").tolist()
    [[76, 76], [76, 76]]
    """
    if picture.ndim == 2:
        return picture
    channels = picture.shape[2]
    if channels == 1:
        return picture[:, :, 0]
    code = _TO_GRAY.get((channels, color_order), cv2.COLOR_BGR2GRAY if channels == 3 else cv2.COLOR_BGRA2GRAY)
    weighed: Picture = cv2.cvtColor(picture.astype(np.float32) if picture.dtype == np.float64 else picture, code)
    return weighed


def colored(picture: Picture, color_order: str = "") -> npt.NDArray[np.uint8]:
    """uint8 [h, w, 3] BGR of a uint8 picture [h, w] or [h, w, 1, 3 or 4].

    >>> colored(np.array([[[1, 2, 3]]], np.uint8), "RGB").tolist(), colored(np.array([[5]], np.uint8)).tolist()
    ([[[3, 2, 1]]], [[[5, 5, 5]]])
    """
    if picture.ndim == 2 or picture.shape[2] == 1:
        return np.asarray(cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR))
    return np.ascontiguousarray(picture[..., 2::-1] if color_order.startswith("RGB") else picture[..., :3])


def is_pictures(spec: StreamSpec) -> bool:
    """Whether a stream's samples can be looked at."""
    try:
        check_pictures(spec)
    except ConfigError:
        return False
    return True
