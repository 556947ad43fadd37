"""Messages as arrays: fields by path, ROS images as they are, and what the common message types mean in SI units."""

import re
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from sensorium.drivers.stream import Samples

_LAYOUTS: dict[str, tuple[str, int, str]] = {
    "mono8": ("u1", 1, ""),
    "8UC1": ("u1", 1, ""),
    "bgr8": ("u1", 3, "BGR"),
    "8UC3": ("u1", 3, "BGR"),
    "rgb8": ("u1", 3, "RGB"),
    "bgra8": ("u1", 4, "BGRA"),
    "rgba8": ("u1", 4, "RGBA"),
    "mono16": ("u2", 1, ""),
    "16UC1": ("u2", 1, ""),
    "32FC1": ("f4", 1, ""),
    "bayer_rggb8": ("u1", 1, "RGGB"),
    "bayer_bggr8": ("u1", 1, "BGGR"),
    "bayer_gbrg8": ("u1", 1, "GBRG"),
    "bayer_grbg8": ("u1", 1, "GRBG"),
}
"""Encodings of sensor_msgs/Image: sample type, channels, colour order."""


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

IMAGES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")


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
    """`header.stamp` in nanoseconds, where the message has one that is set."""
    stamp = getattr(getattr(message, "header", None), "stamp", None)
    if stamp is None:
        return None
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec) or None


def image(message: Any) -> tuple[Samples, str]:
    """The picture of an Image or CompressedImage, [h, w] or [h, w, c], and its colour order; `ValueError` if it cannot
    be read. Raw pictures are as they were sent; compressed ones are BGR, or gray."""
    if not hasattr(message, "encoding"):
        encoded = np.frombuffer(bytes(message.data), np.uint8)
        flags = cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
        decoded: Samples | None = cv2.imdecode(encoded, flags) if encoded.size else None
        if decoded is None:
            raise ValueError(f"not a whole picture ({message.format}, {encoded.size} bytes)")
        return decoded, "BGR" if decoded.ndim == 3 else ""
    if message.encoding not in _LAYOUTS:
        raise ValueError(f"encoding {message.encoding!r} is not one of {', '.join(_LAYOUTS)}")
    kind, channels, order = _LAYOUTS[message.encoding]
    dtype = np.dtype((">" if message.is_bigendian else "<") + kind)
    row_bytes = message.width * channels * dtype.itemsize
    data = np.frombuffer(bytes(message.data), np.uint8)
    if message.step < row_bytes or data.size < message.height * message.step:
        raise ValueError(f"{data.size} bytes, step {message.step}: too few for {message.width} x {message.height}")
    rows = data[: message.height * message.step].reshape(message.height, message.step)[:, :row_bytes]
    pixels = np.ascontiguousarray(rows).view(dtype).astype(dtype.newbyteorder("="), copy=False)
    return (pixels.reshape(message.height, message.width, channels) if channels > 1 else pixels), order
