"""Messages as numbers: fields by path, stamps, and what the common message types mean in SI units."""

import re
from collections.abc import Callable
from typing import Any

_EXACT = 2**53


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


def field_reader(path: str, inexact: Callable[[str], object] = lambda _: None) -> Callable[[Any], float]:
    """What reads the number at `path` ("linear_acceleration.x", "ranges[3]") out of a ROS message or a JSON document.

    The reader raises `ValueError` where the message has no number there. `inexact` hears the path of a whole number
    that float64 does not hold.
    """
    steps = [int(part) if part.isdigit() else part for part in re.findall(r"[^.\[\]]+", path)]

    def read(message: Any) -> float:
        at = message
        try:
            for step in steps:
                at = at[step] if isinstance(step, int) or isinstance(at, dict) else getattr(at, step)
            if isinstance(at, str | bytes):
                raise TypeError(f"it is {at!r}")
            number = float(at)
        except (AttributeError, LookupError, TypeError, OverflowError) as error:
            raise ValueError(f"no number at {path!r}: {error}") from error
        if isinstance(at, int) and not -_EXACT <= at <= _EXACT and number != at:
            inexact(path)
        return number

    return read


def stamp_ns(message: Any) -> int | None:
    """`header.stamp` (or Foxglove's `timestamp`) in nanoseconds, where the message has one that is set.

    Raises:
        ValueError: it is beyond int64.
    """
    stamp = getattr(getattr(message, "header", message), "stamp", None) or getattr(message, "timestamp", None)
    seconds = _first_of(stamp, "sec", "secs")
    rest = _first_of(stamp, "nanosec", "nsec", "nsecs")
    if not isinstance(seconds, int) or not isinstance(rest := 0 if rest is None else rest, int):
        return None
    ns = seconds * 1_000_000_000 + rest
    if not -(2**63) <= ns < 2**63:
        raise ValueError("its stamp is beyond 64 bits of nanoseconds")
    return ns or None


def _first_of(stamp: Any, *names: str) -> Any:
    return next((value for name in names if (value := getattr(stamp, name, None)) is not None), None)
