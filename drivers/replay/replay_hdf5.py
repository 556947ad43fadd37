"""Replay of an HDF5 file: a group a stream, with `captured_ns`, and `data` or, of JPEGs, `items`, as in exports."""

import json
import zlib
from collections.abc import Generator
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

from sensorium.drivers.batching import batches, estimate_rate_hz
from sensorium.drivers.clock import Clock
from sensorium.drivers.driver import Delivery, Driver, DriverConfig
from sensorium.drivers.marks import EpisodeBegin, EpisodeEnd
from sensorium.drivers.media import JPEG, Media, jpeg_shape
from sensorium.drivers.pacing import Due, Pace, Pacer, Source, Timed, merge
from sensorium.drivers.replay.damage import damage_is_said
from sensorium.drivers.stream import Block, Stamps, StreamSpec
from sensorium.errors import ConfigError, Corrupt

_STREAM = "sensorium.stream"
_ITEM_CHECKSUMS = "items_crc32"
_MOST_BYTES = 8 << 20


class ReplayHdf5Config(DriverConfig):
    """`path` is a file of groups, each with `captured_ns` int64 [n], or `utc_ns`, by which all are stamped where all
    have it, and `data` [n, ...] or `items`, a JPEG a row. A group without is no stream; the file is one episode.

    Streams are called `name.` and the group; what an export said of them is taken over.
    """

    kind: Literal["replay-hdf5"] = "replay-hdf5"
    path: Path
    pace: Pace = 1.0

    def open(self, name: str, base: Path) -> Driver:
        """Read what the groups are, and all stamps; samples are read as they are due.

        Raises:
            ConfigError: h5py is not installed, no such file, no HDF5, one that was cut short, or without a stream.
        """
        try:
            import h5py
        except ImportError as error:
            raise ConfigError("replay-hdf5 needs h5py: pip install 'sensorium[hdf5]'") from error
        path = base / self.path
        try:
            file = h5py.File(path, "r")
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read as HDF5: {error}; is it whole?") from error
        with file, damage_is_said(path):
            groups = {key: group for key, group in file.items() if _is_stream(group)}
            by_utc = bool(groups) and all("utc_ns" in group for group in groups.values())
            found = [_looked_at(path, name, key, group, by_utc) for key, group in groups.items()]
        if not found:
            raise ConfigError(f"{path}: no group with captured_ns or utc_ns, and data or items; nothing to replay")
        clock = Clock(kind="recording", states_utc=by_utc)
        return Timed([spec for spec, _, _ in found], clock, _play(path, found), Pacer(self.pace))


_Found = tuple[StreamSpec, str, Stamps]


def _is_stream(group: Any) -> bool:
    return (
        hasattr(group, "keys") and bool({"captured_ns", "utc_ns"} & set(group)) and bool({"data", "items"} & set(group))
    )


def _looked_at(path: Path, name: str, key: str, group: Any, by_utc: bool) -> _Found:
    try:
        return _stream(path, name, key, group, by_utc)
    except (OSError, RuntimeError) as error:  # a checksum, where it has some
        raise Corrupt(f"{path}: {key}: stamps cannot be read: {error}; get the file again") from error


