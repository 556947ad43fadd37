"""What the bytes of a V4L2 buffer are: grey values with all their bits, colours as BGR, or a JPEG as it was sent."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from sensorium.drivers.live.v4l2_capture import PixelLayout
from sensorium.drivers.live.v4l2_video import VIDEOS, VideoReader
from sensorium.errors import ConfigError, Corrupt

Picture = npt.NDArray[Any]

GREYS = {"GREY": ("u1", 8), "Y10 ": ("<u2", 10), "Y12 ": ("<u2", 12), "Y14 ": ("<u2", 14), "Y16 ": ("<u2", 16)}
"""Values as they are, of so many bits; `Y16 -BE` has its bytes the other way."""
PACKED = {"Y10P": (4, 10), "Y12P": (2, 12)}
"""So many values of so many bits, packed as MIPI does: the upper eight of each, then the lower ones of all, the first
one's lowest."""
_TWO_BYTES = {"YUYV": cv2.COLOR_YUV2BGR_YUYV, "UYVY": cv2.COLOR_YUV2BGR_UYVY, "YVYU": cv2.COLOR_YUV2BGR_YVYU}
_HALVES = {"NV12": cv2.COLOR_YUV2BGR_NV12, "NV21": cv2.COLOR_YUV2BGR_NV21}
JPEGS = ("MJPG", "JPEG")
KNOWN = (*JPEGS, *_TWO_BYTES, *_HALVES, "BGR3", "RGB3", *GREYS, "Y16 -BE", *PACKED, *VIDEOS)
"""Every pixel format that is read, the first that a camera has being taken where none is stated."""


@dataclass(frozen=True, slots=True)
class PixelReader:
    """Of one layout: dtype and shape of its pictures, `bits` of a value, and what makes a picture of bytes (None: they
    are a JPEG). `lose` is told that a buffer is missing."""

    dtype: str
    shape: tuple[int, ...]
    bits: int
    picture: Callable[[bytes], Picture] | None
    lose: Callable[[], None] = lambda: None


def pixel_reader(layout: PixelLayout, title: str) -> PixelReader:
    """What reads buffers of this layout.

    Raises:
        ConfigError: it is not known.
    """
    height, width, name = layout.height, layout.width, layout.pixel_format

    def lines(data: bytes, rows: int, line_bytes: int, used: int) -> npt.NDArray[np.uint8]:
        """uint8 [rows, used], without what fills up each line."""
        if len(data) < rows * line_bytes:
            raise Corrupt(f"{len(data)} bytes, expected {rows * line_bytes}")
        return np.frombuffer(data, np.uint8, rows * line_bytes).reshape(rows, line_bytes)[:, :used]

    if name in VIDEOS:
        video = VideoReader(layout, title)
        return PixelReader("uint8", (height, width, 3), 8, video.picture, video.lose)
    if name in JPEGS:
        return PixelReader("uint8", (height, width, 3), 8, None)
    grey, bits = GREYS.get(name.removesuffix("-BE"), ("", 0))
    if grey:
        stored = np.dtype(grey.replace("<", ">") if name.endswith("-BE") else grey)
        row = max(layout.line_bytes, width * stored.itemsize)

        def values(data: bytes) -> Picture:
            whole = np.ascontiguousarray(lines(data, height, row, width * stored.itemsize))
            return whole.view(stored).astype(stored.newbyteorder("="))

        return PixelReader("uint16" if stored.itemsize == 2 else "uint8", (height, width), bits, values)
    if name in PACKED:
        group, deep = PACKED[name]
        used = width * deep // 8
        row = max(layout.line_bytes, used)

        def unpacked(data: bytes) -> Picture:
            groups = np.ascontiguousarray(lines(data, height, row, used)).reshape(height, width // group, -1)
            lower = deep - 8
            rest = groups[:, :, group:] >> (np.arange(group, dtype=np.uint8) * lower)
            whole = (groups[:, :, :group].astype(np.uint16) << lower) | (rest & ((1 << lower) - 1))
            return np.asarray(whole.reshape(height, width), np.uint16)

        if width % group:
            raise ConfigError(f"{title}: {name} of {width} pixels a line is not read; state another `pixel_format`")
        return PixelReader("uint16", (height, width), deep, unpacked)
    if name in _TWO_BYTES:
        row = max(layout.line_bytes, 2 * width)

        def of_pairs(data: bytes) -> Picture:
            pairs = np.ascontiguousarray(lines(data, height, row, 2 * width)).reshape(height, width, 2)
            return np.asarray(cv2.cvtColor(pairs, _TWO_BYTES[name]))

        return PixelReader("uint8", (height, width, 3), 8, of_pairs)
    if name in _HALVES:
        row = max(layout.line_bytes, width)

        def of_planes(data: bytes) -> Picture:
            planes = np.ascontiguousarray(lines(data, height * 3 // 2, row, width))
            return np.asarray(cv2.cvtColor(planes, _HALVES[name]))

        return PixelReader("uint8", (height, width, 3), 8, of_planes)
    if name in ("BGR3", "RGB3"):
        row = max(layout.line_bytes, 3 * width)

        def of_colours(data: bytes) -> Picture:
            whole = lines(data, height, row, 3 * width).reshape(height, width, 3)
            return np.ascontiguousarray(whole if name == "BGR3" else whole[:, :, ::-1])

        return PixelReader("uint8", (height, width, 3), 8, of_colours)
    raise ConfigError(f"{title}: pixel format {name!r} is not read; state `pixel_format`, one of {', '.join(KNOWN)}")
