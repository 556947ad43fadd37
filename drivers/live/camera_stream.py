"""Opening a network camera: JPEGs as they come, through OpenCV what it can be trusted with, all else through PyAV."""

import socket
from urllib.parse import urlsplit

import cv2

from sensorium.drivers.live.camera_jpeg import by_jpeg
from sensorium.drivers.live.camera_live import Capture
from sensorium.drivers.live.film_opencv import INSTALL, said_of_codec
from sensorium.drivers.live.film_trust import distrust
from sensorium.errors import ConfigError, SensorLost

_PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}
_HOLDS_ONE_SIZE = b"....ftyp"
"""What RTSP is taken for: one size while it lasts. A transport stream over HTTP is a film that may change it."""


def open_stream(url: str, title: str, open_timeout_s: float, read_timeout_s: float) -> Capture:
    """An RTSP or HTTP camera, of which no frame was grabbed. What is no MJPEG is read through PyAV where it is
    installed: OpenCV returns memory that nobody wrote where pictures are interlaced, and scales those that resize.

    Raises:
        SensorLost: no video comes within `open_timeout_s`.
        ConfigError: a recording, or without PyAV a stream that OpenCV cannot be trusted with.
    """
    bounds = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, int(open_timeout_s * 1e3)]
    bounds += [cv2.CAP_PROP_READ_TIMEOUT_MSEC, int(read_timeout_s * 1e3)]
    capture = cv2.VideoCapture(url, cv2.CAP_FFMPEG, bounds)
    if not capture.isOpened():
        raise SensorLost(
            f"camera {title} answers but no video opened within {open_timeout_s:g} s:"
            " wrong path, wrong password, or nothing is sent"
        )
    is_http = url[:4].lower() == "http"
    if is_http and capture.get(cv2.CAP_PROP_FRAME_COUNT) > 0:
        capture.release()
        raise ConfigError(f"camera {title} is a recording, not a live stream; download it and give its path")
    if int(capture.get(cv2.CAP_PROP_FOURCC)) == cv2.VideoWriter.fourcc(*"MJPG"):
        return by_jpeg(capture, title)
    try:
        from sensorium.drivers.live.stream_pyav import PyavCapture
    except ImportError:
        if why := distrust(b"" if is_http else _HOLDS_ONE_SIZE, *said_of_codec(capture)):
            capture.release()
            raise ConfigError(f"camera {title}: {why}: OpenCV does not read it rightly; {INSTALL}") from None
        return capture
    capture.release()
    return PyavCapture(url, title, open_timeout_s=open_timeout_s, read_timeout_s=read_timeout_s)


def check_reachable(url: str, title: str, timeout_s: float) -> None:
    """Raise unless the host of `url` accepts a connection: OpenCV would not say why it failed.

    Raises:
        ConfigError: the URL cannot be one.
        SensorLost: unknown host, refused, or no answer.
    """
    parts = urlsplit(url)
    try:
        host, port = parts.hostname, parts.port or _PORTS[parts.scheme.lower()]
    except ValueError as error:
        raise ConfigError(f"camera {title}: {error}; expected SCHEME://HOST[:PORT]/PATH") from error
    if not host:
        raise ConfigError(f"camera {title}: no host; expected SCHEME://HOST[:PORT]/PATH")
    try:
        socket.create_connection((host, port), timeout_s).close()
    except OSError as error:
        raise SensorLost(f"camera {title}: {host}:{port}: {error.strerror or error}; is the camera on?") from error
