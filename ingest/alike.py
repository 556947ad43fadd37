"""What small episodes have in common: read, checked and made once for thousands that differ in their samples alone.

A device that records rollouts says the same in each but for an id and some numbers, and its streams' documents are the
same text. What is kept is found by the very bytes that said it, and is bounded, as they come from anyone.
"""

import uuid
from dataclasses import dataclass, field
from typing import Annotated, NamedTuple, TypeVar

import msgspec

from sensorium.episode.codecs.contract import ChunkCodec, Codec
from sensorium.episode.documents import FORMAT_VERSION, Account, Labels, Open, PreviewOf, Seal
from sensorium.episode.layout import shard_chunks
from sensorium.errors import PeerViolation
from sensorium.ingest.admission import INT64, MAX_NS, check_labels, check_open, check_seal

_KEPT = 128
_KEPT_BYTES = 16 << 10
"""Of what said it; decoded it may be some times as much."""

_NOTHING = msgspec.Raw(b"")


class _Opening(msgspec.Struct, frozen=True, kw_only=True):
    """`Open`, of which only what each episode has of its own is decoded."""

    version: int
    episode: bytes
    ordinal: int
    start_ns: int
    end_ns: int
    base_ns: int | None = None
    streams: msgspec.Raw
    kind: msgspec.Raw = _NOTHING
    device: msgspec.Raw = _NOTHING
    spool_id: msgspec.Raw = _NOTHING
    mission: msgspec.Raw = _NOTHING
    clock: msgspec.Raw = _NOTHING
    provenance: msgspec.Raw = _NOTHING
    software: msgspec.Raw = _NOTHING
    between: msgspec.Raw = _NOTHING
    absent: msgspec.Raw = _NOTHING
    labels: Labels = {}
    preview_of: PreviewOf | None = None
    proposal: Annotated[str, msgspec.Meta(max_length=100)] = ""


class _Sealing(msgspec.Struct, frozen=True, kw_only=True):
    """`Seal`, likewise."""

    digest: bytes
    end_ns: int | None = None
    recoveries: int = 0
    reason: msgspec.Raw = _NOTHING
    rows: msgspec.Raw = _NOTHING
    account: msgspec.Raw = _NOTHING
    summary: msgspec.Raw = _NOTHING


_decode_opening = msgspec.msgpack.Decoder(_Opening).decode
_decode_open = msgspec.msgpack.Decoder(Open).decode
_decode_sealing = msgspec.msgpack.Decoder(_Sealing).decode
_decode_seal = msgspec.msgpack.Decoder(Seal).decode

_K = TypeVar("_K")
_T = TypeVar("_T")


class StreamAlike(NamedTuple):
    """One stream of chunks: its codec, and what of that is asked of every chunk."""

    name: str
    codec: ChunkCodec
    chunk_rows: int
    per_shard: int
    head_bytes: int
    max_bytes: int
    sensor_bytes: int
    heads: dict[bytes, int]
    """Of payloads whose head the codec has found right: their size, by the head."""

    @classmethod
    def of(cls, codec: ChunkCodec) -> "StreamAlike":
        entry = codec.entry
        sensor_bytes = 8 if entry.spec.has_sensor_ns else 0
        return cls(
            entry.spec.name,
            codec,
            entry.chunk_rows,
            shard_chunks(codec),
            codec.head_bytes,
            codec.max_bytes,
            sensor_bytes,
            {},
        )

    def check(self, payload: memoryview, size: int) -> None:
        """Raise `Corrupt` unless a payload of `size` bytes, less its checksum, begins as it must.

        What a codec says of the same head and size is the same, and of most there were others that began so."""
        head = bytes(payload[: self.head_bytes])
        if self.heads.get(head) != size:
            self.codec.check(head, size)
            _keep(self.heads, head, size, len(head))


