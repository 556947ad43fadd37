"""Replay of a recording in the EuRoC (ASL) layout: cameras as PNG files, IMUs and other numbers as CSV."""

import logging
import re
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import yaml

from sensorium.drivers.batching import Losses, rows_source
from sensorium.drivers.clock import Clock
from sensorium.drivers.driver import DriverConfig
from sensorium.drivers.identity import Identity, identity_of_files
from sensorium.drivers.ordering import order_of
from sensorium.drivers.pacing import Pace, Paced, Pacer, Source, merge
from sensorium.drivers.registry import nearest
from sensorium.drivers.replay.epoch import check_epoch
from sensorium.drivers.replay.euroc_table import Numbers, head_of, read_numbers, rows_of
from sensorium.drivers.replay.mapping import rate_of
from sensorium.drivers.replay.table import BadRows
from sensorium.drivers.stream import Block, Samples, Stamps, StreamSpec
from sensorium.errors import ConfigError
from sensorium.threads import Pool

log = logging.getLogger(__name__)

_DECODERS = 2
_AHEAD = 4
_PROBED = 5
_IMU_CHANNELS = ("gx", "gy", "gz", "ax", "ay", "az")
_IMU_UNITS = ("rad/s", "rad/s", "rad/s", "m/s^2", "m/s^2", "m/s^2")
_IMU_TITLES = tuple(f"{kind}_RS_S_{axis}" for kind in "wa" for axis in "xyz")
_NO_UTC = "so their UTC is unknown; a title like `timestamp [us]` says another unit than ns"
_GYRO_NOISE, _ACCEL_NOISE = "gyroscope_noise_density", "accelerometer_noise_density"


class ReplayEurocConfig(DriverConfig):
    """`path` is the folder `mav0` (or the one that holds it); `streams` picks sensor folders, by default all.

    Streams are called `name.cam0`, `name.imu0`, ... after the folders. Stamps are the recording's, which are UTC
    unless the first of a sensor cannot be.
    """

    kind: Literal["replay-euroc"] = "replay-euroc"
    path: Path
    pace: Pace = 1.0
    streams: tuple[str, ...] | None = None

    def open(self, name: str, base: Path) -> Paced:
        """Read tables and calibration, and one picture of each camera; pictures are decoded as they are due.

        Raises:
            ConfigError: no such folder, no sensor in it, no `data.csv`, or an unknown name in `streams`.
        """
        root = _root(base / self.path)
        sensors = [_load(folder, name) for folder in self._folders(root)]
        usable = [sensor for sensor in sensors if sensor is not None]
        if not usable:
            raise ConfigError(f"{root}: no sensor with usable data; expected folders such as cam0 or imu0")
        stated = [check_epoch(str(root / sensor.spec.frame), sensor.first_ns, then=_NO_UTC) for sensor in usable]
        clock = Clock(kind="recording", states_utc=all(stated))
        return Paced([sensor.spec for sensor in usable], clock, _play(usable), Pacer(self.pace))

    def identity(self, base: Path) -> Identity:
        """Of the sensor folders that are played; what lies beside them does not count."""
        root = _root(base / self.path)
        folders = [folder for folder in root.iterdir() if folder.is_dir() and _has_data(folder)]
        chosen = [folder for folder in folders if self.streams is None or folder.name in self.streams]
        return Identity({"path": identity_of_files(root, chosen)})

    def _folders(self, root: Path) -> list[Path]:
        found = {folder.name: folder for folder in sorted(root.iterdir()) if folder.is_dir()}
        if self.streams is None:
            return [folder for folder in found.values() if _is_played(folder)]
        for stream in self.streams:
            if stream not in found:
                raise ConfigError(f"{root}: no sensor {stream!r}{nearest(stream, found)}; found {', '.join(found)}")
        return [found[stream] for stream in self.streams]


@dataclass(frozen=True, slots=True)
class _SensorFolder:
    """One sensor folder, ready to play."""

    spec: StreamSpec
    first_ns: int
    source: Callable[[Pool], Source]


def _is_played(folder: Path) -> bool:
    """Cameras and IMUs, whose table must then exist, and whatever else has a table (poses, ground truth)."""
    if _has_data(folder):
        return True
    log.warning("%s: no data.csv in it: ignored", folder)
    return False


def _has_data(folder: Path) -> bool:
    return (folder / "data.csv").is_file() or re.fullmatch(r"(cam|imu)\d*", folder.name) is not None


