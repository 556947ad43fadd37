"""A video file as a camera: a replay in the recording's own clock."""

import logging
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from sensorium.drivers.batching import Losses, estimate_rate_hz
from sensorium.drivers.clock import Clock
from sensorium.drivers.live.camera_live import Capture, Image, to_gray
from sensorium.drivers.live.camera_stamps import position_ns
from sensorium.drivers.pacing import Paced, Pacer, Source
from sensorium.drivers.stream import Block, StreamSpec
from sensorium.errors import ConfigError

log = logging.getLogger(__name__)

_TIMED = 30
_AGREES = 0.1

Describe = Callable[[Image, float | None, str], StreamSpec]


def file_camera(path: Path, describe: Describe, pace: float | Literal["fast"], *, gray: bool = False) -> Paced:
    """Open `path`; `describe` makes the spec from its first frame, its rate and where the stamps come from.

    Raises:
        ConfigError: not a video, without a frame, or with frames that have no time of their own.
    """
    first, rate_hz = _probe(path)
    spec = describe(to_gray(first) if gray else first, rate_hz, "source")
    return Paced([spec], Clock(kind="recording"), _frames(path, spec), Pacer(pace))


def _open(path: Path) -> Capture:
    capture: Capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    return capture


def _probe(path: Path) -> tuple[Image, float | None]:
    """The first frame and the rate, after a look at whether the frames have times. The rate is the stated one where
    the first frames agree with it: of a video whose rate varies, a container states one of its own making."""
    capture = _open(path)
    try:
        decoded, first = capture.retrieve() if capture.grab() else (False, None)
        if not decoded or first is None:
            raise ConfigError(f"camera file {path}: no frame can be read; expected a video that FFmpeg knows")
        times = [position_ns(capture.get(cv2.CAP_PROP_POS_MSEC))]
        times += [position_ns(capture.get(cv2.CAP_PROP_POS_MSEC)) for _ in islice(iter(capture.grab, False), _TIMED)]
        # FFmpeg makes up times for bare JPEGs, 25 a second
        if len(times) > 1 and (times[1] <= times[0] or _head(path).startswith(b"\xff\xd8")):
            raise ConfigError(f"camera file {path}: its frames have no time of their own; put them into MP4 or MKV")
        stated_hz = float(capture.get(cv2.CAP_PROP_FPS))
        seen_hz = estimate_rate_hz(np.array(times, np.int64)) or stated_hz
        rate_hz = stated_hz if abs(stated_hz / seen_hz - 1) < _AGREES else seen_hz
        return np.asarray(first, np.uint8), rate_hz if 0 < rate_hz < 1e6 else None
    finally:
        capture.release()


def _frames(path: Path, spec: StreamSpec) -> Source:
    """Every frame with its own stamp. A frame whose time does not pass, or that cannot be decoded, is counted lost;
    so is, at the end, what the file's header promises and the file does not hold, or holds in another shape. (An AVI
    states a rate and an order, no times: damage inside one shifts the stamps of what follows it.)"""
    capture, changed = _open(path), ""
    losses = Losses(spec.name, np.empty((0, *spec.shape), spec.dtype))
    try:
        last_ns, seen, begin = -1, 0, 0.0
        while capture.grab():
            seen += 1
            # where the first frame stands in the file's own count, which `promised_frames` has to take off
            begin = begin if seen > 1 else max(0.0, capture.get(cv2.CAP_PROP_PTS))
            captured_ns = position_ns(capture.get(cv2.CAP_PROP_POS_MSEC))
            decoded, image = capture.retrieve()
            # a stamp behind the last one would say that the clock was set back, which no file's is
            if not decoded or image is None or captured_ns <= last_ns:
                losses.lose(1, captured_ns)
                continue
            image = to_gray(image) if len(spec.shape) == 2 else image
            if image.shape != spec.shape:
                losses.lose(1, captured_ns)
                changed = f"frames become {image.shape} after {spec.shape}; cut the file there"
                break
            lost, alone = losses.before(captured_ns)
            yield from alone
            yield captured_ns, Block(spec.name, np.array([captured_ns], np.int64), image[None], lost)
            losses.passed(captured_ns)
            last_ns = captured_ns
        promised = promised_frames(capture, path, seen, last_ns, begin, spec.rate_hz)
        # where the header states a duration alone the promise is an estimate: so little short of it is not a loss
        if seen < promised * 0.99 - 1:
            if not changed:
                log.warning("camera file %s: %d frames of %d; is it cut short or damaged?", path, seen, promised)
            losses.lose(promised - seen, None)
        yield from losses.rest()
        if changed:
            raise ConfigError(f"camera file {path}: {changed}")
    finally:
        capture.release()


def promised_frames(capture: Capture, path: Path, seen: int, last_ns: int, begin: float, rate_hz: float | None) -> int:
    """How many frames the file's header speaks of, estimated where it states a duration alone (MKV, TS, FLV, ...).

    OpenCV multiplies that by a rate that is not that of the frames where the rate varies, so it is taken back.
    It counts from zero, and stamps from the first frame, which stands at `begin` in units of that rate.
    """
    stated = max(0.0, capture.get(cv2.CAP_PROP_FRAME_COUNT))
    head = _head(path)
    if head.startswith(b"RIFF") or head[4:8] == b"ftyp":
        return int(stated)
    stated_hz = capture.get(cv2.CAP_PROP_FPS)
    if rate_hz is None or stated_hz <= 0:
        return seen
    return seen + max(0, round(((stated - begin) / stated_hz - last_ns / 1e9) * rate_hz) - 1)


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(8)
