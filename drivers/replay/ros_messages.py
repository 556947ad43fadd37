"""Messages as arrays: fields by path, ROS images as they are, and what the common message types mean in SI units."""

import base64
import re
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from sensorium.drivers.stream import Samples

_ENCODING = re.compile(r"(?P<order>mono|bgra?|rgba?|bayer_(?:rggb|bggr|gbrg|grbg))(?P<bits>8|16)")
_MATRIX = re.compile(r"(?P<bits>8|16|32|64)(?P<kind>[USF])C(?P<channels>[1-4])")
_MATRICES = {"8U": "u1", "8S": "i1", "16U": "u2", "16S": "i2", "32S": "i4", "32F": "f4", "64F": "f8"}


def _document(modality: str, prefix: str, units: dict[str, str], **fields: str) -> dict[str, Any]:
    channels = {name: {"field": prefix + path, "unit": units.get(name[0], "")} for name, path in fields.items()}
    return {"modality": modality, "channels": channels}


_AXES = {"x": "x", "y": "y", "z": "z"}
_POSE = {
    **{f"p{axis}": f"position.{axis}" for axis in "xyz"},
    **{f"q{axis}": f"orientation.{axis}" for axis in "wxyz"},
}
KNOWN: dict[str, dict[str, Any]] = {
    "sensor_msgs/msg/Imu": _document(
        "imu",
        "",
        {"g": "rad/s", "a": "m/s^2"},
        **{f"g{axis}": f"angular_velocity.{axis}" for axis in "xyz"},
        **{f"a{axis}": f"linear_acceleration.{axis}" for axis in "xyz"},
    ),
    "sensor_msgs/msg/MagneticField": _document("magnetometer", "magnetic_field.", dict.fromkeys("xyz", "T"), **_AXES),
    "sensor_msgs/msg/FluidPressure": _document("barometer", "", {"p": "Pa"}, p="fluid_pressure"),
    "geometry_msgs/msg/PoseStamped": _document("pose", "pose.", {"p": "m"}, **_POSE),
    "geometry_msgs/msg/Vector3Stamped": _document("vector", "vector.", {}, **_AXES),
    "nav_msgs/msg/Odometry": _document("pose", "pose.pose.", {"p": "m"}, **_POSE),
}
"""Streams of common message types, as documents of a mapped stream."""

IMAGES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage", "foxglove.RawImage", "foxglove.CompressedImage")


def field_reader(path: str) -> Callable[[Any], float]:
    """What reads the number at `path` ("linear_acceleration.x", "ranges[3]") out of a ROS message or a JSON document.

    The reader raises `ValueError` where the message has no number there.
    """
    steps = [int(part) if part.isdigit() else part for part in re.findall(r"[^.\[\]]+", path)]

    def read(message: Any) -> float:
        at = message
        try:
            for step in steps:
                at = at[step] if isinstance(step, int) or isinstance(at, dict) else getattr(at, step)
            if isinstance(at, str | bytes):
                raise TypeError(f"it is {at!r}")
            return float(at)
        except (AttributeError, LookupError, TypeError) as error:
            raise ValueError(f"no number at {path!r}: {error}") from error

    return read


def stamp_ns(message: Any) -> int | None:
    """`header.stamp` (or Foxglove's `timestamp`) in nanoseconds, where the message has one that is set."""
    stamp = getattr(getattr(message, "header", message), "stamp", None) or getattr(message, "timestamp", None)
    seconds, rest = getattr(stamp, "sec", None), getattr(stamp, "nanosec", getattr(stamp, "nsec", 0))
    if not isinstance(seconds, int) or not isinstance(rest, int):
        return None
    return seconds * 1_000_000_000 + rest or None


def _layout(encoding: str) -> tuple[str, int, str]:
    """Sample type, channels and colour order of an `encoding` of sensor_msgs/Image; `ValueError` if it is not known.

    >>> _layout("bayer_rggb16"), _layout("32FC3")
    (('u2', 1, 'RGGB'), ('f4', 3, 'BGR'))
    """
    if match := _ENCODING.fullmatch(encoding):
        name, kind = match["order"], f"u{int(match['bits']) // 8}"
        if name.startswith("bayer_"):
            return kind, 1, name.removeprefix("bayer_").upper()
        return (kind, 1, "") if name == "mono" else (kind, len(name), name.upper())
    match = _MATRIX.fullmatch(encoding)
    if match is None or match["bits"] + match["kind"] not in _MATRICES:
        raise ValueError(f"encoding {encoding!r} is not known; expected mono8, bgr8, rgb8, bayer_rggb8, 16UC1, ...")
    channels = int(match["channels"])
    return _MATRICES[match["bits"] + match["kind"]], channels, {3: "BGR", 4: "BGRA"}.get(channels, "")


def image(message: Any) -> tuple[Samples, str]:
    """The picture of an Image or CompressedImage, [h, w] or [h, w, c], and its colour order; `ValueError` if it cannot
    be read. Raw pictures are as they were sent; compressed ones are BGR(A), or gray."""
    try:
        # JSON carries bytes as base64
        data = base64.b64decode(message.data) if isinstance(message.data, str) else bytes(message.data)
        if not hasattr(message, "encoding"):
            return _decompressed(np.frombuffer(data, np.uint8))
        return _raw(message, np.frombuffer(data, np.uint8))
    except (AttributeError, TypeError, KeyError) as error:
        raise ValueError(f"not an image message: {error}") from error


def _decompressed(encoded: Samples) -> tuple[Samples, str]:
    decoded: Samples | None = cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED) if encoded.size else None
    if decoded is None:
        raise ValueError(f"not a whole picture ({encoded.size} bytes)")
    return decoded, "BGRA"[: decoded.shape[2]] if decoded.ndim == 3 else ""


def _raw(message: Any, data: Samples) -> tuple[Samples, str]:
    kind, channels, order = _layout(str(message.encoding))
    dtype = np.dtype((">" if getattr(message, "is_bigendian", 0) else "<") + kind)
    row_bytes = message.width * channels * dtype.itemsize
    if message.step < row_bytes or data.size < message.height * message.step:
        raise ValueError(f"{data.size} bytes, step {message.step}: too few for {message.width} x {message.height}")
    rows = data[: message.height * message.step].reshape(message.height, message.step)[:, :row_bytes]
    pixels = np.ascontiguousarray(rows).view(dtype).astype(dtype.newbyteorder("="), copy=False)
    return (pixels.reshape(message.height, message.width, channels) if channels > 1 else pixels), order