def _root(path: Path) -> Path:
    for root in (path / "mav0", path):
        if root.is_dir():
            return root
    raise ConfigError(f"{path}: no such folder; expected the folder mav0 of a recording, give it as `path`")


def _play(sensors: list[_SensorFolder]) -> Source:
    pool = Pool("euroc-decode", "decodes pictures", _DECODERS)
    try:
        yield from merge([sensor.source(pool) for sensor in sensors])
    finally:
        pool.close(cancel=True)


def _load(folder: Path, name: str) -> _SensorFolder | None:
    """The sensor in `folder`, or None, said in the log, where there is nothing that can be played."""
    calibration = _sensor(folder)
    kind = str(calibration.get("sensor_type", "camera" if (folder / "data").is_dir() else "")).lower()
    stream = f"{name}.{folder.name}"
    if kind == "camera":
        return _load_camera(folder, stream, calibration)
    return _load_rows(folder, stream, calibration, kind or folder.name.rstrip("0123456789"))


def _sensor(folder: Path) -> dict[str, Any]:
    """sensor.yaml of a folder, empty if absent. OpenCV writes `%YAML:1.0`, which YAML refuses, and its own tags."""
    path = folder / "sensor.yaml"
    if not path.is_file():
        return {}
    text = re.sub(r"\A\ufeff?%YAML[^\n]*\n(---[^\n]*\n)?", "", path.read_text(encoding="utf-8-sig", errors="replace"))
    try:
        document = yaml.safe_load(text.replace("!!opencv-matrix", ""))
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: {' '.join(str(error).split())}; mend or remove the file") from error
    document = {} if document is None else document
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: got {type(document).__name__}, expected a mapping; mend or remove the file")
    return {str(key): _plain(value) for key, value in document.items()}


def _plain(value: Any) -> Any:
    """A matrix {rows, cols, data} as nested lists."""
    if isinstance(value, dict) and {"rows", "cols", "data"} <= value.keys():
        rows, cols, data = value["rows"], value["cols"], value["data"]
        if isinstance(data, list) and len(data) == rows * cols:
            return [data[row * cols : (row + 1) * cols] for row in range(rows)]
    return value


def _rate_hz(table: Path, calibration: dict[str, Any], stamps: Stamps) -> float | None:
    stated = calibration.get("rate_hz")
    return rate_of(str(table), float(stated) if isinstance(stated, int | float) and stated > 0 else None, stamps)


def _table(folder: Path) -> Path:
    table = folder / "data.csv"
    if not table.is_file():
        raise ConfigError(f"{table}: no such file; expected rows of `timestamp [ns],...`, or leave {folder.name} out")
    return table


# Cameras


def _load_camera(folder: Path, stream: str, calibration: dict[str, Any]) -> _SensorFolder | None:
    table = _table(folder)
    bad, broken = BadRows(table), BadRows(folder / "data", "/")
    stamps: list[int] = []
    files: list[Path] = []
    head = head_of(table)
    for line, cells in rows_of(table, head):
        try:
            stamp = head.stamp_ns(cells[0])
            file = (cells[1] if len(cells) > 1 else "") or f"{cells[0]}.png"
        except ValueError as error:
            bad.lose(line, error, len(stamps))
            continue
        stamps.append(stamp)
        files.append(folder / "data" / file)
    captured_ns = np.array(stamps, np.int64)
    lost = bad.lost_before(len(stamps))
    if (order := order_of(captured_ns)) is not None:
        captured_ns, files, lost[:-1] = captured_ns[order], [files[row] for row in order], lost[order]
    images = islice((image for image in map(partial(_decode, broken), files) if image is not None), _PROBED)
    forms = Counter((image.shape, image.dtype.name) for image in images).most_common(1)
    if not forms:
        log.warning("%s: no picture in it can be read: %d rows ignored", folder, len(files))
        return None
    (shape, dtype), _ = forms[0]
    spec = StreamSpec(
        name=stream,
        modality="image",
        dtype=dtype,
        shape=shape,
        rate_hz=_rate_hz(table, calibration, captured_ns),
        frame=folder.name,
        calibration=calibration,
        color_order="BGRA"[: shape[2]] if len(shape) == 3 else "",
        stamps_from="source",
    )
    return _SensorFolder(
        spec,
        int(captured_ns[0]),
        lambda pool: _pictures(spec, captured_ns, files, lost, lambda file: pool.submit(_decode, broken, file)),
    )


