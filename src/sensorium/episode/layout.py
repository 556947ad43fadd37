"""The bytes and documents of an episode in Zarr v3: inner chunks, array and group documents (docs/store-format.md)."""

import functools
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from crc32c import crc32c
from numcodecs import blosc

from sensorium.drivers.stream import StreamSpec
from sensorium.episode.codecs.contract import Buffer, Json
from sensorium.episode.codecs.lossless import Lossless
from sensorium.episode.documents import Encoding, StreamEntry
from sensorium.errors import Corrupt

# Blosc's own threads are one pool a process, behind a lock; without them every caller's thread compresses for itself.
blosc.use_threads = False

SHARD_BYTES = 32 << 20
BLOB_CHUNK_BYTES = 256 << 10
MAX_SHARD_CHUNKS = 16384
SMALL_CHUNK_ROWS = 1 << 20
CHECKSUM_BYTES = 4
ABSENT = 2**64 - 1

COMPRESSORS = {"lz4": 1, "zstd": 4}
_BLOSC_HEADER = struct.Struct("<BBBBIII")
_BLOSC_VERSION = 2
_CRC = struct.Struct("<I")
_SMALL = Encoding(cname="zstd", clevel=1)


def encode_chunk(rows: npt.NDArray[Any], encoding: Encoding) -> bytes:
    """One inner chunk: `rows` [chunk_rows, *shape], C order, padded by the caller; blosc, then CRC32C little-endian."""
    packed = blosc.compress(np.ascontiguousarray(rows), encoding.cname.encode(), encoding.clevel, blosc.BITSHUFFLE, 0)
    return b"".join((packed, _CRC.pack(crc32c(packed))))


def check_blosc_header(head: Buffer, encoded_bytes: int, dtype: str, raw_bytes: int, cname: str) -> None:
    """Raise `Corrupt` unless `head` (16 bytes) begins a bitshuffled Blosc buffer of just these sizes.

    Readers believe this header, and ignore a wrong typesize, so it is checked before a byte is kept or decoded.
    """
    version, _, flags, typesize, nbytes, blocksize, cbytes = _BLOSC_HEADER.unpack_from(head)
    got = (version, typesize, nbytes, cbytes, flags >> 5)
    expected = (_BLOSC_VERSION, np.dtype(dtype).itemsize, raw_bytes, encoded_bytes, COMPRESSORS[cname])
    if got != expected or not 0 < blocksize <= max(raw_bytes, 1) or flags & 0x1:
        raise Corrupt(f"blosc header (version, item, raw, packed, codec) is {got}, expected {expected}")


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


def chunk_raw_bytes(entry: StreamEntry) -> int:
    """Raw bytes of one inner chunk of a stream's `data`."""
    return BLOB_CHUNK_BYTES if entry.is_blob else entry.spec.sample_bytes * entry.chunk_rows


def shard_chunks(entry: StreamEntry) -> int:
    """Inner chunks in a full shard: about 32 MB raw, and an index of at most 256 KiB."""
    return max(1, min(SHARD_BYTES // max(1, chunk_raw_bytes(entry)), MAX_SHARD_CHUNKS))


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
    pad = -len(array) % SMALL_CHUNK_ROWS
    padded = np.concatenate((array, np.zeros((pad, *array.shape[1:]), array.dtype)))
    parts = padded.reshape(-1, SMALL_CHUNK_ROWS, *array.shape[1:])
    return [with_checksum(small_codec().encode(part)) for part in parts]


def _codecs(itemsize: int, encoding: Encoding | None) -> list[Json]:
    steps: list[Json] = [{"name": "bytes", "configuration": {"endian": "little"}}]
    if encoding is not None:
        settings = {
            "typesize": itemsize,
            "cname": encoding.cname,
            "clevel": encoding.clevel,
            "shuffle": "bitshuffle",
            "blocksize": 0,
        }
        steps.append({"name": "blosc", "configuration": settings})
    return [*steps, {"name": "crc32c"}]


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
    return _array(shape, chunk, "int64", _codecs(8, _SMALL), names)


def data_array(entry: StreamEntry, length: int, chunks: int, chunk_length: int) -> Json:
    """The document of a stream's `data`: sharded, `length` rows (bytes of a blob) in `chunks` inner chunks.

    `chunk_length` is the rows (bytes) of an inner chunk. An array that one shard holds has a shard of just its chunks.
    """
    spec = entry.spec
    tail = () if entry.is_blob else spec.shape
    names = ("byte",) if entry.is_blob else ("sample", *_axes(spec))
    dtype = "uint8" if entry.is_blob else spec.dtype
    per_shard = max(1, min(chunks, shard_chunks(entry)))
    sharding = {
        "chunk_shape": [chunk_length, *tail],
        "codecs": _codecs(np.dtype(dtype).itemsize, None if entry.is_blob else entry.encoding),
        "index_codecs": _codecs(8, None),
        "index_location": "end",
    }
    codecs = [{"name": "sharding_indexed", "configuration": sharding}]
    return _array((length, *tail), (per_shard * chunk_length, *tail), dtype, codecs, names)


def _axes(spec: StreamSpec) -> list[str]:
    frame = {2: ["y", "x"], 3: ["y", "x", "channel"]}
    return frame.get(len(spec.shape)) or (
        ["channel"] if len(spec.shape) == 1 else [f"axis{i}" for i in range(len(spec.shape))]
    )


def group(attributes: Json, members: Mapping[str, Json] | None = None) -> Json:
    """The document of a group, with its members' documents consolidated into it where they are given."""
    document: Json = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
    if members is not None:
        document["consolidated_metadata"] = {"kind": "inline", "must_understand": False, "metadata": dict(members)}
    return document
