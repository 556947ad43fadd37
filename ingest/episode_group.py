"""What completes an episode beside its shards: stamps, offsets, probes, the Zarr documents, and the commit record."""

import functools
import time
import uuid
import zlib
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple
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
from sensorium.corpus.extent import Extent
from sensorium.corpus.utc import Probes
from sensorium.episode.codecs.contract import Codec
from sensorium.episode.documents import PREVIEW_OF, PROPOSAL, SCORES, Account, Open, Seal
from sensorium.episode.layout import chunk_key, data_array, group, small_array, small_chunks
from sensorium.errors import Corrupt
from sensorium.ingest.assembly import Assembly, StreamIn, stamps_of
from sensorium.ingest.catalogued import events_of, health_of, scores_of

Files = dict[str, bytes]
Members = dict[str, msgspec.Raw]
"""The documents of an episode's groups and arrays, by path under its folder."""


def group_files(assembly: Assembly, identity: str, extent: Extent, probes: Probes, version: int) -> Files:
    """The small files of an episode by path under its folder, once its shards are finished; `version` is its form's.

    Raises:
        Corrupt: the episode has not come to its SEAL.
    """
    manifest, seal = assembly.manifest, assembly.seal
    if manifest is None or seal is None:
        raise Corrupt(f"episode {assembly.episode}: {assembly.accepted} bytes end before SEAL")
    files: Files = {}
    members: Members = {}
    for stream in assembly.streams:
        _stream_files(stream, seal, files, members)
    members["clock"] = probes_document(len(probes))
    _small(files, "clock", probes)
    for path, document in members.items():
        files[f"{path}/zarr.json"] = bytes(document)
    attributes = attributes_of(manifest, seal, identity, extent, assembly.notes, version)
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
    extent: Extent,
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
    pairs = zip(held, assembly.streams, strict=True)
    summaries = {name: summary_of(stream.codec, stream.rows, held[name]) for name, stream in pairs}
    stands = objects if zipped is None else zipped
    form: Literal["loose", "zip"] = "loose" if zipped is None else "zip"
    return record_of(manifest, seal, assembly.notes, extent, identity, probes, summaries, stands, form)


def record_of(
    manifest: Open,
    seal: Seal,
    notes: Sequence[msgspec.Raw],
    extent: Extent,
    identity: str,
    probes: Probes,
    summaries: dict[str, StreamSummary],
    stands: Objects,
    form: Literal["loose", "zip"],
) -> CommitRecord:
    """The record that commits an episode, now, as the files that it `stands` in."""
    size = sum([size for size, _ in stands.values()])
    if "health" in seal.summary or SCORES in seal.summary:
        for name, summary in summaries.items():
            health, scores = health_of(seal.summary, name), scores_of(seal.summary, name)
            if health or scores:
                summaries[name] = msgspec.structs.replace(summary, health=health, scores=scores)
    return CommitRecord(
        format_version=LOOSE_VERSION if form == "loose" else ZIP_VERSION,
        row=catalog_row(manifest, seal, extent, identity, probes, time.time_ns(), size, form),
        streams=summaries,
        account=seal.account,
        objects=stands,
        events=events_of(notes) if manifest.kind == "full" else {},
    )


def summary_of(codec: Codec, rows: int, size: int) -> StreamSummary:
    """What the catalog says of a stream of so many rows, whose members are of so many bytes."""
    spec = codec.entry.spec
    return StreamSummary(
        modality=spec.modality,
        dtype=spec.dtype,
        shape=spec.shape,
        rate_hz=spec.rate_hz,
        media_type=media_type(codec),
        rows=rows,
        bytes=size,
        redactions=codec.entry.redactions,
    )


def _stream_files(stream: StreamIn, seal: Seal, files: Files, members: Members) -> None:
    name, rows, codec = stream.entry.spec.name, stream.rows, stream.codec
    length = stream.sink.blob_bytes if codec.stores_items else rows
    members |= stream_documents(
        codec, seal.account[name], rows, DataExtent(length, stream.sink.shards.chunks, stream.sink.chunk_length)
    )
    _small(files, f"{name}/captured_ns", stamps_of(stream.captured_ns))
    if stream.entry.spec.has_sensor_ns:
        _small(files, f"{name}/sensor_ns", stamps_of(stream.sensor_ns))
    if codec.stores_items:
        offsets = np.concatenate(([0], np.cumsum(stream.lengths, dtype=np.int64))).astype(np.int64)
        _small(files, f"{name}/offset", offsets)


