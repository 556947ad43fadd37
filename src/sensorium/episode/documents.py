"""The documents of an episode: the headers of its file's records, and the account of its samples.

They are msgpack maps in the file (docs/protocol.md) and JSON in the store (docs/store-format.md). Readers ignore
keys they do not know, so that a key may be added without a new format version.
"""

from typing import Annotated, Any, Literal

import msgspec

from sensorium.drivers.clock import Clock
from sensorium.drivers.stream import StreamSpec

FORMAT_VERSION = 1

MAX_WHY = 500
Why = Annotated[str, msgspec.Meta(max_length=MAX_WHY)]
MAX_TEXT = 1000
"""Letters of a text that says what an episode was recorded for, or under what terms: an ingest takes no longer one."""
Reason = Literal["complete", "interrupted", "truncated", "clock_reset"]
Origin = Literal["sensor", "simulator", "model", "human", "mixed"]
Kind = Literal["full", "trace", "preview"]
"""Of an episode: samples as captured, what was seen and decided, or a small picture of it."""
Counts = Annotated[dict[Annotated[str, msgspec.Meta(max_length=200)], int], msgspec.Meta(max_length=256)]
"""Samples by rule or cause; bounded where it is decoded, as a header may come from anyone."""
Label = Annotated[str, msgspec.Meta(max_length=200)] | int | float | bool
Labels = Annotated[dict[Annotated[str, msgspec.Meta(max_length=200)], Label], msgspec.Meta(max_length=128)]
"""What a source says of an episode of its own, by name."""
LABELS, OUTCOME, SCORES = "labels", "outcome", "scores"
"""The keys of SEAL's summary under which are the labels that were known at the end alone, and how it ended."""
PREVIEW_OF = "preview_of"
PROPOSAL = "proposal"
"""The key under which a commit record, and an episode's group, say of a preview what it is of."""
CodecName = Annotated[str, msgspec.Meta(max_length=100)]
"""The name of an entry point of the group `sensorium.codecs`; it is looked up where streams are opened."""


