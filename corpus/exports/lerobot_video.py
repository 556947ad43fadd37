"""A camera of a LeRobot dataset: all episodes behind one another in one MP4, H.264 through PyAV."""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

_EACH = 2
"""Every second frame can be decoded alone, so that a frame anywhere costs little; as LeRobot has it."""
_FORMATS = {"": "bgr24", "BGR": "bgr24", "RGB": "rgb24"}


class Video:
    """An MP4 that is being written, of pictures of one size; frame n is shown at n / fps."""

    def __init__(self, path: Path, fps: int, width: int, height: int, crf: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.frames = 0
        self._fps = fps
        self._file: Any = av.open(str(path), "w", options={"movflags": "+faststart"})
        self._stream: Any = self._file.add_stream("libx264", rate=fps, options={"crf": str(crf), "preset": "fast"})
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, "yuv420p"
        self._stream.codec_context.gop_size = _EACH
        self._stream.codec_context.max_b_frames = 0
        self._stream.codec_context.time_base = Fraction(1, fps)

    def add(self, pictures: Iterable[npt.NDArray[np.uint8]], color_order: str) -> None:
        """Pictures uint8 [h, w] or [h, w, 3]."""
        for each in pictures:
            form = "gray" if each.ndim == 2 else _FORMATS[color_order]
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(each), format=form)
            frame.pts, frame.time_base = self.frames, Fraction(1, self._fps)
            self._file.mux(self._stream.encode(frame))
            self.frames += 1

    def close(self, whole: bool = True) -> None:
        """End the file."""
        try:
            if whole:
                self._file.mux(self._stream.encode(None))
        finally:
            self._file.close()


def about_video(fps: int, width: int, height: int) -> dict[str, Any]:
    """What `info.json` says of it."""
    return {
        "video.height": height,
        "video.width": width,
        "video.codec": "h264",
        "video.pix_fmt": "yuv420p",
        "video.is_depth_map": False,
        "video.fps": fps,
        "video.channels": 3,
        "has_audio": False,
    }