@dataclass(frozen=True, eq=False)
class StreamsAlike:
    """The streams that OPEN names; episodes of the same have the same one of these."""

    streams: list[StreamAlike]
    names: list[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", [stream.name for stream in self.streams])


@dataclass(frozen=True, eq=False)
class Shape:
    """How many rows each of the `streams` has, and what SEAL accounts for: all that their documents say."""

    streams: StreamsAlike
    rows: list[int]
    account: dict[str, Account]


_streams: dict[bytes, StreamsAlike] = {}
_opens: dict[tuple[bytes, ...], tuple[Open, StreamsAlike]] = {}
_shapes: dict[tuple[StreamsAlike, bytes], Shape] = {}
_seals: dict[tuple[StreamsAlike, *tuple[bytes, ...]], tuple[Seal, Shape]] = {}


def opened(head: memoryview, episode: uuid.UUID) -> tuple[Open, StreamsAlike] | None:
    """The OPEN of `episode`, checked, and its streams; None if one of those is of items.

    Raises:
        PeerViolation, MsgspecError: it is not one.
    """
    this = _decode_opening(head)
    said = (this.kind, this.device, this.spool_id, this.mission, this.clock, this.provenance, this.software)
    key = tuple([bytes(part) for part in (*said, this.between, this.absent, this.streams)])
    if (known := _opens.get(key)) is None:
        manifest = _decode_open(head)
        if (streams := _streams_of(key[-1], check_open(manifest, episode))) is None:
            return None
        _keep(_opens, key, (manifest, streams), len(head))
        return manifest, streams
    if this.version != FORMAT_VERSION or this.episode != episode.bytes:
        raise PeerViolation(f"episode {episode}: OPEN of another, or of another version")
    if not 0 <= this.ordinal < INT64 or not -MAX_NS <= this.start_ns <= this.end_ns <= MAX_NS:
        raise PeerViolation(f"episode {episode}: its ordinal or interval is out of range")
    if not -MAX_NS <= (this.base_ns or 0) <= MAX_NS:
        raise PeerViolation(f"episode {episode}: its source's time begins at {this.base_ns} ns")
    check_labels(this.labels)
    manifest, streams = known
    names = ("episode", "ordinal", "start_ns", "end_ns", "base_ns", "labels", "preview_of", "proposal")
    own = {name: getattr(this, name) for name in names}
    return msgspec.structs.replace(manifest, **own), streams


def sealed(head: memoryview, streams: StreamsAlike, rows: list[int]) -> tuple[Seal, Shape]:
    """The SEAL of an episode of so many `rows`, checked but for its digest, and the shape of the episode.

    Raises:
        PeerViolation, MsgspecError: it is not one.
    """
    this = _decode_sealing(head)
    account = bytes(this.account)
    key = (streams, account, bytes(this.reason), bytes(this.rows), bytes(this.summary))
    if (known := _seals.get(key)) is None:
        seal = _decode_seal(head)
        check_seal(seal, dict(zip(streams.names, rows, strict=True)), gap=False)
        shape = _shape_of(streams, account, rows, seal)
        _keep(_seals, key, (seal, shape), len(head))
        return seal, shape
    seal, shape = known
    if shape.rows != rows or not 0 <= this.recoveries < INT64 or not -MAX_NS <= (this.end_ns or 0) <= MAX_NS:
        raise PeerViolation(f"SEAL says rows {seal.rows}, {rows} came; or its counts are out of range")
    own = {"digest": this.digest, "end_ns": this.end_ns, "recoveries": this.recoveries}
    return msgspec.structs.replace(seal, **own), shape


def _streams_of(raw: bytes, codecs: list[Codec]) -> StreamsAlike | None:
    if (known := _streams.get(raw)) is not None:
        return known
    chunked = [StreamAlike.of(codec) for codec in codecs if isinstance(codec, ChunkCodec)]
    if len(chunked) < len(codecs):
        return None
    made = StreamsAlike(chunked)
    _keep(_streams, raw, made, len(raw))
    return made


def _shape_of(streams: StreamsAlike, account: bytes, rows: list[int], seal: Seal) -> Shape:
    """By streams and account alone: what that says is stored is what came."""
    if (known := _shapes.get((streams, account))) is None:
        known = Shape(streams, rows, seal.account)
        _keep(_shapes, (streams, account), known, len(account))
    return known


def _keep(kept: dict[_K, _T], key: _K, value: _T, size: int) -> None:
    if size <= _KEPT_BYTES:
        if len(kept) >= _KEPT:
            kept.clear()
        kept[key] = value
