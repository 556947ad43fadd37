"""Pixels of a film as they are kept: 8 bits as BGR, more as uint16, never fewer than there are unless asked for."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
from av.video.reformatter import VideoReformatter

from sensorium.drivers.live.film import Picture
from sensorium.errors import ConfigError

_MOST_KEPT_BYTES = 96 << 20
_OURS = 3
"""References to a picture that nobody else holds: the list's, the loop's, and that of asking."""


class Pixels:
    """Of frames of one size and format. Those of 8 bits become uint8 [h, w, 3], BGR; grey ones of more uint16 [h, w] as
    they are; colours of more uint16 [h, w, 3], BGR, scaled to 16 bits. With `eight` all become the first.

    Raises:
        ConfigError: values of that format are none that can be kept so.
    """

    def __init__(self, path: Path, frame: Any, *, eight: bool) -> None:
        self._is = _kind(frame)
        name, parts = frame.format.name, frame.format.components
        depth = max((part.bits for part in parts), default=8)
        grey = name.startswith(("gray", "ya"))
        if "f16" in name or "f32" in name or depth > 16:
            raise ConfigError(f"camera file {path}: pixels are {name}, which are not kept; convert it to 8 or 16 bits")
        self._reformatter = VideoReformatter()
        self._reused = _Reused()
        self._rotation = int(frame.rotation) % 360
        self._values = ""
        if depth <= 8 or eight:
            self._format, self.bits = "bgr24", 8
        elif grey:
            self._format, self.bits = "gray16le", depth
            if not name.startswith("ya"):
                self._values = ">u2" if frame.format.is_big_endian else "<u2"
        else:
            self._format, self.bits = "bgr48le", 16

    def fits(self, frame: Any) -> str:
        """What a frame is now, if it is not what the first one was."""
        found = _kind(frame)
        return "" if found == self._is else f"{found[0]}x{found[1]} {found[2]}"

    def of(self, frame: Any) -> Picture:
        """The picture of a frame that fits, upright, which nobody else holds."""
        if self._values:  # a conversion would scale what has less than 16 bits
            plane = frame.planes[0]
            lines = np.frombuffer(plane, self._values).reshape(frame.height, -1)
            image: Picture = lines[:, : frame.width].astype(np.uint16)
        else:
            image = self._reformatter.reformat(frame, format=self._format, threads=1).to_ndarray()
        if self._rotation:
            image = np.rot90(image, self._rotation // 90)
        return self._reused.copy(image)


class _Reused:
    """Pictures that nobody looks at any more are written over: the kernel would have to clear new memory for each,
    which takes as long as to decode it."""

    def __init__(self) -> None:
        self._pictures: list[Picture] = []

    def copy(self, image: Picture) -> Picture:
        """The same, which nobody else holds; views of a picture hold it too."""
        free = _free(self._pictures)
        if free is None:
            free = np.empty(image.shape, image.dtype)
            if sum(picture.nbytes for picture in self._pictures) < _MOST_KEPT_BYTES:
                self._pictures.append(free)
        np.copyto(free, image)
        return free


def _free(pictures: list[Picture]) -> Picture | None:
    for picture in pictures:
        if sys.getrefcount(picture) == _OURS:
            return picture
    return None


def _kind(frame: Any) -> tuple[int, int, str]:
    # one that says its full range in its name, or only beside it, is the same
    return frame.width, frame.height, frame.format.name.replace("yuvj", "yuv")