def _stream(path: Path, name: str, key: str, group: Any, by_utc: bool) -> _Found:
    stamps = _stamps(f"{path}: {key}", group["utc_ns" if by_utc else "captured_ns"])
    content = group["items"] if "items" in group else group["data"]
    counted = getattr(content, "shape", ())[:1]
    if stamps.shape != counted:
        what = f"{counted[0]} samples" if counted else "what is no array of samples"
        raise ConfigError(f"{path}: {key}: {len(stamps)} stamps of {what}; expected as many")
    said = _said(f"{path}: {key}", group)
    if "items" in group:
        shape = tuple(said["shape"]) if said else jpeg_shape(_item(content[0])) if len(content) else (1, 1)
        known: dict[str, Any] = {
            "modality": "image",
            "dtype": "uint8",
            "shape": shape,
            "color_order": "BGR" if len(shape) == 3 else "",
        }
    else:
        shape = content.shape[1:]
        known = {"modality": "image" if len(shape) > 1 else "rows", "dtype": content.dtype.name, "shape": shape}
        if (said.get("dtype", known["dtype"]), tuple(said.get("shape", shape))) != (known["dtype"], shape):
            what = f"{said.get('dtype')} {said.get('shape')}"
            raise ConfigError(f"{path}: {key}: {known['dtype']} {list(shape)}, but {_STREAM} says {what}; correct it")
        if not said:  # one that was said to be irregular is
            known["rate_hz"] = estimate_rate_hz(stamps)
    spec = {**known, **said, "name": f"{name}.{key}", "has_sensor_ns": False}
    try:
        return msgspec.convert(spec, StreamSpec), key, stamps
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {key}: {error}") from error


def _stamps(where: str, array: Any) -> Stamps:
    """Stamps int64 [n]; `ConfigError` of numbers that are no whole ns, as seconds are, or that step back."""
    if getattr(array, "ndim", None) != 1 or array.dtype.kind not in "iu":
        said = f"{array.dtype} {list(array.shape)}" if hasattr(array, "dtype") else "a group"
        raise ConfigError(f"{where}: its stamps are {said}; expected whole ns, int64 [n]")
    found = array[:]
    if len(found) and int(found.max()) >= 2**63:
        raise ConfigError(f"{where}: a stamp is {found.max()} ns; expected fewer than 2^63")
    stamps: Stamps = found.astype(np.int64)
    if bool((np.diff(stamps) < 0).any()):
        raise ConfigError(f"{where}: its stamps step back; sort its rows by them first")
    return stamps


def _said(where: str, group: Any) -> dict[str, Any]:
    """What an export said of a stream; nothing, if none did."""
    if _STREAM not in group.attrs:
        return {}
    try:
        said = json.loads(group.attrs[_STREAM])["spec"]
        return {**said, "shape": tuple(said["shape"])}
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{where}: {_STREAM} is not what an export says of a stream: {error!r}") from error


def _item(found: Any) -> bytes:
    data: bytes = found if isinstance(found, bytes) else found.tobytes()
    return data


def _play(path: Path, found: list[_Found]) -> Generator[tuple[int, Delivery], None, None]:
    ends = [(int(stamps[0]), int(stamps[-1])) for _, _, stamps in found if len(stamps)]
    if not ends:
        return
    first, last = min(low for low, _ in ends), max(high for _, high in ends)
    yield first, EpisodeBegin(first)
    yield from merge([_source(path, *each) for each in found])
    yield last, EpisodeEnd(last + 1)


def _source(path: Path, spec: StreamSpec, key: str, stamps: Stamps) -> Source:
    import h5py

    most = max(1, _MOST_BYTES // max(1, spec.sample_bytes))
    with h5py.File(path, "r") as file:
        group = file[key]
        for low, high in batches(stamps):
            for start in range(low, high, most):
                stop = min(high, start + most)
                try:
                    yield _due(spec, group, stamps, start, stop)
                except Exception as error:  # of damaged bytes h5py raises anything
                    raise Corrupt(f"{path}: {key}, samples {start} to {stop}: {error}; get the file again") from error


def _due(spec: StreamSpec, group: Any, stamps: Stamps, start: int, stop: int) -> Due:
    if "items" in group:
        items = [_item(each) for each in group["items"][start:stop]]
        if _ITEM_CHECKSUMS in group:
            for row, (item, said) in enumerate(zip(items, group[_ITEM_CHECKSUMS][start:stop], strict=True), start):
                if zlib.crc32(item) != int(said):
                    raise OSError(f"item {row}: checksum {zlib.crc32(item):08x}, expected {int(said):08x}")
        content: Any = Media(JPEG, items)
    else:
        content = np.ascontiguousarray(group["data"][start:stop])
    return int(stamps[stop - 1]), Block(spec.name, stamps[start:stop], content)
