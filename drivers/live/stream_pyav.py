"""A live stream through PyAV, which decodes what OpenCV does not: interlaced pictures, and those that resize."""

import time
from collections import deque
from fractions import Fraction
from typing import Any

import av
import cv2
from av.video.reformatter import VideoReformatter

from sensorium.errors import ConfigError, SensorLost

_PAUSE_S = 0.01
_WAITS = ("h264", "hevc")
"""Decoders that wait for a whole picture themselves, and know those that come whole bit by bit, without a key frame.
That of MPEG-4 paints what changes onto grey."""


class PyavCapture:
    """What is used of `cv2.VideoCapture`. A frame that the decoder calls damaged is not retrieved; each picture has the
    size that it was sent with, BGR [h, w, 3], uint8. Before the first frame what cannot be decoded is passed over: who
    joins a stream has to wait for a whole picture.

    Raises:
        SensorLost: nothing that FFmpeg knows comes within `open_timeout_s`.
        ConfigError: from `retrieve`: pixels of more than 8 bits, which a live stream's frames have no room for.
    """

    reader = "pyav"

    def __init__(self, url: str, title: str, *, open_timeout_s: float, read_timeout_s: float) -> None:
        self._title = title
        self._deadline_s = time.monotonic() + open_timeout_s
        options = {"rtsp_transport": "tcp"} if url[:4].lower() == "rtsp" else {}
        try:
            self._container: Any = av.open(
                url, options=options, timeout=(open_timeout_s, read_timeout_s), metadata_errors="replace"
            )
        except (av.error.FFmpegError, EOFError, ValueError) as error:
            raise SensorLost(f"camera {title}: PyAV opens no video there: {type(error).__name__}") from error
        if not self._container.streams.video:
            self._container.close()
            raise SensorLost(f"camera {title}: what is sent has no video; expected a camera's stream")
        self._stream = self._container.streams.video[0]
        self._stream.thread_type = "SLICE"  # threads of frames would hold each back
        self._packets = self._container.demux(self._stream)
        self._frames: deque[Any] = deque()
        self._frame: Any = None
        self._first: int | None = None
        self._at = 0
        self._reformatter = VideoReformatter()
        self._kept = ""

    def grab(self) -> bool:
        """The next frame; False where one cannot be decoded, and at the end."""
        self._frame = None
        while not self._frames:
            try:
                self._frames.extend(next(self._packets).decode())
            except (av.error.FFmpegError, EOFError, StopIteration) as error:
                if not isinstance(error, av.error.InvalidDataError):  # that of a packet; a container's ends its packets
                    self._packets = self._container.demux(self._stream)
                if self._first is not None or isinstance(error, StopIteration | EOFError) or self._is_late():
                    return False
                time.sleep(_PAUSE_S)  # a container may fail at once, again and again
            if self._first is None and self._stream.codec_context.name not in _WAITS:
                while self._frames and not self._frames[0].key_frame:
                    self._frames.popleft()
                if not self._frames and self._is_late():
                    return False
        self._frame = self._frames.popleft()
        at = self._frame.dts if self._frame.pts is None else self._frame.pts
        self._at = self._at if at is None else at
        if self._first is None:
            self._first = self._at
        return True

    def retrieve(self) -> tuple[bool, Any]:
        """The picture of the frame that was grabbed, if it is whole."""
        frame = self._frame
        if frame is None or frame.is_corrupt:
            return False, None
        if frame.format.name != self._kept:
            if max((part.bits for part in frame.format.components), default=8) > 8:
                raise ConfigError(
                    f"camera {self._title}: pixels are {frame.format.name}, of more than 8 bits, which are kept of"
                    " files and V4L2 devices alone; set the camera to 8 bits"
                )
            self._kept = frame.format.name
        return True, self._reformatter.reformat(frame, format="bgr24", threads=1).to_ndarray()

    def get(self, prop: int, /) -> float:
        """The time since the first frame in ms, of the last one that has a time; the stated rate in Hz; else 0."""
        if prop == cv2.CAP_PROP_POS_MSEC:
            return float((self._at - (self._first or 0)) * Fraction(self._stream.time_base) * 1000)
        if prop == cv2.CAP_PROP_FPS:
            return float(self._stream.average_rate or self._stream.guessed_rate or 0)
        return 0.0

    def release(self) -> None:
        self._container.close()

    def _is_late(self) -> bool:
        return time.monotonic() > self._deadline_s
