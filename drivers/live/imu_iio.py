"""Sensors that the Linux kernel drives (IIO): in SI units and as counts, with the kernel's stamps."""

import logging
import re
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from sensorium.drivers.clock import Clock, ClockKind, boottime_ns, live_clock
from sensorium.drivers.driver import DriverConfig
from sensorium.drivers.live.iio_device import SYSFS, IioBuffer, IioFiles, elements, find_iio
from sensorium.drivers.live.iio_scan import Counts, ScanLayout
from sensorium.drivers.live.iio_stamps import KernelStamps, ScanRows
from sensorium.drivers.live.iio_streams import ScanStream, scan_streams
from sensorium.drivers.stream import Block, StreamSpec, loss_alone
from sensorium.errors import ConfigError, SensorLost

log = logging.getLogger(__name__)

CLOCKS = ("boottime", "monotonic", "realtime")
"""Those that stamps are read in, the best first; a kernel that lets none be chosen has the last."""

_LATENCY_S = 0.02
_Attribute = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]+$")]


class ImuIioConfig(DriverConfig):
    """A sensor that has an IIO device with a buffer: accelerometers, gyroscopes, magnetometers and others, by any bus.

    `device` is its name (accel_3d, lsm6dso_gyro), its label, or its node (/dev/iio:device0); of several that are named
    alike `at` picks one, by a part of the path of what it is attached to. Streams: `imu` float64 [gx gy gz ax ay az] in
    rad/s and m/s^2 where it has both, else `accel` or `gyro`; `mag` T, `quaternion` w x y z, one of each other kind of
    channel; and `raw`, every count as the kernel gave it. `rate_hz` and `attributes` (files of the device in sysfs) are
    set, read back and recorded; what is not stated stays as it is. `trigger` starts each measurement where the sensor
    does not by itself. `buffer_s` is how long the kernel keeps what is not read in time. `stamps: arrival` is for a
    device whose own cannot be right.
    """

    kind: Literal["imu-iio"] = "imu-iio"
    device: Annotated[str, Field(min_length=1)]
    at: str = ""
    channels: Annotated[list[_Attribute], Field(min_length=1)] | None = None
    rate_hz: Annotated[float, Field(gt=0, le=1e6)] | None = None
    attributes: dict[_Attribute, str | int | float] = Field(default_factory=dict)
    trigger: str | None = None
    buffer_s: Annotated[float, Field(gt=0, le=60)] = 2.0
    stamps: Literal["kernel", "arrival"] = "kernel"
    raw: bool = True
    lost_after_s: Annotated[float, Field(gt=0, le=3600)] = 3.0
    frame: str = ""
    calibration: dict[str, Any] = Field(default_factory=dict)
    sysfs: Path = SYSFS
    dev: Path = Path("/dev")

    @property
    def clock_kind(self) -> ClockKind:
        """By a name too."""
        return "boottime"

    def plugged_in(self, base: Path) -> bool:
        """Whether the kernel shows its device."""
        try:
            return bool(find_iio(self.device, self.at, base / self.sysfs, base / self.dev))
        except (ConfigError, SensorLost):
            return False

    def open(self, name: str, base: Path) -> "ImuIio":
        """Set the device up and enable its buffer; nothing is waited for."""
        place = find_iio(self.device, self.at, base / self.sysfs, base / self.dev)
        files = IioFiles(place)
        buffer = IioBuffer(place, files)
        try:
            return ImuIio(name, self, files, buffer, self._chosen(place.channels, files.title))
        except BaseException:
            buffer.close()
            raise

    def _chosen(self, channels: list[str], title: str) -> list[str]:
        """Of a device's channels those that are asked for: by name, or all of a kind."""
        if self.channels is None:
            return channels
        chosen = [name for name in channels if any(name == each or _kind(name) == each for each in self.channels)]
        unknown = [each for each in self.channels if not any(each in (name, _kind(name)) for name in channels)]
        if unknown:
            raise ConfigError(f"{title}: it has no channel {unknown[0]!r}; it has {', '.join(channels)}")
        return chosen


