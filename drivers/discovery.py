"""What is plugged in: cameras with their formats, serial ports with likely IMUs; and whether one works, by trying."""

import os
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from serial.tools import list_ports

from sensorium.drivers.driver import DriverConfig
from sensorium.drivers.live import v4l2
from sensorium.drivers.live.iio_device import SYSFS, iio_places
from sensorium.drivers.live.v4l2 import VideoFormat
from sensorium.drivers.registry import driver_config
from sensorium.drivers.stream import Block, StreamSpec
from sensorium.errors import ConfigError, SensorLost

ADAPTERS = {
    (0x1A86, 0x7523): "CH340 adapter, as WitMotion's cables have",
    (0x1A86, 0x55D4): "CH9102 adapter",
    (0x10C4, 0xEA60): "CP210x adapter, as many IMU boards have",
    (0x0403, 0x6001): "FTDI FT232 adapter",
    (0x0403, 0x6015): "FTDI FT231X adapter",
    (0x067B, 0x2303): "PL2303 adapter",
}
"""USB vendor and product numbers of the serial adapters behind which IMUs are usually found. A hint, no more."""

BAUDS = (115200, 9600, 230400, 921600)
"""Tried in this order: what WitMotion sensors are shipped with or usually set to."""


_CAMERAS = ("camera", "camera-v4l2")


@dataclass(frozen=True, slots=True)
class VideoDevice:
    """A camera. `path` names the same one after a reboot, where the system has such a name; `problem` says why not."""

    path: str
    name: str
    formats: tuple[VideoFormat, ...] = ()
    problem: str = ""

    @property
    def candidates(self) -> list[dict[str, Any]]:
        """What to try as its entry in a device file."""
        by_kernel = {"kind": "camera-v4l2", "source": self.path}
        through_opencv = {"kind": "camera", "source": self.path}
        return [by_kernel, through_opencv] if self.path.startswith("/dev/") else [through_opencv]


@dataclass(frozen=True, slots=True)
class SerialPort:
    """A serial port. `likely` says what may be behind it, or nothing."""

    path: str
    name: str
    likely: str = ""
    problem: str = ""

    @property
    def candidates(self) -> list[dict[str, Any]]:
        """What to try as its entry in a device file."""
        return [{"kind": "imu-witmotion", "port": self.path, "baud": baud} for baud in BAUDS]


@dataclass(frozen=True, slots=True)
class IioSensor:
    """A sensor that the kernel drives. `entry` names the same one after a reboot, `channels` what it measures."""

    path: str
    name: str
    entry: Mapping[str, str]
    channels: tuple[str, ...] = ()
    problem: str = ""

    @property
    def candidates(self) -> list[dict[str, Any]]:
        """What to try as its entry in a device file."""
        return [{"kind": "imu-iio", **self.entry}]


@dataclass(frozen=True, slots=True)
class Heard:
    """A stream as it was heard for a moment: samples delivered, and the rate between the first and the last."""

    spec: StreamSpec
    samples: int
    lost: int
    rate_hz: float | None


@dataclass(frozen=True, slots=True)
class Probed:
    """A sensor that delivered: its entry in a device file, and its streams."""

    name: str
    entry: dict[str, Any]
    heard: tuple[Heard, ...]

    @property
    def yaml(self) -> str:
        """The lines to put into a device file."""
        inline = yaml.safe_dump(self.entry, default_flow_style=True, sort_keys=False, width=1000).strip()
        return f"sensors:\n  {self.name}: {inline}\n"


def video_devices(dev: Path = Path("/dev"), ask: Callable[[Path], Any] = v4l2.query) -> list[VideoDevice]:
    """Every V4L2 device that captures video, whether or not this user may use it; nothing is opened for capture."""
    devices = []
    for node in sorted(dev.glob("video[0-9]*"), key=lambda path: (len(path.name), path.name)):
        path = str(_lasting(node, dev / "v4l/by-id"))
        try:
            answer = ask(node)
        except PermissionError:
            problem = "permission denied; add yourself to the group video and log in again"
            devices.append(VideoDevice(path, node.name, problem=problem))
        except OSError as error:
            devices.append(VideoDevice(path, node.name, problem=f"does not answer: {error.strerror or error}"))
        else:
            if answer is not None:
                devices.append(VideoDevice(path, *answer))
    return devices


def serial_ports(dev: Path = Path("/dev")) -> list[SerialPort]:
    """Every serial port that has hardware behind it, whether or not this user may use it; nothing is opened."""
    ports = []
    for port in sorted(list_ports.comports()):
        usable = os.access(port.device, os.R_OK | os.W_OK)
        ports.append(
            SerialPort(
                path=str(_lasting(Path(port.device), dev / "serial/by-id")),
                name=port.description or port.name,
                likely=ADAPTERS.get((port.vid or 0, port.pid or 0), ""),
                problem="" if usable else "permission denied; add yourself to the group dialout and log in again",
            )
        )
    return ports


