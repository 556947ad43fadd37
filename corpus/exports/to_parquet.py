"""To Parquet: a folder an episode, a file a stream in it, a row a sample, a column a channel."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

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
from sensorium.corpus.stream import Stream

EPISODE, STREAM = b"sensorium.episode", b"sensorium.stream"
"""The keys of a file's metadata under which stands, as JSON, what Parquet has no place for."""
STAMPS = ("captured_ns", "utc", "uncertainty_ns", "sensor_ns")
DATA = "data"
_ROWS = 65_536


def export_parquet(episodes: Sequence[Episode], out: Path, options: Options) -> ExportReport:
    """Write EPISODE/STREAM.parquet: `captured_ns`, `utc`, `uncertainty_ns` and `sensor_ns` as far as they are known,
    then the channels by their names, or `data`: a number, a list of numbers, or the bytes of a picture, a JPEG as it
    is and any other in the order of C."""
    return each_apart(episodes, out, options, "", refusal, _write)


def refusal(_episode: Episode, stream: Stream) -> str:
    """Why a stream makes no table: two columns would have one name."""
    names = [*STAMPS, *columns(stream)]
    twice = sorted({name for name in names if names.count(name) > 1})
    return f"two columns of a table would be called {twice[0]!r}" if twice else ""


def columns(stream: Stream) -> list[str]:
    """The names of the columns of its samples."""
    spec = stream.spec
    return list(spec.channels) if len(spec.shape) == 1 and len(spec.channels) == spec.shape[0] else [DATA]


def _write(episode: Episode, streams: Sequence[Stream], path: Path) -> None:
    path.mkdir()
    about = json_text(about_episode(episode)).encode()
    for stream in streams:
        schema = _schema(episode, stream).with_metadata(
            {EPISODE: about, STREAM: json_text(about_stream(stream)).encode()}
        )
        # Pictures are compressed already, or as much as they will be by their own kind.
        compression = "none" if stream.spec.is_frames else "zstd"
        with pq.ParquetWriter(path / f"{stream.spec.name}.parquet", schema, compression=compression) as writer:
            for start, stop in portions(stream):
                for first in range(start, stop, _ROWS):
                    writer.write_table(_table(episode, stream, schema, first, min(first + _ROWS, stop)))


def _schema(episode: Episode, stream: Stream) -> Any:
    utc_ns, uncertainty_ns = episode.utc(stream.captured_ns[:1])
    fields = [("captured_ns", pa.int64())]
    fields += [("utc", pa.timestamp("ns", tz="UTC"))] * (utc_ns is not None)
    fields += [("uncertainty_ns", pa.int64())] * (uncertainty_ns is not None)
    fields += [("sensor_ns", pa.int64())] * stream.spec.has_sensor_ns
    return pa.schema([pa.field(name, of, nullable=False) for name, of in [*fields, *_fields(stream)]])


def _fields(stream: Stream) -> list[tuple[str, Any]]:
    spec = stream.spec
    number = pa.from_numpy_dtype(stream.dtype)
    if spec.is_frames or stream.is_encoded:
        return [(DATA, pa.binary() if stream.is_encoded else pa.binary(spec.sample_bytes))]
    names = columns(stream)
    if names != [DATA] or not spec.shape:
        return [(name, number) for name in names]
    return [(DATA, pa.list_(pa.field("element", number, nullable=False), spec.shape[0]))]


def _table(episode: Episode, stream: Stream, schema: Any, start: int, stop: int) -> Any:
    captured_ns = stream.captured_ns[start:stop]
    utc_ns, uncertainty_ns = episode.utc(captured_ns)
    stamps = {"captured_ns": captured_ns, "utc": utc_ns, "uncertainty_ns": uncertainty_ns}
    stamps["sensor_ns"] = None if stream.sensor_ns is None else stream.sensor_ns[start:stop]
    arrays = [pa.array(stamps[name], schema.field(name).type) for name in schema.names if name in STAMPS]
    return pa.Table.from_arrays(arrays + _samples(stream, schema, start, stop), schema=schema)


def _samples(stream: Stream, schema: Any, start: int, stop: int) -> list[Any]:
    spec = stream.spec
    if stream.is_encoded:
        return [pa.array([item.tobytes() for item in stream.items(start, stop)], pa.binary())]
    data = np.ascontiguousarray(stream[start:stop])
    if spec.is_frames:
        return [
            pa.FixedSizeBinaryArray.from_buffers(pa.binary(spec.sample_bytes), len(data), [None, pa.py_buffer(data)])
        ]
    if not spec.shape:
        return [pa.array(data)]
    if columns(stream) != [DATA]:
        return [pa.array(np.ascontiguousarray(data[:, column])) for column in range(data.shape[1])]
    return [pa.FixedSizeListArray.from_arrays(pa.array(data.reshape(-1)), type=schema.field(DATA).type)]
