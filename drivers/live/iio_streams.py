"""What the channels of an IIO device are, in SI units: the kernel's ABI says what a count is worth."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sensorium.drivers.live.iio_device import IioFiles
from sensorium.drivers.live.iio_scan import Counts, Element, ScanLayout
from sensorium.drivers.stream import Samples, StreamSpec
from sensorium.errors import ConfigError

QUANTITIES = {
    "accel": ("accel", "imu", "m/s^2", 1.0),
    "anglvel": ("gyro", "imu", "rad/s", 1.0),
    "gravity": ("gravity", "imu", "m/s^2", 1.0),
    "magn": ("mag", "magnetometer", "T", 1e-4),
    "incli": ("incli", "orientation", "rad", np.pi / 180),
    "rot": ("rot", "orientation", "rad", np.pi / 180),
    "temp": ("temp", "temperature", "degC", 1e-3),
    "pressure": ("pressure", "pressure", "Pa", 1e3),
    "humidityrelative": ("humidity", "humidity", "%", 1e-3),
    "illuminance": ("illuminance", "light", "lx", 1.0),
    "distance": ("distance", "range", "m", 1.0),
    "proximity": ("proximity", "range", "", 1.0),
    "voltage": ("voltage", "voltage", "V", 1e-3),
    "current": ("current", "current", "A", 1e-3),
}
"""By what the kernel calls it: the stream, its modality and unit, and how many of the unit one of the kernel's is
(Documentation/ABI/testing/sysfs-bus-iio: gauss, degrees, milli degrees C, kilopascal, milli percent, millivolt)."""

_AXES = {"accel": "a", "anglvel": "g"}
_NAME = re.compile(r"([a-z]+)(\d*)_?(.*)")
_QUATERNION = "rot_quaternion"


@dataclass(frozen=True, slots=True)
class _Counted:
    """One value of a scan: the `number`-th repetition of an element, and what makes SI of its count."""

    element: Element
    number: int
    label: str
    scale: float
    offset: float
    unit: str
    modality: str
    stream: str


@dataclass(frozen=True, slots=True)
class ScanStream:
    """One stream, and which columns of a scan make its sample."""

    spec: StreamSpec
    columns: tuple[_Counted, ...]
    is_raw: bool = False

    def data(self, values: Mapping[str, Counts], picked: npt.NDArray[np.intp]) -> Samples:
        """`[n, *shape]` of the picked scans."""
        counts = [values[column.element.name][picked, column.number] for column in self.columns]
        if self.is_raw:
            return np.stack(counts, axis=1).astype(self.spec.dtype)
        return np.stack([(n + column.offset) * column.scale for n, column in zip(counts, self.columns, strict=True)], 1)


def scan_streams(
    name: str,
    files: IioFiles,
    layout: ScanLayout,
    common: Mapping[str, Any],
    calibration: Mapping[str, Any],
    said: Mapping[str, Any],
    *,
    raw: bool,
) -> list[ScanStream]:
    """The streams that a device's scans make; `common` is what all their specs share, `said` what the device says of
    itself, recorded beside the `calibration` that the user states, with each channel's scale and offset.

    Raises:
        ConfigError: counts of one scan have no type that holds them all.
    """
    columns = [
        column for element in layout.elements if element.name != "timestamp" for column in _columns(files, element)
    ]
    grouped: dict[str, list[_Counted]] = {}
    for column in columns:
        grouped.setdefault(column.stream, []).append(column)
    if {"gyro", "accel"} <= grouped.keys():
        both = [*_by_axis(grouped.pop("gyro")), *_by_axis(grouped.pop("accel"))]
        grouped = {"imu": both, **grouped}

    def spec(stream: str, group: Sequence[_Counted], **more: Any) -> StreamSpec:
        scales = {column.label: {"scale": column.scale, "offset": column.offset} for column in group}
        return StreamSpec(
            name=f"{name}.{stream}" if raw or len(grouped) > 1 else name,
            shape=(len(group),),
            channels=tuple(column.label for column in group),
            calibration={**calibration, "iio": {**said, "channels": scales}},
            bits=max(column.element.type.bits for column in group),
            **{**common, **more},
        )

    streams = []
    for stream, unordered in grouped.items():
        group = _by_axis(unordered)
        units = [column.unit for column in group]
        unit = units[0] if len(set(units)) == 1 else ", ".join(units)
        full = tuple(_full_scale(column) for column in group)
        scale = {"full_scale": full} if all(full) else {}
        made = spec(stream, group, modality=group[0].modality, dtype="float64", unit=unit, **scale)
        streams.append(ScanStream(made, tuple(group)))
    if raw and columns:
        made = spec("raw", columns, modality=columns[0].modality, dtype=_raw_dtype(columns), unit="count")
        streams.append(ScanStream(made, tuple(columns), is_raw=True))
    return streams


def _columns(files: IioFiles, element: Element) -> Iterator[_Counted]:
    found = _NAME.fullmatch(element.name)
    kind, number, rest = found.groups() if found else (element.name, "", "")
    stream, modality, unit, factor = QUANTITIES.get(kind, (kind, kind, "", 1.0))
    if element.name == _QUATERNION:
        stream, unit, factor = "quaternion", "", 1.0
    scale = files.number(*_names(element.name, kind, rest, "scale"))
    offset = files.number(*_names(element.name, kind, rest, "offset")) or 0.0
    if scale is None:  # what a count is worth is not said
        unit, factor, scale = "count", 1.0, 1.0
    if element.name == _QUATERNION and element.type.repeat == 4:
        labels = ["x", "y", "z", "w"]  # as the ABI orders them
    else:
        label = (
            _AXES[kind] + rest if kind in _AXES and rest in ("x", "y", "z") and not number else number + rest or kind
        )
        labels = [label] if element.type.repeat == 1 else [f"{label}_{n}" for n in range(element.type.repeat)]
    for n, label in enumerate(labels):
        yield _Counted(element, n, label, scale * factor, offset, unit, modality, stream)


def _names(channel: str, kind: str, rest: str, what: str) -> list[str]:
    """Where the kernel may say `what` of a channel: of it alone, of its modifier, of its kind, of all."""
    return [f"in_{channel}_{what}", f"in_{kind}_{rest}_{what}", f"in_{kind}_{what}", f"in_{what}", what]


def _by_axis(group: Sequence[_Counted]) -> list[_Counted]:
    """x, y, z whatever their order in a scan; a quaternion begins with w."""
    if {column.label for column in group} == {"w", "x", "y", "z"}:
        return sorted(group, key=lambda column: "wxyz".index(column.label))
    if all(column.label[-1:] in ("x", "y", "z") for column in group) and group[0].modality == "imu":
        return sorted(group, key=lambda column: (column.stream != "gyro", column.label))
    return list(group)


def _full_scale(column: _Counted) -> float:
    """The largest that an ordinary converter's count says; 0 where all is a number computed, or no count."""
    kind = column.element.type
    if kind.kind == "f" or kind.bits > 24 or column.unit == "count":
        return 0.0
    return float(abs(column.scale) * (1 << (kind.bits - (kind.kind == "s"))))


def _raw_dtype(columns: Sequence[_Counted]) -> str:
    """The smallest that holds every count.

    Raises:
        ConfigError: there is none.
    """
    types = {column.element.type for column in columns}
    if any(kind.kind == "f" for kind in types):
        return "float64"
    bits = max(kind.bits + (kind.kind == "u") for kind in types)
    if bits > 64:
        if all(kind.kind == "u" for kind in types):
            return "uint64"
        raise ConfigError("counts of 64 bits with and without a sign have no type in common; set `raw: false`")
    return next(f"int{size}" for size in (8, 16, 32, 64) if bits <= size)