class DataExtent(NamedTuple):
    """Rows (bytes of a blob) of a stream's `data`, its inner chunks, and rows (bytes) of each."""

    length: int
    chunks: int
    chunk_length: int


def stream_documents(codec: Codec, account: Account, rows: int, data: DataExtent) -> Members:
    """The documents of a stream's group and of its arrays, by path under the episode's folder."""
    entry = codec.entry
    name = entry.spec.name
    about = {
        "spec": entry.spec,
        "encoding": entry.encoding,
        "chunk_rows": entry.chunk_rows,
        "media_type": media_type(codec),
        "account": account,
        **({"redactions": entry.redactions} if entry.redactions else {}),
    }
    documents = {
        name: msgspec.Raw(msgspec.json.encode(group({"sensorium": about}))),
        f"{name}/data": _data_document(codec, data),
        f"{name}/captured_ns": _small_document((rows,), ("sample",)),
    }
    if entry.spec.has_sensor_ns:
        documents[f"{name}/sensor_ns"] = _small_document((rows,), ("sample",))
    if codec.stores_items:
        documents[f"{name}/offset"] = _small_document((rows + 1,), ("item",))
    return documents


# Thousands of small episodes have the same few of these. What a codec has goes with it, or whoever sends entries that
# are large and never the same would have them all kept here.
_DOCUMENTS = 64
_data_documents: "WeakKeyDictionary[Codec, dict[DataExtent, msgspec.Raw]]" = WeakKeyDictionary()


def _data_document(codec: Codec, extent: DataExtent) -> msgspec.Raw:
    made = _data_documents.get(codec)
    if made is None:
        made = _data_documents[codec] = {}
    document = made.get(extent)
    if document is None:
        if len(made) >= _DOCUMENTS:
            made.clear()
        document = msgspec.Raw(msgspec.json.encode(data_array(codec, *extent)))
        if _DOCUMENTS:
            made[extent] = document
    return document


def probes_document(probes: int) -> msgspec.Raw:
    """The document of so many time probes."""
    return _small_document((probes, 3), ("probe", "value"))


@functools.lru_cache(1024)
def _small_document(shape: tuple[int, ...], names: tuple[str, ...]) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(small_array(shape, names)))


def _small(files: Files, path: str, array: Probes) -> None:
    for index, chunk in enumerate(small_chunks(array)):
        files[f"{path}/{chunk_key(index, array.ndim)}"] = chunk


def attributes_of(
    manifest: Open,
    seal: Seal,
    identity: str,
    extent: Extent,
    notes: Sequence[msgspec.Raw],
    version: int,
) -> dict[str, Any]:
    """What the group of an episode, whose form is of `version`, says of it."""
    return {
        "format_version": version,
        "episode": str(uuid.UUID(bytes=manifest.episode)),
        **({"kind": manifest.kind} if manifest.kind != "full" else {}),
        **({PREVIEW_OF: msgspec.to_builtins(manifest.preview_of)} if manifest.preview_of is not None else {}),
        **({PROPOSAL: manifest.proposal} if manifest.proposal else {}),
        "device": manifest.device,
        "identity": identity,
        "spool_id": manifest.spool_id,
        "ordinal": manifest.ordinal,
        "mission": manifest.mission,
        "clock": manifest.clock,
        "provenance": manifest.provenance,
        "software": manifest.software,
        "start_ns": extent[0],
        "end_ns": extent[1],
        **({} if manifest.base_ns is None else {"base_ns": manifest.base_ns}),
        "reason": seal.reason,
        "digest": seal.digest.hex(),
        "recoveries": seal.recoveries,
        "summary": seal.summary,
        "account": seal.account,
        "between": manifest.between,
        **({"absent": manifest.absent} if manifest.absent else {}),
        **({"labels": manifest.labels} if manifest.labels else {}),
        "notes": notes,
    }
