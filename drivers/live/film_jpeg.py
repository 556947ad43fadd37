"""JPEGs of a film: what is damaged inside is told beside the reader, for which half of a picture is one."""

import re

import cv2
import numpy as np

from sensorium.drivers.live.camera_jpeg import PacketCapture
from sensorium.drivers.live.whole_jpeg import whole_jpeg
from sensorium.errors import Corrupt

_FRAME = re.compile(rb"\xff[\xc0-\xc2]\0[\x0b\x11]\x08")
"""The header of a frame that libjpeg knows: 8 bits, grey or of three components, not lossless."""
_FIELDS = re.compile(rb"\xff\xd9\0*\xff\xd8")
"""Two fields, which interlaced films have in one packet."""
_END, _ZEROS = b"\xff\xd9", bytes(32)


def is_half(data: bytes) -> bool:
    """Whether a JPEG is damaged inside. Of what cannot be told it is not: fields, what is lossless or has no header. In
    films a JPEG may lack its end.

    >>> data = cv2.imencode(".jpg", np.arange(64, dtype=np.uint8).reshape(8, 8) * 3)[1].tobytes()
    >>> is_half(data), is_half(data[:-2]), is_half(data[:-9] + b"\\xff\\xd9")
    (False, False, True)
    """
    scan = data.find(b"\xff\xda")
    if not _FRAME.search(data, 0, max(0, scan)) or _FIELDS.search(data, scan):
        return False
    if data.rfind(_END) < scan:
        if data.endswith(_ZEROS):
            return True
        data += _END
    try:
        whole_jpeg(data)
    except Corrupt:
        return True
    return False


class JpegsBeside:
    """The packets of a film, beside a capture of its pictures; asked in their order."""

    def __init__(self, packets: PacketCapture) -> None:
        self._packets = packets
        self._gives = packets.set(cv2.CAP_PROP_FORMAT, -1)

    def is_half(self, pts: float) -> bool:
        """Of the one at that time of the container."""
        while self._gives and self._packets.grab():
            if self._packets.get(cv2.CAP_PROP_PTS) >= pts:
                found, packet = self._packets.retrieve()
                return bool(found) and is_half(np.asarray(packet).tobytes())
        return False

    def release(self) -> None:
        self._packets.release()
