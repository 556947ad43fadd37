"""What completes an episode beside its shards: stamps, offsets, probes, the Zarr documents, and the commit record."""

import functools
import time
import zlib
from typing import Any, Literal
from weakref import WeakKeyDictionary

import msgspec
import numpy as np

from sensorium.corpus.commits import (
    LOOSE_VERSION,
    ZIP_VERSION,
    CommitRecord,
    StreamSummary,
    catalog_row,
    media_type,
)
from sensorium.corpus.utc import Probes
from sensorium.episode.codecs.contract import Codec
from sensorium.episode.documents import Open, Seal
from sensorium.episode.layout import chunk_key, data_array, group, small_array, small_chunks
from sensorium.errors import Corrupt
from sensorium.ingest.assembly import Assembly, StreamIn, stamps_of

Files = dict[str, bytes]


def group_files(assembly: Assembly, identity: str, interval_ns: tuple[int, int], probes: Probes, version: int) -> Files:
    """The small files of an episode by path under its folder, once its shards are finished; `version` is its form's.

    Raises:
        Corrupt: the episode has not come to its SEAL.
    """
    manifest, seal = assembly.manifest, assembly.seal
    if manifest is None or seal is None:
        raise Corrupt(f"episode {assembly.episode}: {assembly.accepted} bytes end before SEAL")
    files: Files = {}
    members: dict[str, msgspec.Raw] = {}
    for stream in assembly.streams:
        _stream_files(stream, seal, files, members)
    _small(files, members, "clock", probes, ("probe", "value"))
    for path, document in members.items():
        files[f"{path}/zarr.json"] = bytes(document)
    attributes = {"format_version": version, **_attributes(assembly, manifest, seal, identity, interval_ns)}
    files["zarr.json"] = msgspec.json.encode(group({"sensorium": attributes}, members))
    return files


Objects = dict[str, tuple[int, int]]


def objects_of(assembly: Assembly, files: Files) -> Objects:
    """Size and CRC-32 of all that an episode is, its small `files` and its shards, by path under its folder."""
    objects = {path: (len(data), zlib.crc32(data)) for path, data in files.items()}
    return objects | {shard.name: (shard.size, shard.crc) for shard in assembly.files}


def commit_record(
    assembly: Assembly,
    manifest: Open,
    seal: Seal,
    interval_ns: tuple[int, int],
    identity: str,
    probes: Probes,
    objects: Objects,
    zipped: Objects | None = None,
) -> CommitRecord:
    """The record that commits an episode now; `objects` are those of its group, `zipped` is what holds them."""
    held = dict.fromkeys((stream.entry.spec.name for stream in assembly.streams), 0)
    for path, (size, _) in objects.items():
        name = path.partition("/")[0]
        if name in held:
            held[name] += size
    summaries = {stream.entry.spec.name: _summary(stream, held[stream.entry.spec.name]) for stream in assembly.streams}
    stands = objects if zipped is None else zipped
    size = sum(size for size, _ in stands.values())
    form: Literal["loose", "zip"] = "loose" if zipped is None else "zip"
    return CommitRecord(
        format_version=LOOSE_VERSION if zipped is None else ZIP_VERSION,
        row=catalog_row(manifest, seal, interval_ns, identity, probes, time.time_ns(), size, form),
        streams=summaries,
        account=seal.account,
        objects=stands,
    )


def _summary(stream: StreamIn, size: int) -> StreamSummary:
    spec = stream.entry.spec
    return StreamSummary(
        modality=spec.modality,
        dtype=spec.dtype,
        shape=spec.shape,
        rate_hz=spec.rate_hz,
        media_type=media_type(stream.codec),
        rows=stream.rows,
        bytes=size,
        redactions=stream.entry.redactions,
    )


def _stream_files(stream: StreamIn, seal: Seal, files: Files, members: dict[str, msgspec.Raw]) -> None:
    entry = stream.entry
    name = entry.spec.name
    about = {
        "spec": entry.spec,
        "encoding": entry.encoding,
        "chunk_rows": entry.chunk_rows,
        "media_type": media_type(stream.codec),
        "account": seal.account[name],
        **({"redactions": entry.redactions} if entry.redactions else {}),
    }
    members[name] = msgspec.Raw(msgspec.json.encode(group({"sensorium": about})))
    length = stream.sink.blob_bytes if stream.codec.stores_items else stream.rows
    members[f"{name}/data"] = _data_document(stream.codec, length, stream.sink.shards.chunks, stream.sink.chunk_length)
    _small(files, members, f"{name}/captured_ns", stamps_of(stream.captured_ns), ("sample",))
    if entry.spec.has_sensor_ns:
        _small(files, members, f"{name}/sensor_ns", stamps_of(stream.sensor_ns), ("sample",))
    if stream.codec.stores_items:
        offsets = np.concatenate(([0], np.cumsum(stream.lengths, dtype=np.int64))).astype(np.int64)
        _small(files, members, f"{name}/offset", offsets, ("item",))


# Thousands of small episodes have the same few of these. What a codec has goes with it, or whoever sends entries that
# are large and never the same would have them all kept here.
_DOCUMENTS = 64
_data_documents: "WeakKeyDictionary[Codec, dict[tuple[int, int, int], msgspec.Raw]]" = WeakKeyDictionary()


def _data_document(codec: Codec, length: int, chunks: int, chunk_length: int) -> msgspec.Raw:
    made = _data_documents.get(codec)
    if made is None:
        made = _data_documents[codec] = {}
    document = made.get((length, chunks, chunk_length))
    if document is None:
        if len(made) >= _DOCUMENTS:
            made.clear()
        document = msgspec.Raw(msgspec.json.encode(data_array(codec, length, chunks, chunk_length)))
        if _DOCUMENTS:
            made[length, chunks, chunk_length] = document
    return document


@functools.lru_cache(1024)
def _small_document(shape: tuple[int, ...], names: tuple[str, ...]) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(small_array(shape, names)))


def _small(files: Files, members: dict[str, msgspec.Raw], path: str, array: Probes, names: tuple[str, ...]) -> None:
    members[path] = _small_document(array.shape, names)
    for index, chunk in enumerate(small_chunks(array)):
        files[f"{path}/{chunk_key(index, array.ndim)}"] = chunk


def _attributes(
    assembly: Assembly, manifest: Open, seal: Seal, identity: str, interval_ns: tuple[int, int]
) -> dict[str, Any]:
    return {
        "episode": str(assembly.episode),
        **({"kind": manifest.kind} if manifest.kind != "full" else {}),
        "device": manifest.device,
        "identity": identity,
        "spool_id": manifest.spool_id,
        "ordinal": manifest.ordinal,
        "mission": manifest.mission,
        "clock": manifest.clock,
        "provenance": manifest.provenance,
        "software": manifest.software,
        "start_ns": interval_ns[0],
        "end_ns": interval_ns[1],
        "reason": seal.reason,
        "digest": seal.digest.hex(),
        "recoveries": seal.recoveries,
        "summary": seal.summary,
        "account": seal.account,
        "between": manifest.between,
        **({"absent": manifest.absent} if manifest.absent else {}),
        "notes": assembly.notes,
    }
