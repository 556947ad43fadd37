"""The ZIP and the commit record of an episode that was read at once: what many have in common is made once."""

import functools
import struct
import zlib
from itertools import accumulate

import msgspec
import numpy as np
from crc32c import crc32c

from sensorium.corpus.commits import ZIP_VERSION, CommitRecord, StreamSummary
from sensorium.corpus.extent import Extent
from sensorium.corpus.utc import Probes
from sensorium.episode.layout import chunk_key, data_axes, group, small_chunks
from sensorium.episode.zip_form import DOCUMENT, BegunDocument, ZipFrame, document
from sensorium.ingest.alike import Shape, StreamAlike
from sensorium.ingest.at_once import AtOnce, StreamAtOnce
from sensorium.ingest.episode_group import (
    DataExtent,
    attributes_of,
    probes_document,
    record_of,
    stream_documents,
    summary_of,
)

_KEPT = 64
_plans: "dict[tuple[Shape, int], Plan]" = {}
"""By shape, and how many time probes there are; one is of some 100 kB."""

Varying = tuple[bytes, int, int]
"""Of a member: its bytes as they stand in the ZIP, and size and CRC-32 of its content."""


class Plan:
    """The ZIPs of one shape, but for what each episode has of its own: of each stream that has rows the chunks of its
    stamps and of its data, those of the probes, the root."""

    def __init__(self, shape: Shape, probes: int) -> None:
        documents: dict[str, msgspec.Raw] = {}
        varying: list[str] = []
        self.summaries: list[StreamSummary] = []
        for stream, rows in zip(shape.streams.streams, shape.rows, strict=True):
            extent = DataExtent(rows, -(-rows // stream.chunk_rows), stream.chunk_rows)
            own = stream_documents(stream.codec, shape.account[stream.name], rows, extent)
            self.summaries.append(summary_of(stream.codec, rows, sum([len(bytes(each)) for each in own.values()])))
            documents |= own
            varying += _chunks_of(stream) if rows else []
        documents["clock"] = probes_document(probes)
        varying += ["clock/c.0.0"] if probes else []
        fixed = [document(f"{path}/{DOCUMENT}", bytes(content)) for path, content in documents.items()]
        self.frame = ZipFrame(fixed, [*varying, DOCUMENT])
        self.root = BegunDocument(msgspec.json.encode(group({}, documents)).removesuffix(b"{}}") + b'{"sensorium":')


def made(read: AtOnce, identity: str, extent: Extent, probes: Probes, name: str) -> tuple[bytes, CommitRecord]:
    """The ZIP `name` of an episode, and the record that commits it now."""
    plan = _plan_of(read.shape, len(probes))
    varying: list[Varying] = []
    summaries: dict[str, StreamSummary] = {}
    stamps: dict[bytes, Varying] = {b"": (b"", 0, 0)}
    for stream, summary in zip(read.streams, plan.summaries, strict=True):
        own = _members(stream, stamps) if stream.rows else []
        size = summary.bytes + sum([content_bytes for _, content_bytes, _ in own])
        summaries[stream.alike.name] = msgspec.structs.replace(summary, bytes=size)
        varying += own
    if len(probes):
        varying += [_stored(chunk) for chunk in small_chunks(probes)]
    attributes = attributes_of(read.manifest, read.seal, identity, extent, read.notes, ZIP_VERSION)
    varying.append(plan.root.ended(msgspec.json.encode(attributes) + b"}}"))
    data = plan.frame.file(varying)
    stands = {name: (len(data), zlib.crc32(data))}
    return data, record_of(read.manifest, read.seal, read.notes, extent, identity, probes, summaries, stands, "zip")


def _plan_of(shape: Shape, probes: int) -> Plan:
    if (plan := _plans.get((shape, probes))) is None:
        if len(_plans) >= _KEPT:
            _plans.clear()
        plan = _plans[shape, probes] = Plan(shape, probes)
    return plan


def _chunks_of(stream: StreamAlike) -> list[str]:
    """The names of what `_members` makes."""
    sensor_ns = [f"{stream.name}/sensor_ns/c.0"] if stream.sensor_bytes else []
    return [f"{stream.name}/captured_ns/c.0", *sensor_ns, f"{stream.name}/data/{chunk_key(0, data_axes(stream.codec))}"]


def _members(stream: StreamAtOnce, stamps: dict[bytes, Varying]) -> list[Varying]:
    """The chunks of a stream that has rows; of `stamps` that another stream has too there is one chunk already."""
    members = []
    for raw in (stream.captured_ns, stream.sensor_ns):
        if raw not in stamps:
            stamps[raw] = _stored(small_chunks(np.frombuffer(raw, "<i8"))[0])
        if raw:
            members.append(stamps[raw])
    return [*members, _stored(_shard(stream.chunks))]


def _shard(chunks: list[memoryview]) -> bytes:
    """The inner chunks, and the index behind them."""
    return b"".join((*chunks, _index(*map(len, chunks))))


@functools.lru_cache(1024)
def _index(*sizes: int) -> bytes:
    """Where chunks of so many bytes stand: of rows of one kind many are as long as others were."""
    places = [number for entry in zip(accumulate(sizes, initial=0), sizes, strict=False) for number in entry]
    index = struct.pack(f"<{len(places)}Q", *places)
    return index + struct.pack("<I", crc32c(index))


def _stored(content: bytes) -> Varying:
    return content, len(content), zlib.crc32(content)
