"""Films through OpenCV: of those that it can be trusted with, each frame that it decodes, with the container's time."""

from collections.abc import Generator
from contextlib import suppress
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from sensorium.drivers.live.avi_index import frames_listed
from sensorium.drivers.live.camera_jpeg import PacketCapture
from sensorium.drivers.live.camera_live import Capture
from sensorium.drivers.live.camera_stamps import position_ns
from sensorium.drivers.live.film import Shown
from sensorium.drivers.live.film_edits import leaves_out
from sensorium.drivers.live.film_jpeg import JpegsBeside
from sensorium.drivers.live.film_trust import distrust
from sensorium.errors import ConfigError

_LOOKED_AT = 30
_MOST_FAILURES = 64
"""So many frames in a row that cannot be decoded are the end."""
INSTALL = "pip install 'sensorium[video]'"


class OpencvFilm:
    """See `Film`. It is the reader where PyAV is not installed.

    Raises:
        ConfigError: not a video, without a frame, with frames that have no time of their own, or one that OpenCV cannot
            be trusted with.
    """

    reader = "opencv"
    bits = 8
    utc_ns: int | None = None
    within_ns = 0

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("rb") as file:
            head = file.read(8)
        self.is_listed = head.startswith(b"RIFF") or head[4:8] == b"ftyp"
        capture = self._open()
        try:
            decoded, first = capture.retrieve() if capture.grab() else (False, None)
            if why := self._distrusted(capture, head):
                raise ConfigError(f"camera file {path}: {why}: OpenCV does not read it rightly; {INSTALL}")
            if not decoded or first is None:
                raise ConfigError(f"camera file {path}: no frame can be read; expected a video that FFmpeg knows")
            times = [_position_ns(capture)]
            times += [_position_ns(capture) for _ in islice(iter(capture.grab, False), _LOOKED_AT)]
            # FFmpeg makes up times for bare JPEGs, 25 a second
            if len(times) > 1 and (times[1] < times[0] or times[-1] == times[0] or head.startswith(b"\xff\xd8")):
                raise ConfigError(f"camera file {path}: its frames have no time of their own; put them into MP4 or MKV")
            stated_hz = float(capture.get(cv2.CAP_PROP_FPS))
            is_jpeg = capture.get(cv2.CAP_PROP_FOURCC) == cv2.VideoWriter.fourcc(*"MJPG")
        finally:
            capture.release()
        self.first = np.asarray(first, np.uint8)
        self.first_ns = tuple(times)
        self._is_jpeg = is_jpeg
        # an AVI has an order alone, in which frames that others refer to are late by a constant
        self._late_ns = times[0] if head.startswith(b"RIFF") and not is_jpeg else 0
        self.stated_hz = stated_hz if 0 < stated_hz < 1e6 else None

    def pictures(self) -> Generator[Shown, None, int]:
        """Every frame, from the beginning; returns how many the container promised beyond those.

        Raises:
            ConfigError: OpenCV contradicts itself on when a frame is shown.
        """
        capture = self._open()
        jpegs = JpegsBeside(self._open()) if self._is_jpeg else None
        try:
            last_ns, last_pts, seen, begin, failures = -1, -1.0, 0, 0.0, 0
            while failures <= _MOST_FAILURES:
                if not capture.grab():
                    failures += 1
                    continue
                # where the first frame stands in the file's own count, which `promised_frames` has to take off
                pts = capture.get(cv2.CAP_PROP_PTS)
                begin = begin if seen else max(0.0, pts)
                at_ns = _position_ns(capture) - self._late_ns
                if at_ns < last_ns and pts > last_pts:
                    raise ConfigError(f"camera file {self._path}: OpenCV contradicts itself on its times; {INSTALL}")
                for _ in range(failures):
                    seen += 1
                    yield Shown(at_ns)
                decoded, image = capture.retrieve()
                failures, last_ns, last_pts, seen = 0, at_ns, pts, seen + 1
                is_whole = decoded and image is not None and not (jpegs and jpegs.is_half(pts))
                yield Shown(at_ns, np.asarray(image) if is_whole else None)
            promised = frames_listed(self._path)
            if promised is None:
                promised = promised_frames(capture, seen, last_ns, begin, is_listed=self.is_listed)
            # where the header states a duration alone the promise is an estimate: so little short of it is not a loss
            return max(0, promised - seen) if self.is_listed or seen < promised * 0.99 - 1 else 0
        finally:
            capture.release()
            if jpegs:
                jpegs.release()

    def _open(self) -> PacketCapture:
        capture: PacketCapture = cv2.VideoCapture(str(self._path), cv2.CAP_FFMPEG)
        return capture

    def _distrusted(self, capture: Capture, head: bytes) -> str:
        codec, pixels, header = said_of_codec(capture)
        if codec in (bytes(4), b"\xff" * 4):
            return ""  # no video at all
        if head[4:8] == b"ftyp" and leaves_out(self._path):
            return "an edit list that leaves frames out"
        return distrust(head, codec, pixels, header)


def said_of_codec(capture: Capture) -> tuple[bytes, bytes, bytes]:
    """FourCC of the codec and of the pixels, and the codec's header, empty where there is none; of the latter no frame
    of a live stream is lost."""
    codec, pixels = (
        (int(capture.get(prop)) & 0xFFFFFFFF).to_bytes(4, "little")
        for prop in (cv2.CAP_PROP_FOURCC, cv2.CAP_PROP_CODEC_PIXEL_FORMAT)
    )
    extradata = None
    place = int(capture.get(cv2.CAP_PROP_CODEC_EXTRADATA_INDEX))
    if place > 0 and isinstance(capture, cv2.VideoCapture):
        with suppress(cv2.error):
            extradata = capture.retrieve(flag=place)[1]
    return codec, pixels, b"" if extradata is None else np.asarray(extradata).tobytes()


def promised_frames(capture: Capture, seen: int, last_ns: int, begin: float, *, is_listed: bool) -> int:
    """How many frames the file's header speaks of, estimated where it states a duration alone (MKV).

    OpenCV multiplies that by a rate that is not that of the frames where the rate varies, so it is taken back.
    It counts from zero, and stamps from the first frame, which stands at `begin` in units of that rate.
    """
    stated = max(0.0, capture.get(cv2.CAP_PROP_FRAME_COUNT))
    if is_listed:
        return int(stated)
    stated_hz = capture.get(cv2.CAP_PROP_FPS)
    if stated_hz <= 0 or last_ns <= 0:
        return seen
    rate_hz = (seen - 1) / (last_ns / 1e9)
    return seen + max(0, round(((stated - begin) / stated_hz - last_ns / 1e9) * rate_hz) - 1)


def _position_ns(capture: Capture) -> int:
    return position_ns(capture.get(cv2.CAP_PROP_POS_MSEC))