def iio_sensors(sysfs: Path = SYSFS, dev: Path = Path("/dev")) -> list[IioSensor]:
    """Every IIO device with a buffer, whether or not this user may use it; nothing is opened."""
    places = iio_places(sysfs, dev)
    named, placed = Counter(p.name for p in places), Counter((p.name, p.at) for p in places)
    sensors = []
    for place in places:
        entry = {"device": place.name, "at": place.at}
        if named[place.name] == 1:
            del entry["at"]
        elif placed[place.name, place.at] > 1:
            entry = {"device": place.folder.name}
        usable = os.access(place.node, os.R_OK) and os.access(place.folder / "buffer/enable", os.W_OK)
        problem = "" if usable else "permission denied; run as root, or let a udev rule give your group its files"
        sensors.append(IioSensor(str(place.node), place.name, entry, tuple(place.channels), problem))
    return sensors


def probe(candidates: Sequence[dict[str, Any]], name: str, base: Path = Path(), listen_s: float = 1.0) -> Probed:
    """Open each entry until one delivers, and listen to it; each takes at most its driver's own opening time.

    Raises:
        ConfigError: none can work, or this user may not use the device; the error is that of the first.
        SensorLost: none delivered.
    """
    failure: SensorLost | ConfigError | None = None
    for entry in candidates:
        config = driver_config(entry["kind"]).model_validate(entry)
        try:
            heard = _listen(config, name, base, listen_s)
        except (ConfigError, SensorLost) as error:
            failure = failure or error
            continue
        return Probed(name, _completed(entry, heard), heard)
    raise failure or SensorLost(f"{name}: nothing to try")


def named(source: str) -> VideoDevice | SerialPort | IioSensor:
    """What a user names and no list shows: a URL or a file is a camera, a terminal (or what is not there yet and is
    called tty...) a serial port, iio:device... a sensor of the kernel's."""
    path = Path(source)
    if path.name.startswith("iio:"):
        return IioSensor(source, path.name, {"device": path.name})
    if "://" not in source and (path.name.startswith("tty") or (path.is_char_device() and _is_terminal(path))):
        return SerialPort(source, path.name)
    return VideoDevice(source, path.name)


def device_file(device: str, found: Sequence[Probed], small_pictures: str) -> str:
    """A whole device file, in YAML, for sensors that delivered; where to deliver is left as a comment to fill in, and
    `small_pictures`, the encoding by which pictures take little room, as one to agree to."""
    sensors = "".join(each.yaml.removeprefix("sensors:\n") for each in found)
    cameras = [each.name for each in found if each.entry["kind"] in _CAMERAS]
    encodings = "".join(f"#   {name}: {small_pictures}\n" for name in cameras)
    return (
        f"device: {device}\n"
        f"sensors:\n{sensors}"
        "spool: {path: spool, max_bytes: 20GB, min_free_bytes: 2GB}\n"
        "trigger: {kind: interval, length_s: 10}\n"
        + (f"# Lossless; a tenth of the bytes:\n# encodings:\n{encodings}" if cameras else "")
        + "# Where to deliver; without it episodes stay in the spool. Keys: `sensorium keys new`.\n"
        '# ingest: {url: "tcp://HOST:7707", server_key: keys/ingest.key, key: keys/'
        f"{device}.key_secret}}\n"
    )


def _is_terminal(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.isatty(descriptor)
    finally:
        os.close(descriptor)


def _listen(config: DriverConfig, name: str, base: Path, listen_s: float) -> tuple[Heard, ...]:
    driver = config.open(name, base)
    stamps: dict[str, list[int]] = {spec.name: [] for spec in driver.specs}
    lost = dict.fromkeys(stamps, 0)
    try:
        deadline = time.monotonic() + listen_s
        while time.monotonic() < deadline:
            delivered = driver.read(max(0.0, deadline - time.monotonic()))
            if delivered is None:
                break
            for block in (each for each in delivered if isinstance(each, Block)):
                stamps[block.stream] += block.captured_ns.tolist()
                lost[block.stream] += block.lost_before
        specs = driver.specs
    finally:
        driver.close()
    if not any(stamps.values()):
        raise SensorLost(f"{name}: it opened, and delivered nothing in {listen_s:g} s")
    return tuple(Heard(spec, len(stamps[spec.name]), lost[spec.name], _rate_hz(stamps[spec.name])) for spec in specs)


def _rate_hz(stamps: list[int]) -> float | None:
    if len(stamps) < 2 or stamps[-1] == stamps[0]:
        return None
    return (len(stamps) - 1) * 1e9 / float(np.int64(stamps[-1]) - np.int64(stamps[0]))


def _completed(entry: dict[str, Any], heard: tuple[Heard, ...]) -> dict[str, Any]:
    """The entry with what a camera said that it is, the size and the rate that it showed, so that a later change is
    noticed."""
    spec = heard[0].spec
    if entry["kind"] not in _CAMERAS:
        return entry
    height, width = spec.shape[:2]
    rate_hz = {"rate_hz": spec.rate_hz} if spec.rate_hz else {}
    said = spec.calibration.get("v4l2", {})
    identity = {key: said[key] for key in ("card", "serial", "pixel_format") if said.get(key)}
    return {**entry, **identity, "size": [width, height], **rate_hz}


def _lasting(node: Path, links: Path) -> Path:
    """The name under `links` that leads to `node`, or `node` itself."""
    if links.is_dir():
        for link in sorted(links.iterdir()):
            if link.resolve() == node.resolve():
                return link
    return node