class ImuIio:
    """An open device (see `sensorium.drivers.driver.Driver`).

    All values of one scan have one stamp: the kernel's, of when the sensor said that it had measured. Rows that found
    the kernel's buffer full are counted by the time that passed without one.
    """

    def __init__(
        self, name: str, config: ImuIioConfig, files: IioFiles, buffer: IioBuffer, channels: list[str]
    ) -> None:
        self._title = files.title
        self._buffer = buffer
        self._clock = live_clock()
        self._reading = threading.Lock()
        self._closed = False
        clock = _set_clock(files) if config.stamps == "kernel" else ""
        has_time = bool(clock and files.ask("scan_elements/in_timestamp_type"))
        self._layout = ScanLayout(elements(files, [*channels, *(["timestamp"] if has_time else [])]))
        _set_attributes(files, config.attributes)
        rate_hz = _set_rate(files, {_kind(channel) for channel in channels}, config.rate_hz)
        trigger = _set_trigger(files, config.trigger)
        self._stamps = KernelStamps(clock if has_time else "", rate_hz, files.title)
        said = {
            "name": files.ask("name"),
            "stamps_clock": self._stamps.clock or "boottime",
            **({"trigger": trigger} if trigger else {}),
            **{each: files.ask(each) for each in [*config.attributes, *files.matching("*mount_matrix")]},
        }
        common = {
            "rate_hz": rate_hz,
            "frame": config.frame,
            "stamps_from": "kernel" if has_time else "arrival",
            "has_sensor_ns": self._stamps.has_sensor_ns,
        }
        self._streams: list[ScanStream] = scan_streams(
            name, files, self._layout, common, config.calibration, said, raw=config.raw
        )
        if not self._streams:
            raise ConfigError(
                f"{files.title}: none of its channels can be read; it has {', '.join(channels) or 'none'}"
            )
        self._lost_after_s = max(config.lost_after_s, 5 / rate_hz if rate_hz else 0.0)
        rows = 1 << max(8, int((rate_hz or 100.0) * config.buffer_s - 1).bit_length())  # a kfifo has a power of two
        watermark = int((rate_hz or 0.0) * _LATENCY_S) if has_time else 1
        buffer.start(self._layout, min(rows, 1 << 16), watermark)
        self._heard_s = time.monotonic()

    @property
    def specs(self) -> tuple[StreamSpec, ...]:
        return tuple(stream.spec for stream in self._streams)

    @property
    def clock(self) -> Clock:
        return self._clock

    def read(self, timeout_s: float) -> Sequence[Block] | None:
        deadline_s = time.monotonic() + timeout_s
        with self._reading:
            while not self._closed:
                scans = self._buffer.receive()
                now_s = time.monotonic()
                if scans:
                    self._heard_s = now_s
                    return self._blocks(scans)
                if now_s - self._heard_s > self._lost_after_s:
                    raise SensorLost(
                        f"{self._title}: nothing for {now_s - self._heard_s:.1f} s; does it still measure?"
                    )
                if now_s >= deadline_s:
                    return ()
        return None

    def close(self) -> None:
        was_closed, self._closed = self._closed, True
        with self._reading:
            if not was_closed:
                self._buffer.close()

    def _blocks(self, scans: bytes) -> list[Block]:
        values = self._layout.split(scans)
        times = values.get("timestamp")
        count = len(scans) // self._layout.size
        taken = self._stamps.take(None if times is None else times[:, 0], count, boottime_ns(), self._buffer.was_full)
        return [block for rows in taken for block in self._of(rows, values)]

    def _of(self, rows: ScanRows, values: Mapping[str, Counts]) -> list[Block]:
        """What one run of scans is in each stream, or what was lost alone."""
        if not len(rows.captured_ns):
            return [loss_alone(stream.spec, rows.lost_before) for stream in self._streams]
        return [
            Block(
                stream.spec.name, rows.captured_ns, stream.data(values, rows.picked), rows.lost_before, rows.sensor_ns
            )
            for stream in self._streams
        ]


def _kind(channel: str) -> str:
    """What a channel measures.

    >>> [_kind(name) for name in ("accel_x", "voltage0", "temp")]
    ['accel', 'voltage', 'temp']
    """
    return re.split(r"[\d_]", channel, maxsplit=1)[0]


def _set_clock(files: IioFiles) -> str:
    """In which clock the kernel stamps: the best that may be chosen, or the one that it is in."""
    name = "current_timestamp_clock"
    now = files.ask(name)
    for wanted in (clock for clock in CLOCKS[:2] if now):
        try:
            if (now := files.set(name, wanted)) == wanted:
                return now
        except (ConfigError, SensorLost) as error:
            log.info("%s; its stamps stay in %s", error, now)
        if now in CLOCKS:
            return now
    if now and now not in CLOCKS:
        raise ConfigError(f"{files.title}: it stamps in {now}, and that cannot be changed; use `stamps: arrival`")
    return now or CLOCKS[-1]


def _set_attributes(files: IioFiles, asked: Mapping[str, str | int | float]) -> None:
    for name, value in asked.items():
        wanted, now = str(value), files.set(name, str(value))
        try:
            is_so = abs(float(now) - float(wanted)) <= 1e-3 * abs(float(wanted))
        except ValueError:
            is_so = now == wanted
        if not is_so:
            log.warning("%s: %s was to be %s and is %s, which is recorded", files.title, name, wanted, now)


def _set_rate(files: IioFiles, kinds: set[str], wanted_hz: float | None) -> float | None:
    """Set, if one is wanted, how often it measures; how often it does, as far as it says."""
    names = [*(f"in_{kind}_sampling_frequency" for kind in sorted(kinds)), "sampling_frequency"]
    there = [name for name in [*names, "in_sampling_frequency"] if files.has(name)]
    if wanted_hz is None:
        return files.number(*there) or None
    for name in there:
        now_hz = files.number(name)
        if now_hz is None or abs(now_hz - wanted_hz) > 1e-3 * wanted_hz:
            files.set(name, f"{wanted_hz:.6f}".rstrip("0").rstrip("."))
    rate_hz = files.number(*there)
    if rate_hz and abs(rate_hz - wanted_hz) > 0.01 * wanted_hz:
        log.warning("%s: rate_hz was to be %g and is %g, which is recorded", files.title, wanted_hz, rate_hz)
    return rate_hz or wanted_hz


def _set_trigger(files: IioFiles, wanted: str | None) -> str:
    """What starts a measurement: what is wanted, what is set, or the device's own, if it has one."""
    name = "trigger/current_trigger"
    if not files.has(name):
        if wanted:
            raise ConfigError(f"{files.title} measures by itself and takes no trigger; leave `trigger` out")
        return ""
    if wanted:
        return files.set(name, wanted)
    return files.ask(name) or next((files.set(name, own) for own in files.own_triggers()), "")
