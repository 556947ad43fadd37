"""MJPEG from an OpenCV stream: its JPEGs as they came, since FFmpeg shows half of a damaged one as if it were whole."""

import logging
from typing import Any, Protocol

import cv2
import numpy as np

from sensorium.drivers.live.camera_live import Capture
from sensorium.drivers.live.whole_jpeg import whole_jpeg
from sensorium.drivers.media import decode_jpeg
from sensorium.errors import Corrupt

log = logging.getLogger(__name__)


class PacketCapture(Capture, Protocol):
    """A capture that can be told to give out packets."""

    def set(self, prop: int, value: float, /) -> bool: ...


def by_jpeg(capture: PacketCapture, title: str) -> Capture:
    """The same stream, each JPEG decoded here, if it is one of JPEGs and OpenCV gives them out; no frame was grabbed.

    Of a size that changes, frames have the new one, where OpenCV would scale them to the first.
    """
    code = int(capture.get(cv2.CAP_PROP_FOURCC))
    if code != cv2.VideoWriter.fourcc(*"MJPG") or not capture.set(cv2.CAP_PROP_FORMAT, -1):
        return capture
    return JpegCapture(capture, title)


class JpegCapture:
    """What is used of `cv2.VideoCapture`, over one that gives out packets."""

    def __init__(self, capture: Capture, title: str) -> None:
        self._capture = capture
        self._title = title

    def grab(self) -> bool:
        """Any packet is one; without any the stream has ended."""
        return self._capture.grab()

    def retrieve(self) -> tuple[bool, Any]:
        """The picture of the packet, if it is whole."""
        found, packet = self._capture.retrieve()
        if not found or packet is None:
            return False, None
        try:
            return True, decode_jpeg(whole_jpeg(np.asarray(packet).tobytes()), 1, gray=False)
        except Corrupt as error:
            log.debug("%s: a frame is lost: %s", self._title, error)
            return False, None

    def get(self, prop: int, /) -> float:
        return self._capture.get(prop)

    def release(self) -> None:
        self._capture.release()
