"""The bytes and documents of an episode in Zarr v3: inner chunks, array and group documents (docs/store-format.md)."""

import functools
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from crc32c import crc32c

from sensorium.drivers.stream import StreamSpec
from sensorium.episode.codecs.contract import Buffer, ChunkCodec, Codec, Json
from sensorium.episode.codecs.lossless import Lossless
from sensorium.episode.documents import Encoding, StreamEntry
from sensorium.errors import Corrupt

SHARD_BYTES = 32 << 20
BLOB_CHUNK_BYTES = 256 << 10
MAX_SHARD_CHUNKS = 16384
SMALL_CHUNK_ROWS = 1 << 20
CHECKSUM_BYTES = 4
ABSENT = 2**64 - 1

_CRC = struct.Struct("<I")
_SMALL = Encoding(cname="zstd", clevel=1)
_BYTES: Json = {"name": "bytes", "configuration": {"endian": "little"}}
_CHECKSUM: Json = {"name": "crc32c"}


@functools.cache
def small_codec() -> Lossless:
    """How stamps, offsets and probes are stored: as a lossless stream of int64 would be."""
    spec = StreamSpec(name="small", modality="", dtype="int64", shape=())
    return Lossless(StreamEntry(spec=spec, encoding=_SMALL, chunk_rows=1))


def decode_plain(chunk: Buffer, out: npt.NDArray[Any]) -> None:
    """Fill `out`, contiguous, with bytes stored as they are, such as those of a blob; `Corrupt` if they do not fit."""
    if len(chunk) != out.nbytes:
        raise Corrupt(f"{len(chunk)} bytes, expected {out.nbytes}")
    out[...] = np.frombuffer(chunk, out.dtype).reshape(out.shape)


def checked(chunk: Buffer) -> memoryview:
    """`chunk` without its CRC32C, once that holds; else `Corrupt`."""
    view = memoryview(chunk)
    if len(view) < CHECKSUM_BYTES:
        raise Corrupt(f"chunk of {len(view)} bytes is shorter than its checksum")
    stored, actual = _CRC.unpack_from(view, len(view) - CHECKSUM_BYTES)[0], crc32c(view[:-CHECKSUM_BYTES])
    if stored != actual:
        raise Corrupt(f"chunk checksum {actual:08x}, expected {stored:08x}")
    return view[:-CHECKSUM_BYTES]


def with_checksum(packed: bytes) -> bytes:
    """An inner chunk as it is stored: `packed`, then its CRC32C, little-endian."""
    return b"".join((packed, _CRC.pack(crc32c(packed))))


def data_axes(codec: Codec) -> int:
    """How many axes a stream's `data` has."""
    return 1 if codec.stores_items else 1 + len(codec.entry.spec.shape)


def shard_chunks(codec: Codec) -> int:
    """Inner chunks in a full shard of a stream's `data`: about 32 MB raw, and an index of at most 256 KiB."""
    raw_bytes = BLOB_CHUNK_BYTES if codec.stores_items else codec.entry.spec.sample_bytes * codec.entry.chunk_rows
    return max(1, min(SHARD_BYTES // max(1, raw_bytes), MAX_SHARD_CHUNKS))


def chunk_key(index: int, ndim: int) -> str:
    """The file name of chunk or shard `index` along axis 0 of an array with `ndim` axes."""
    return ".".join(("c", str(index), *("0" for _ in range(ndim - 1))))


def pack_index(entries: Sequence[tuple[int, int]], length: int) -> bytes:
    """The index of a shard of `length` inner chunks, of which `entries` (offset, bytes) are there; with its CRC32C."""
    table = np.full((length, 2), ABSENT, "<u8")
    if entries:
        table[: len(entries)] = entries
    raw = table.tobytes()
    return raw + _CRC.pack(crc32c(raw))


def small_chunks(array: npt.NDArray[Any]) -> list[bytes]:
    """The files `c.0`, `c.1`, ... of a small array: whole chunks of up to a million rows, the last one padded."""
    if len(array) <= SMALL_CHUNK_ROWS:
        return [with_checksum(small_codec().encode(array))] if len(array) else []
    parts = [array[first : first + SMALL_CHUNK_ROWS] for first in range(0, len(array), SMALL_CHUNK_ROWS)]
    pad = SMALL_CHUNK_ROWS - len(parts[-1])
    parts[-1] = np.concatenate((parts[-1], np.zeros((pad, *array.shape[1:]), array.dtype)))  # that of all would be much
    return [with_checksum(small_codec().encode(part)) for part in parts]


def _array(shape: Sequence[int], chunk: Sequence[int], dtype: str, codecs: list[Json], names: Sequence[str]) -> Json:
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(shape),
        "data_type": dtype,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(chunk)}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
        "fill_value": False if dtype == "bool" else 0.0 if dtype.startswith("float") else 0,
        "codecs": codecs,
        "attributes": {},
        "dimension_names": list(names),
        "storage_transformers": [],
    }


def small_array(shape: tuple[int, ...], names: Sequence[str]) -> Json:
    """The document of an int64 array of stamps, offsets or probes."""
    chunk = (max(1, min(shape[0], SMALL_CHUNK_ROWS)), *shape[1:])
    return _array(shape, chunk, "int64", [*small_codec().pipeline, _CHECKSUM], names)


def data_array(codec: Codec, length: int, chunks: int, chunk_length: int) -> Json:
    """The document of a stream's `data`: sharded, `length` rows (bytes of a blob) in `chunks` inner chunks.

    `chunk_length` is the rows (bytes) of an inner chunk. An array that one shard holds has a shard of just its chunks.
    """
    spec = codec.entry.spec
    attributes: Json = {}
    if isinstance(codec, ChunkCodec):
        dtype, tail, names, pipeline = spec.dtype, spec.shape, ("sample", *_axes(spec)), codec.pipeline
        # CF's word for what says where its samples are: xarray makes these the coordinates of `data`
        attributes["coordinates"] = "captured_ns sensor_ns" if spec.has_sensor_ns else "captured_ns"
    else:
        dtype, tail, names, pipeline = "uint8", (), ("byte",), [_BYTES]
    per_shard = max(1, min(chunks, shard_chunks(codec)))
    sharding = {
        "chunk_shape": [chunk_length, *tail],
        "codecs": [*pipeline, _CHECKSUM],
        "index_codecs": [_BYTES, _CHECKSUM],
        "index_location": "end",
    }
    codecs = [{"name": "sharding_indexed", "configuration": sharding}]
    return _array((length, *tail), (per_shard * chunk_length, *tail), dtype, codecs, names) | {"attributes": attributes}


def _axes(spec: StreamSpec) -> list[str]:
    frame = {2: ["y", "x"], 3: ["y", "x", "channel"]}
    return frame.get(len(spec.shape)) or (
        ["channel"] if len(spec.shape) == 1 else [f"axis{i}" for i in range(len(spec.shape))]
    )


def group(attributes: Json, members: Mapping[str, Any] | None = None) -> Json:
    """The document of a group, with its members' documents consolidated into it where they are given.

    Those come first: they are alike in thousands of episodes, and what begins alike is deflated once.
    """
    document: Json = {"zarr_format": 3, "node_type": "group"}
    if members is not None:
        document["consolidated_metadata"] = {"kind": "inline", "must_understand": False, "metadata": dict(members)}
    document["attributes"] = attributes
    return document
