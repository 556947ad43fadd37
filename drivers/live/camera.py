"""Cameras through OpenCV: a device, an RTSP or HTTP stream, or a video file, which is replayed.

OpenCV and FFmpeg write their own warnings to stderr, and only process-wide settings silence them: `OPENCV_LOG_LEVEL`
and `OPENCV_FFMPEG_LOGLEVEL` in the environment before `cv2` is first imported. A driver does not touch them.
"""

import logging
import os
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit, urlunsplit

import cv2
import numpy as np
from msgspec.structs import replace
from pydantic import AwareDatetime, Field, model_validator

from sensorium.drivers.clock import ClockKind
from sensorium.drivers.driver import DriverConfig
from sensorium.drivers.identity import Identity, identity_of
from sensorium.drivers.live.camera_file import Moment, file_camera
from sensorium.drivers.live.camera_jpeg import JpegCapture
from sensorium.drivers.live.camera_live import Capture, Image, LiveCamera
from sensorium.drivers.live.camera_stamps import ArrivalStamps, DeviceStamps, Stamper, StreamStamps
from sensorium.drivers.live.camera_stream import check_reachable, open_stream
from sensorium.drivers.live.thinning import Changes, Thinning
from sensorium.drivers.live.v4l2_controls import node_changes
from sensorium.drivers.pacing import Pace, Paced
from sensorium.drivers.region import Regional
from sensorium.drivers.stream import StreamSpec
from sensorium.errors import ConfigError, SensorLost

log = logging.getLogger(__name__)

Place = Literal["device", "stream", "file"]

_URL = re.compile(r"(rtsps?|https?)://", re.IGNORECASE)


