"""A video file as a camera: a replay in the recording's own clock."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from sensorium.drivers.camera_live import Capture, Image, to_gray
from sensorium.drivers.camera_stamps import position_ns
from sensorium.drivers.clock import Clock
from sensorium.drivers.driver import Driver
from sensorium.drivers.pacing import Paced, Pacer, Source
from sensorium.drivers.stream import Block, StreamSpec
from sensorium.errors import ConfigError

log = logging.getLogger(__name__)

Describe = Callable[[Image, float | None, str], StreamSpec]


def file_camera(path: Path, describe: Describe, pace: float | Literal["fast"], *, gray: bool = False) -> Driver:
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
    """The first frame and the stated rate, after a look at whether the frames have times."""
    capture = _open(path)
    try:
        decoded, first = capture.retrieve() if capture.grab() else (False, None)
        if not decoded or first is None:
            raise ConfigError(f"camera file {path}: no frame can be read; expected a video that FFmpeg knows")
        start_ms = capture.get(cv2.CAP_PROP_POS_MSEC)
        if capture.grab() and capture.get(cv2.CAP_PROP_POS_MSEC) <= start_ms:
            raise ConfigError(f"camera file {path}: its frames have no time of their own; put them into MP4 or MKV")
        rate_hz = float(capture.get(cv2.CAP_PROP_FPS))
        return np.asarray(first, np.uint8), rate_hz if 0 < rate_hz < 1e6 else None
    finally:
        capture.release()


def _frames(path: Path, spec: StreamSpec) -> Source:
    """Every frame with its own stamp. A frame whose time does not pass, or that cannot be decoded, is counted lost;
    so is, at the end, what the file's header promises and the file does not hold. (An AVI states a rate and an order,
    no times: damage inside one shifts the stamps of what follows it.)"""
    capture = _open(path)
    try:
        promised = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        last_ns, seen, lost = -1, 0, 0
        while capture.grab():
            seen += 1
            captured_ns = position_ns(capture.get(cv2.CAP_PROP_POS_MSEC))
            decoded, image = capture.retrieve()
            if not decoded or image is None or captured_ns <= last_ns:
                lost += 1
                continue
            image = to_gray(image) if spec.color_order == "gray" else image
            if image.shape != spec.shape:
                raise ConfigError(
                    f"camera file {path}: frames become {image.shape} after {spec.shape}; cut the file there"
                )
            yield captured_ns, Block(spec.name, np.array([captured_ns], np.int64), image[None], lost)
            last_ns, lost = captured_ns, 0
        # Some containers only estimate their number of frames, so a small difference says nothing.
        if seen < promised * 0.99 - 1:
            log.warning("camera file %s: %d frames of %d; is it cut short or damaged?", path, seen, promised)
            lost += int(promised) - seen
        if lost:
            none = np.empty((0, *spec.shape), np.uint8)
            yield max(last_ns, 0), Block(spec.name, np.empty(0, np.int64), none, lost)
    finally:
        capture.release()
