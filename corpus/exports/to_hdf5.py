"""To HDF5: a file an episode, a group a stream, datasets in it by the names that the store has."""

import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from sensorium.corpus.episode import Episode
from sensorium.corpus.exports.contract import (
    ExportReport,
    Options,
    about_episode,
    about_stream,
    each_apart,
    json_text,
    portions,
)
from sensorium.corpus.exports.enduring import Enduring, interrupted_behind
from sensorium.corpus.stream import Stream

EPISODE, STREAM = "sensorium.episode", "sensorium.stream"
"""The attributes of the file, and of each stream's group, in which stands, as JSON, what HDF5 has no place for."""
ITEM_CHECKSUMS = "items_crc32"
_SMALL_CHUNK_ROWS = 1024


def export_hdf5(episodes: Sequence[Episode], out: Path, options: Options) -> ExportReport:
    """Write EPISODE.h5: STREAM/data [n, *shape], or STREAM/items, a JPEG a row as it is, and STREAM/captured_ns,
    utc_ns, uncertainty_ns and sensor_ns, those that there are; with Fletcher-32 of all of them but items, and
    STREAM/items_crc32 uint32 [n] of those."""
    return each_apart(episodes, out, options, ".h5", lambda _episode, _stream: "", _write)


def _write(episode: Episode, streams: Sequence[Stream], path: Path) -> None:
    """HDF5 ends the process where a file cannot be closed, so that on a full disk it is not told before it has."""
    with path.open("w+b", buffering=0) as opened:
        enduring = Enduring(opened)
        with interrupted_behind(enduring), h5py.File(enduring, "w") as file:
            _fill(file, enduring, episode, streams)
        enduring.check()


def _fill(file: Any, enduring: Enduring, episode: Episode, streams: Sequence[Stream]) -> None:
    file.attrs[EPISODE] = _bytes(json_text(about_episode(episode)))
    for stream in streams:
        group = file.create_group(stream.spec.name)
        group.attrs[STREAM] = _bytes(json_text(about_stream(stream)))
        group.attrs["unit"] = stream.spec.unit.replace("\0", " ")  # HDF5 has none in a text
        group.attrs["media_type"] = stream.media_type
        utc_ns, uncertainty_ns = episode.utc(stream.captured_ns)
        arrays = {"captured_ns": stream.captured_ns, "utc_ns": utc_ns, "uncertainty_ns": uncertainty_ns}
        for name, array in (arrays | {"sensor_ns": stream.sensor_ns}).items():
            if array is not None:
                group.create_dataset(name, data=array, fletcher32=len(array) > 0)
        for _ in (_items if stream.is_encoded else _data)(group, stream):
            enduring.check()


def _items(group: Any, stream: Stream) -> Iterator[None]:
    """HDF5 has no filter for what is of variable length: its checksums stand beside."""
    items = group.create_dataset("items", (len(stream),), h5py.vlen_dtype(np.uint8))
    checksums = np.zeros(len(stream), np.uint32)
    for start, stop in portions(stream):
        for row, item in enumerate(stream.items(start, stop), start):
            items[row] = np.frombuffer(item, np.uint8)
            checksums[row] = zlib.crc32(item)
        yield
    group.create_dataset(ITEM_CHECKSUMS, data=checksums, fletcher32=len(checksums) > 0)


def _data(group: Any, stream: Stream) -> Iterator[None]:
    frames = stream.spec.is_frames
    rows = 1 if frames else min(_SMALL_CHUNK_ROWS, max(1, len(stream)))
    packed = {} if not len(stream) else {"chunks": (rows, *stream.spec.shape), "compression": "gzip", "shuffle": True}
    packed |= {"fletcher32": True} if packed else {}
    data = group.create_dataset(
        "data", stream.shape, stream.dtype, **packed, **({"compression_opts": 1} if packed else {})
    )
    for start, stop in portions(stream):
        data[start:stop] = stream[start:stop]
        yield


def _bytes(text: str) -> Any:
    """An attribute may have 64 kB, unless it is stored apart, which a string of variable length is."""
    return np.array(text.encode(), dtype=h5py.string_dtype("utf-8"))