class Mission(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the episode was recorded for. `priority` orders delivery: the larger goes first."""

    name: str = "default"
    domain: str = ""
    priority: float = 1.0


class Provenance(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where the data comes from: `origin`, the episodes it was made from, and how many models stand between.

    Of a replay, `sources` tells by sensor which recording or world it plays, `source` is a digest of that: episodes of
    one source have it in common. `configuration` is one of the sensors', filters' and trigger's configuration.
    """

    origin: Origin = "sensor"
    parents: tuple[str, ...] = ()
    generation: int = 0
    licence: str = ""
    consent: str = ""
    source: str = ""
    sources: dict[str, Any] = {}
    configuration: str = ""


class Encoding(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How samples became bytes: the name of the codec, and what was chosen for it. `cname` and `clevel` are those of
    `lossless`, `quality` and `subsampling` those of JPEGs; any other codec has its own `settings`."""

    codec: CodecName = "lossless"
    cname: str = "zstd"
    clevel: int = 1
    quality: int = 0
    subsampling: str = ""
    settings: dict[str, Any] = {}


class Redaction(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was taken out of the samples of a stream before anything was made of them, once for each filter that did.

    `policy` is a digest of all that follows and of how it was done: where it differs, something else was taken out.
    `mask` is one of the fixed mask, empty if there is none; `detector` names what found the rest, `weights` the numbers
    that it was trained to. It looked at `max_hz` samples a second at most, at all of them where that is not given.
    """

    policy: str
    fill: str = ""
    mask: str = ""
    detector: str = ""
    weights: str = ""
    max_hz: float | None = None


class StreamEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One stream of an episode. `chunk_rows` is the rows of each inner chunk (1 for frames and for items)."""

    spec: StreamSpec
    encoding: Encoding
    chunk_rows: int
    redactions: Annotated[tuple[Redaction, ...], msgspec.Meta(max_length=64)] = ()


class Account(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of every captured sample of a stream: captured = stored + filtered + lost.

    `filtered` counts by rule, `lost` by cause. After a crash the count lost is `estimated`, and `lost_interval_ns`
    is where: from the last stored stamp to the last stamp that any stream of the episode shows.
    """

    captured: int = 0
    stored: int = 0
    filtered: Counts = {}
    lost: Counts = {}
    estimated: bool = False
    lost_interval_ns: tuple[int, int] | None = None

    @property
    def balances(self) -> bool:
        """Whether every captured sample is accounted for, none twice."""
        return self.captured == self.stored + sum(self.filtered.values()) + sum(self.lost.values())

    def as_dict(self) -> dict[str, Any]:
        """For JSON: captured, stored, filtered and lost are there even if they are nothing."""
        counts: dict[str, Any] = {
            "captured": self.captured,
            "stored": self.stored,
            "filtered": self.filtered,
            "lost": self.lost,
        }
        said: dict[str, Any] = msgspec.to_builtins(self)
        return counts | said


class BetweenTotals(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Running totals, per stream, of a spool's samples that are in no episode, since the spool was made.

    `numbers` says of each stream when its total changed last, counted over all streams; the largest is the latest.
    `openings` counts the OPENs that have told of a part.
    """

    numbers: dict[str, int] = {}
    streams: dict[str, Account] = {}
    openings: int = 0

    @property
    def number(self) -> int:
        """That of the latest change."""
        return max(self.numbers.values(), default=0)


class BetweenReport(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Some streams' running totals as told to others: what has the larger `number` is later, and wins."""

    number: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] = 0
    streams: dict[Annotated[str, msgspec.Meta(max_length=100)], Account] = {}


class PreviewOf(msgspec.Struct, frozen=True, kw_only=True):
    """Of which full episode of the same spool one is the preview; that has so many bytes."""

    episode: Annotated[str, msgspec.Meta(max_length=36)]
    ordinal: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
    bytes: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class Open(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """OPEN, record 0: the manifest. The interval is half-open, in the device's clock.

    `base_ns` is where the source's own time has its 0, if it said so: the stamps of the same, made again, are the same
    less their base.
    `between` accounts, per stream, for samples captured since the last episode that belong to none.
    `absent` says of sensors, by name, why they were not there; what streams they have is not known. `labels` are what
    the source said when it began. A preview says what it is the `preview_of`. `proposal`: by which plan it came to be.
    """

    version: int
    episode: bytes
    kind: Kind = "full"
    device: str
    spool_id: str
    ordinal: int
    start_ns: int
    end_ns: int
    base_ns: int | None = None
    mission: Mission
    clock: Clock
    streams: tuple[StreamEntry, ...]
    provenance: Provenance = Provenance()
    software: dict[str, str] = {}
    between: dict[str, Account] = {}
    absent: Annotated[dict[Annotated[str, msgspec.Meta(max_length=100)], Why], msgspec.Meta(max_length=256)] = {}
    labels: Labels = {}
    preview_of: PreviewOf | None = None
    proposal: Annotated[str, msgspec.Meta(max_length=100)] = ""


class Chunk(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """CHUNK: `len(captured_ns) / 8` rows of stream number `stream`; the payload is one inner chunk of `data`.

    Stamps are int64 little-endian. `captured`, `filtered`, `lost` are the stream's running counts in this episode.
    """

    stream: int
    first_row: int
    captured_ns: bytes
    captured: int
    sensor_ns: bytes = b""
    filtered: Counts = {}
    lost: Counts = {}


class Items(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """ITEMS: whole encoded media of stream number `stream`; the payload is their bytes, one after the other."""

    stream: int
    first_row: int
    captured_ns: bytes
    lengths: tuple[int, ...]
    captured: int
    sensor_ns: bytes = b""
    filtered: Counts = {}
    lost: Counts = {}


class Note(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """NOTE: a score, event, action or label, over the half-open span `start_ns` to `end_ns` where it has one."""

    kind: str
    name: str
    value: Any = None
    stream: str = ""
    start_ns: int | None = None
    end_ns: int | None = None


class Seal(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """SEAL, the last record: rows and account of every stream, by name, and the digest of all bytes before it.

    `digest` is BLAKE3 (32 bytes) of the file from its first byte to the byte before SEAL's magic.
    `end_ns` is where the episode really ended, if not where OPEN said; `recoveries` is how often the file was repaired
    after a crash or damage.
    """

    digest: bytes
    reason: Reason
    rows: dict[str, int]
    account: dict[str, Account]
    summary: dict[str, Any] = {}
    end_ns: int | None = None
    recoveries: int = 0
