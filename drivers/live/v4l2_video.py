"""H.264 and HEVC as cameras send them, decoded: a picture whose references were lost is none."""

from typing import Any

from sensorium.drivers.live.v4l2_capture import PixelLayout
from sensorium.errors import ConfigError, Corrupt

VIDEOS = {"H264": "h264", "HEVC": "hevc"}
"""Pixel formats that only PyAV decodes, by its name of each."""


class VideoReader:
    """Decodes buffers, each one picture, in the order in which they come.

    Raises:
        ConfigError: PyAV is not installed.
    """

    def __init__(self, layout: PixelLayout, title: str) -> None:
        try:
            import av
        except ImportError as error:
            why = f"{title}: {layout.pixel_format} needs PyAV: pip install 'sensorium[video]', or state `pixel_format`"
            raise ConfigError(why) from error
        self._av = av
        self._decoder = av.CodecContext.create(VIDEOS[layout.pixel_format], "r")
        self._decoder.thread_count = 1
        self._decoder.flags |= av.codec.context.Flags.low_delay
        self._shape = (layout.height, layout.width, 3)
        self._waits = True

    def picture(self, data: bytes) -> Any:
        """BGR, uint8 [h, w, 3].

        Raises:
            Corrupt: it is none, is damaged, or lacks what it refers to.
        """
        try:
            frames = self._decoder.decode(self._av.Packet(data))
        except self._av.error.FFmpegError as error:
            self._waits = True
            raise Corrupt(f"a picture does not decode: {error}") from error
        if not frames:
            raise Corrupt("nothing was decoded")
        frame = frames[-1]
        picture = frame.to_ndarray(format="bgr24")
        if frame.is_corrupt or picture.shape != self._shape:
            self._waits = True
            raise Corrupt("a picture is not whole")
        if self._waits and not frame.key_frame:
            raise Corrupt("a picture refers to what was lost")
        self._waits = False
        return picture

    def lose(self) -> None:
        """A buffer is missing: what follows refers to it, up to the next whole picture."""
        self._waits = True