def _pictures(
    spec: StreamSpec,
    captured_ns: Stamps,
    files: list[Path],
    lost_before: Stamps,
    decode: Callable[[Path], Future[Samples | None]],
) -> Source:
    """One block a picture; a few are decoded ahead, because that is what takes the time."""
    ahead: deque[Future[Samples | None]] = deque()
    losses = Losses(spec.name, np.empty((0, *spec.shape), spec.dtype))
    for row, file in enumerate(files):
        ahead.extend(decode(later) for later in files[row + len(ahead) : row + 1 + _AHEAD])
        image, stamp_ns = ahead.popleft().result(), int(captured_ns[row])
        losses.lose(int(lost_before[row]), None)
        if image is None:
            losses.lose(1, stamp_ns)
        elif image.shape != spec.shape or image.dtype.name != spec.dtype:
            got = f"{image.shape} {image.dtype}"
            log.warning("%s: got %s, expected %s %s: counted lost", file, got, spec.shape, spec.dtype)
            losses.lose(1, stamp_ns)
        else:
            lost, alone = losses.before(stamp_ns)
            yield from alone
            yield stamp_ns, Block(spec.name, captured_ns[row : row + 1], image[None], lost)
            losses.passed(stamp_ns)
    losses.lose(int(lost_before[-1]), None)
    yield from losses.rest()


def _decode(broken: BadRows, file: Path) -> Samples | None:
    """The picture as it was stored, [h, w], [h, w, 3] BGR or [h, w, 4] BGRA, or None, said in the log."""
    try:
        encoded = np.fromfile(file, np.uint8)
    except OSError as error:
        broken.say(file.name, error.strerror or error)
        return None
    image: Samples | None = cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED) if encoded.size else None
    if image is None:
        broken.say(file.name, f"not a whole picture ({encoded.size} bytes)")
    return image


# IMUs and other tables of numbers


def _load_rows(folder: Path, stream: str, calibration: dict[str, Any], kind: str) -> _SensorFolder | None:
    table = _table(folder)
    bad = BadRows(table)
    found = read_numbers(table, head_of(table), bad)
    if found is None:
        log.warning("%s: no row of numbers in it: ignored", table)
        return None
    names, units = _imu_titles(found) if kind == "imu" else (found.titles, found.units)
    captured_ns, data = found.captured_ns, found.data
    lost, lost_at, width = bad.lost_before(len(data)), bad.lost_at, data.shape[1]
    if (order := order_of(captured_ns)) is not None:
        captured_ns, data, lost[:-1] = captured_ns[order], data[order], lost[order]
        places = {int(row): place for place, row in enumerate(order)}
        lost_at = sorted((places.get(row, row), at_ns) for row, at_ns in lost_at)
    densities = [calibration.get(key) for key in (_GYRO_NOISE, _ACCEL_NOISE) for _ in range(3)]
    noise = [float(density) for density in densities if isinstance(density, int | float)]
    spec = StreamSpec(
        name=stream,
        modality=kind,
        dtype="float64",
        shape=(width,),
        unit=", ".join(units) if any(units) else "",
        channels=names,
        rate_hz=_rate_hz(table, calibration, captured_ns),
        frame=folder.name,
        calibration=calibration,
        stamps_from="source",
        noise_density=tuple(noise) if len(noise) == width else None,
    )
    first_ns = int(captured_ns[0])
    return _SensorFolder(spec, first_ns, lambda _: rows_source(stream, captured_ns, data, lost, lost_at))


def _imu_titles(found: Numbers) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Channels and units of an IMU's columns: as titles of the layout say, which may stand in another order, else the
    six of the layout, and what there is beyond them as it is called."""
    by_title = dict(zip(_IMU_TITLES, zip(_IMU_CHANNELS, _IMU_UNITS, strict=True), strict=True))
    known = [by_title.get(title, (title, unit)) for title, unit in zip(found.titles, found.units, strict=True)]
    if not set(_IMU_TITLES) & set(found.titles) and found.data.shape[1] >= len(_IMU_CHANNELS):
        known[:6] = zip(_IMU_CHANNELS, _IMU_UNITS, strict=True)
        known += [("", "")] * (found.data.shape[1] - len(known))
    names = tuple(name or f"column_{at}" for at, (name, _) in enumerate(known, 1))
    return names, tuple(unit for _, unit in known)