class CameraConfig(DriverConfig):
    """A camera. Frames are BGR `[h, w, 3]` or grey `[h, w]`, uint8, of a file with more bits uint16.

    `source` is an index or a /dev path (V4L2), an rtsp:// or http:// URL, or the path of a video file, which is a
    replay in its own clock at `pace`. `size` (width, height) and `rate_hz` are asked of a device and checked on
    everything; `pixel_format` is a device's FourCC, such as MJPG.

    `stamps`: `source` is the time of a file's frames, of an RTSP sender or of the kernel; `arrival` is when a frame
    came. `auto` takes the source's, but for HTTP, where OpenCV makes positions up from a frame counter; use `source`
    with HTTP only for containers with times of their own (MPEG-TS, FLV, HLS).

    A file's stamps count from its begin, which is the 0 of its own clock, or a `utc`: its `creation_time` (true), which
    may be that of its end, or one with a zone, such as 2026-05-01T12:00:00Z; and lies `offset_s` behind that. So a film
    is aligned with a log. Of more than 8 bits grey frames are uint16 `[h, w]` and coloured ones uint16 `[h, w, 3]`,
    scaled to 16 bits, unless `bits` is 8.

    Live it can be asked for a region of the picture, for fewer frames, if it is known how many there are, and a device
    for the exposure time and gain that it has (the kernel is asked, at the same node).

    Live: `buffer` frames wait to be read at most, the oldest then gives way and is counted; nothing for `lost_after_s`
    is a loss; opening, the first frame included, takes `open_timeout_s` at most (a second more where OpenCV hangs).
    """

    kind: Literal["camera"] = "camera"
    source: int | str
    size: tuple[Annotated[int, Field(gt=0)], Annotated[int, Field(gt=0)]] | None = None
    rate_hz: Annotated[float, Field(gt=0, lt=1e4)] | None = None
    pixel_format: Annotated[str, Field(pattern=r"^[A-Za-z0-9 ]{4}$")] | None = None
    color: Literal["bgr", "gray"] = "bgr"
    stamps: Literal["auto", "source", "arrival"] = "auto"
    buffer: Annotated[int, Field(gt=0, le=1024)] = 8
    lost_after_s: Annotated[float, Field(gt=0, le=3600)] = 3.0
    open_timeout_s: Annotated[float, Field(gt=0, le=3600)] = 10.0
    pace: Pace = 1.0
    utc: bool | AwareDatetime = False
    offset_s: Annotated[float, Field(allow_inf_nan=False, ge=-4e9, le=4e9)] = 0.0
    bits: Literal[8] | None = None
    frame: str = ""
    calibration: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _fits(self) -> "CameraConfig":
        if self.pixel_format is not None and self.place != "device":
            raise ValueError(f"pixel_format is for devices, and source {self.title} is a {self.place}; leave it out")
        if self.place != "file" and self.pace != 1.0:
            raise ValueError(f"pace is for files, and source {self.title} is live; leave it out")
        if self.place != "file" and (self.utc or self.offset_s or self.bits):
            raise ValueError(f"utc, offset_s and bits are for files, and source {self.title} is live; leave them out")
        if self.place == "file" and self.stamps == "arrival":
            raise ValueError(f"stamps: a file's frames ({self.title}) have no arrival; leave it out")
        return self

    @property
    def place(self) -> Place:
        """What `source` is."""
        if isinstance(self.source, int) or self.source.isdecimal() or self.source.startswith("/dev/"):
            return "device"
        return "stream" if _URL.match(self.source) else "file"

    @property
    def clock_kind(self) -> ClockKind:
        """A file is a recording."""
        return "recording" if self.place == "file" else "boottime"

    @property
    def holds_device(self) -> bool:
        """Of a file it holds none."""
        return self.place != "file"

    @property
    def node(self) -> str:
        """That of a device, by its number too."""
        return self.title if self.place == "device" else ""

    @property
    def title(self) -> str:
        """`source` as messages show it: a device's path, a URL without its password."""
        if self.place == "device":
            source = str(self.source)
            return f"/dev/video{int(source)}" if source.isdecimal() or isinstance(self.source, int) else source
        if self.place == "file":
            return str(self.source)
        parts = urlsplit(str(self.source))
        return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))

    def open(self, name: str, base: Path) -> Regional | Paced:
        return self._open(name, base, None)

    def open_again(self, name: str, base: Path, before: Sequence[StreamSpec]) -> Regional | Paced:
        """A device's stamps come from where they came before."""
        return self._open(name, base, before[0].stamps_from == "source")

    def _open(self, name: str, base: Path, by_kernel: bool | None) -> Regional | Paced:
        if self.place == "file":
            return file_camera(
                self._path(base),
                partial(self._spec, name),
                self.pace,
                gray=self.color == "gray",
                bits=self.bits,
                moment=Moment(self.utc, self.offset_s),
            )
        stamper: Stamper
        if self.place == "device":
            check_device(self.title)
            most_hz = None if self.rate_hz is None else 1.1 * self.rate_hz  # what is more is warned of
            stamper = ArrivalStamps() if self.stamps == "arrival" else DeviceStamps(by_kernel, most_hz)
            open_capture: Callable[[], Capture] = self._open_device
        else:
            check_reachable(str(self.source), self.title, self.open_timeout_s)
            sends_time = self.stamps == "source" or (self.stamps == "auto" and str(self.source)[:4].lower() == "rtsp")
            stamper = StreamStamps() if sends_time else ArrivalStamps()
            open_capture = partial(open_stream, str(self.source), self.title, self.open_timeout_s, self.lost_after_s)

        def describe(capture: Capture, image: Image) -> StreamSpec:
            rate_hz = _stated_rate(capture) if self.place == "device" or stamper.stamps_from == "source" else None
            spec = self._spec(name, image, rate_hz, stamper.stamps_from, stamper.has_sensor_ns)
            unknown = {"cannot_know": _unknown(stamper, capture)}
            reader = getattr(capture, "reader", "")
            return replace(spec, decoder=reader, calibration={**spec.calibration, reader or "opencv": unknown})

        def changes(spec: StreamSpec) -> Changes:
            return node_changes(Path(self.title), spec.rate_hz) if self.place == "device" else Thinning(spec.rate_hz)

        camera = LiveCamera(
            self.title,
            open_capture,
            stamper,
            describe,
            gray=self.color == "gray",
            buffer=self.buffer,
            lost_after_s=self.lost_after_s,
            open_timeout_s=self.open_timeout_s,
            changes=changes,
        )
        return Regional(camera, camera.specs[0])

    def expected(self, name: str) -> tuple[StreamSpec, ...]:
        """One, of pictures."""
        width, height = self.size or (640, 480)
        shape = (height, width) if self.color == "gray" else (height, width, 3)
        return (self._spec(name, np.broadcast_to(np.uint8(0), shape), None, "", False),)

    def identity(self, base: Path) -> Identity | None:
        """Of a video file."""
        said = identity_of(base / str(self.source)) if self.place == "file" else None
        return Identity({"source": said}) if said else None

    def _path(self, base: Path) -> Path:
        path = base / str(self.source)
        if not path.is_file():
            what = "is not a file" if path.exists() else "does not exist"
            raise ConfigError(f"camera file {path} {what}: expected a video, relative to the device file's folder")
        if not os.access(path, os.R_OK):
            raise ConfigError(f"camera file {path}: permission denied; make it readable")
        return path

    def _spec(
        self, name: str, image: Image, rate_hz: float | None, stamps_from: str, has_sensor_ns: bool = False
    ) -> StreamSpec:
        height, width = image.shape[:2]
        if self.size is not None and (width, height) != tuple(self.size):
            raise ConfigError(
                f"camera {self.title}: frames are {width}x{height}, size asks for {self.size[0]}x{self.size[1]};"
                " choose a size that it has (`sensorium devices` lists a device's), or the filter `resize`"
            )
        if self.rate_hz and rate_hz and abs(rate_hz / self.rate_hz - 1) > 0.1:
            log.warning(
                "camera %s: delivers %g frames a second, rate_hz asks for %g", self.title, rate_hz, self.rate_hz
            )
        return StreamSpec(
            name=name,
            modality="video",
            dtype=image.dtype.name,
            shape=image.shape,
            channels=() if image.ndim == 2 else ("b", "g", "r"),
            color_order="" if image.ndim == 2 else "BGR",
            rate_hz=rate_hz or self.rate_hz,
            frame=self.frame,
            calibration=self.calibration,
            stamps_from=stamps_from,
            has_sensor_ns=has_sensor_ns,
            bits=8,
        )

    def _open_device(self) -> Capture:
        capture = cv2.VideoCapture(self.title, cv2.CAP_V4L2)
        if not capture.isOpened():
            raise SensorLost(f"camera {self.title} does not open: not a camera, or in use by another program")
        wanted: list[tuple[int, float]] = []
        if self.pixel_format is not None:  # first: the sizes on offer depend on it
            wanted.append((cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*self.pixel_format)))
        if self.size is not None:
            wanted += [(cv2.CAP_PROP_FRAME_WIDTH, self.size[0]), (cv2.CAP_PROP_FRAME_HEIGHT, self.size[1])]
        if self.rate_hz is not None:
            wanted.append((cv2.CAP_PROP_FPS, self.rate_hz))
        for prop, value in wanted:
            capture.set(prop, value)
        if self.pixel_format is not None and int(capture.get(cv2.CAP_PROP_FOURCC)) != int(wanted[0][1]):
            capture.release()
            raise ConfigError(
                f"camera {self.title} has no pixel_format {self.pixel_format} at this size;"
                " `sensorium devices` lists what it has"
            )
        return capture


def check_device(path: str) -> None:
    """Raise unless a device is there and may be used.

    Raises:
        SensorLost: it is not there.
        ConfigError: it may not be used by this user.
    """
    if not Path(path).exists():
        have: Sequence[str] = sorted(str(found) for found in Path("/dev").glob("video*"))
        raise SensorLost(f"camera {path} is not there (found: {', '.join(have) or 'none'}); plug it in")
    if not os.access(path, os.R_OK | os.W_OK):
        raise ConfigError(f"camera {path}: permission denied; add yourself to the group video and log in again")


def _unknown(stamper: Stamper, capture: Capture) -> list[str]:
    """What OpenCV does not pass on of a live camera, so that no count can have it."""
    unknown = ["the number of a frame: losses are told from stamps"]
    if stamper.stamps_from == "arrival":
        unknown = ["the number and the time of a frame: what was lost on its way shows nowhere"]
    if not isinstance(capture, JpegCapture):
        unknown.append("whether a frame is whole: the decoder paints over what is missing")
    return unknown


def _stated_rate(capture: Capture) -> float | None:
    rate_hz = float(capture.get(cv2.CAP_PROP_FPS))
    return rate_hz if 0 < rate_hz < 1000 else None
