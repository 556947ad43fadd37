"""The commit record: one JSON file that says an episode is in the store, with all that the catalog knows of it."""

import contextlib
import functools
import json
import re
import uuid
from collections.abc import Iterator, Set
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np

from sensorium.corpus.extent import Extent
from sensorium.corpus.utc import Probes, is_known, utc_of
from sensorium.drivers.clock import Clock
from sensorium.episode import durable
from sensorium.episode.account import summed
from sensorium.episode.codecs.contract import Codec
from sensorium.episode.documents import (
    LABELS,
    OUTCOME,
    PREVIEW_OF,
    PROPOSAL,
    Account,
    Kind,
    Labels,
    Open,
    Redaction,
    Seal,
)
from sensorium.episode.trace_row import JUDGED_S, OTHER, REASONS
from sensorium.episode.utc_text import utc_text
from sensorium.episode.value import Worth
from sensorium.errors import Corrupt, PeerViolation, StoreError

EPISODES, COMMITS = "episodes.zarr", "commits"
WRITER_LOCK = ".lock"
"""Whoever writes a store has it locked."""
ZIP = ".zip"
_RECORD = ".json"
DELETED = ".deleted"
"""How the name of a tombstone ends (`sensorium.corpus.deletions`)."""
_ID = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_LAST = "e677d21fdbff"
"""The last millisecond of the year 9999, as a UUIDv7 has it."""
_MOST_S = 1e12
_INT64 = 1 << 63
_MONTH = re.compile("[0-9]{4}-[0-9]{2}")
_DAY_MS = 86_400_000
LOOSE_VERSION, ZIP_VERSION = 1, 2
"""Of a commit record: by the second the episode is one ZIP. A store in which there is one has that version too."""


class StreamSummary(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the catalog says of a stream. `shape` is that of one sample; `bytes` are its files'; `health` is what the
    device found of it, in numbers (`sensorium.episode.store_terms` names them), `scores` what its filters annotated."""

    modality: str
    dtype: str
    shape: tuple[int, ...]
    rate_hz: float | None
    media_type: str
    rows: int
    bytes: int
    redactions: tuple[Redaction, ...] = ()
    health: dict[str, float] = {}
    scores: dict[str, float] = {}


class CommitRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An episode that is committed. `row` holds the catalog's columns by name; `objects` has, for each file under the
    episode's folder, its size in bytes and CRC-32 (zlib's: the CRC32C of bytes that end in their own is constant).
    `events` counts its notes by kind and name.

    Of one that is `zipped` the only object is its ZIP, by its name beside which the folder would be.
    """

    format_version: int
    row: dict[str, Any]
    streams: dict[str, StreamSummary]
    account: dict[str, Account]
    objects: dict[str, tuple[int, int]]
    events: dict[str, dict[str, int]] = {}

    @property
    def episode(self) -> uuid.UUID:
        return uuid.UUID(self.row["episode"])

    @property
    def zipped(self) -> bool:
        """Whether the episode is one ZIP, and not a folder."""
        return self.format_version == ZIP_VERSION

    @property
    def form(self) -> Literal["loose", "zip"]:
        """As the catalog has it; records of before there was another do not say."""
        return "zip" if self.zipped else "loose"

    @property
    def kind(self) -> Kind:
        """Of the episode; records of before there was another than `full` do not say."""
        kind: Kind = self.row.get("kind", "full")
        return kind

    @property
    def columns(self) -> dict[str, Any]:
        """`row` as a catalog of now has it: records of before there was an `interval_s` meant it by `duration_s`."""
        return {"interval_s": self.row.get("duration_s")} | self.row | {"form": self.form, "kind": self.kind}

    @property
    def zip_object(self) -> tuple[int, int] | None:
        """Bytes and CRC-32 of the ZIP, of one that is."""
        return next(iter(self.objects.values())) if self.zipped else None

    @property
    def digest(self) -> bytes:
        """BLAKE3 of the episode file's bytes up to SEAL."""
        return bytes.fromhex(self.row["digest"])


def is_episode_id(text: str) -> bool:
    """Whether that is how the id of an episode is written: a UUIDv7 of the years 1970 to 9999."""
    return _ID.fullmatch(text) is not None and text[:8] + text[9:13] <= _LAST


def month_of(episode: uuid.UUID) -> str:
    """`yyyy-mm` of a UUIDv7's own time, UTC; any other UUID is a `PeerViolation`."""
    number = episode.int
    if number >> 76 & 0xF == 7 and number >> 62 & 3 == 2:  # its version, and the variant that has versions
        try:
            return _month_of_day((number >> 80) // _DAY_MS)
        except (ValueError, OverflowError):
            pass
    raise PeerViolation(f"episode {episode}: not a UUIDv7 of the years 1970 to 9999")


@functools.lru_cache(64)
def _month_of_day(day: int) -> str:
    return f"{datetime.fromtimestamp(day * _DAY_MS / 1000, UTC):%Y-%m}"


def media_type(codec: Codec) -> str:
    """What one sample's bytes are."""
    return codec.media_type or "application/octet-stream"


def catalog_row(
    manifest: Open,
    seal: Seal,
    extent: Extent,
    identity: str,
    probes: Probes,
    committed_ns: int,
    size: int,
    form: Literal["loose", "zip"],
) -> dict[str, Any]:
    """The columns of the catalog; `size` is the bytes of all files, `committed_ns` is UTC."""
    start_ns, end_ns, covered_s = extent
    utc_ns = None
    if is_known(manifest.clock, probes):
        utc_ns, _ = utc_of(np.array([start_ns, end_ns], np.int64), manifest.clock, probes)
    account = summed(seal.account.values())
    return {
        "episode": str(uuid.UUID(bytes=manifest.episode)),
        "device": manifest.device,
        "spool_id": manifest.spool_id,
        "ordinal": manifest.ordinal,
        "identity": identity,
        "mission": manifest.mission.name,
        "domain": manifest.mission.domain,
        "priority": manifest.mission.priority,
        "origin": manifest.provenance.origin,
        "clock": manifest.clock.kind,
        "reason": seal.reason,
        "start_ns": start_ns,
        "end_ns": end_ns,
        "start_utc": None if utc_ns is None else utc_text(int(utc_ns[0])),
        "end_utc": None if utc_ns is None else utc_text(int(utc_ns[1])),
        "committed_utc": utc_text(committed_ns),
        "duration_s": covered_s,
        "interval_s": (end_ns - start_ns) / 1e9,
        "bytes": size,
        "streams": len(manifest.streams),
        "rows": sum(seal.rows.values()),
        "captured": account.captured,
        "stored": account.stored,
        "filtered": sum(account.filtered.values()),
        "lost": sum(account.lost.values()),
        "licence": manifest.provenance.licence,
        "consent": manifest.provenance.consent,
        "source": manifest.provenance.source,
        "generation": manifest.provenance.generation,
        "digest": seal.digest.hex(),
        "form": form,
        "kind": manifest.kind,
        "timeline": timeline_of(manifest.clock, manifest.base_ns),
        **({JUDGED_S: _judged_s(seal)} if manifest.kind == "trace" else {}),
        **_said_of(manifest, seal),
    }


def timeline_of(clock: Clock, base_ns: int | None) -> str:
    """What stamps of two episodes of a spool have in common where they can be compared, as the catalog has it.

    >>> timeline_of(Clock(kind="recording", states_utc=True), 5), timeline_of(Clock(kind="boottime", boot_id="b"), None)
    ('recording  utc 5', 'boottime b')
    """
    parts = (clock.kind, clock.boot_id or "", "utc" if clock.states_utc else "", "" if base_ns is None else base_ns)
    return " ".join(map(str, parts)).rstrip()


def _said_of(manifest: Open, seal: Seal) -> dict[str, Any]:
    """What its source said of it: labels, how it ended, and what the device found it worth; nothing where it said
    nothing."""
    labels, outcome = manifest.labels, seal.summary.get(OUTCOME)
    if LABELS in seal.summary:
        with contextlib.suppress(msgspec.ValidationError):  # a summary is whatever the device made of it
            known_at_end = msgspec.convert(seal.summary[LABELS], Labels)
            labels = labels | {k: v for k, v in known_at_end.items() if isinstance(v, str) or abs(v) < _INT64}
    said: dict[str, Any] = {LABELS: labels, OUTCOME: outcome if isinstance(outcome, str) else ""}
    said[PROPOSAL] = manifest.proposal
    worth = Worth.of(seal.summary).value
    if manifest.preview_of is not None:
        said[PREVIEW_OF] = msgspec.to_builtins(manifest.preview_of)
    return {name: value for name, value in said.items() if value} | ({} if worth is None else {"worth": worth})


def _judged_s(seal: Seal) -> dict[str, float]:
    """Seconds by reason, as a trace's SEAL says; of one that was cut off nothing."""
    said = seal.summary.get(JUDGED_S)
    if not isinstance(said, dict):
        return {}
    return {reason: said[reason] for reason in (*REASONS, OTHER) if is_seconds(said.get(reason))}


def is_seconds(said: object) -> bool:
    """Whether that is a length of time: what a device says of it may be infinite, which JSON has as null."""
    return isinstance(said, int | float) and not isinstance(said, bool) and 0 <= said < _MOST_S


def record_path(store: Path, episode: uuid.UUID) -> Path:
    return store / record_name(episode)


def record_name(episode: uuid.UUID) -> str:
    """The path of an episode's commit record under its store; as a text, as that is asked for of every offer."""
    return f"{COMMITS}/{month_of(episode)}/{episode}.json"


def read_record(path: Path) -> CommitRecord:
    """One commit record; `Corrupt` if it is not one of this version."""
    return decode_commit(durable.read_whole(path), path)


def decode_commit(data: bytes, path: Path) -> CommitRecord:
    """The commit record that `path` holds; `Corrupt` if it is not one of this version."""
    try:
        record = msgspec.json.decode(data, type=CommitRecord)
        said, stem = record.row["episode"], path.stem
        # Which is known sooner than a UUID is made, and a month.
        is_named = said == stem and is_episode_id(stem)
        if record.format_version not in (LOOSE_VERSION, ZIP_VERSION) or not is_named:
            raise Corrupt(f"{path}: of version {record.format_version}, episode {said!r}")
        if record.zipped and list(record.objects) != [f"{stem}{ZIP}"]:
            raise Corrupt(f"{path}: names {', '.join(record.objects)} for a ZIP")
        bytes.fromhex(record.row["digest"])
        if type(record.row["ordinal"]) is not int or type(record.row["device"]) is not str:
            raise Corrupt(f"{path}: of no ordinal of a device")
    except (msgspec.DecodeError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        versions = f"{LOOSE_VERSION} or {ZIP_VERSION}"
        raise Corrupt(f"{path}: not a commit record of version {versions}: {error}") from error
    return record


class CommitNames(NamedTuple):
    """What the names in `commits` say, however many: the ids of the episodes that have a commit record, by month, each
    in order, and the month of those that have a tombstone, by id. A start has time to look once, not at each question.
    """

    by_month: list[tuple[str, list[str]]]
    deleted: dict[str, str]

    @property
    def committed(self) -> set[str]:
        """All that have a record, those that have a tombstone too among them."""
        return {episode for _, episodes in self.by_month for episode in episodes}

    def paths(self, store: Path, but: Set[str] = frozenset()) -> Iterator[Path]:
        """Their commit records, `but` those of these episodes, oldest month first."""
        for month, episodes in self.by_month:
            folder = store / COMMITS / month
            for episode in episodes:
                if episode not in but:  # a path takes longer to make than a name to read
                    yield folder / f"{episode}{_RECORD}"


def commit_names(store: Path) -> CommitNames:
    """Look into `commits`."""
    by_month: list[tuple[str, list[str]]] = []
    deleted: dict[str, str] = {}
    for month in filter(_MONTH.fullmatch, _names(store / COMMITS)):
        names = _names(store / COMMITS / month)
        by_month.append((month, [name[: -len(_RECORD)] for name in names if name.endswith(_RECORD)]))
        deleted |= {name[: -len(DELETED)]: month for name in names if name.endswith(DELETED)}
    return CommitNames(by_month, deleted)


def record_paths(store: Path, but: Set[str] = frozenset()) -> Iterator[Path]:
    """The commit records of a store, `but` those of these episodes, oldest month first."""
    return commit_names(store).paths(store, but)


def _names(folder: Path) -> list[str]:
    try:
        return durable.names(folder)
    except OSError as error:
        if error.errno in durable.NOWHERE:
            return []
        raise StoreError(f"{folder}: cannot be read ({error.strerror}); see to the disk") from error


def folder_path(store: Path, episode: uuid.UUID) -> Path:
    """Where an episode that is a folder is."""
    return store.joinpath(EPISODES, month_of(episode), str(episode))


def zip_path(store: Path, episode: uuid.UUID) -> Path:
    """Where an episode that is a ZIP is."""
    return store / zip_name(episode)


def zip_name(episode: uuid.UUID) -> str:
    """The same under its store, as a text."""
    return f"{EPISODES}/{month_of(episode)}/{episode}{ZIP}"


def check_store_version(store: Path) -> int:
    """The version of `store`; `StoreError` unless it is one, and of a version that is read here."""
    root = store / EPISODES / "zarr.json"
    try:
        version = json.loads(durable.read_whole(root))["attributes"]["sensorium"]["format_version"]
    except OSError as error:
        raise StoreError(
            f"{store}: not a store ({root}: {error.strerror}); give the folder that ingest writes"
        ) from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise StoreError(f"{root}: not the root of a store: {error!r}") from error
    if version not in (LOOSE_VERSION, ZIP_VERSION):
        raise StoreError(
            f"{store}: store of version {version}, this release reads {LOOSE_VERSION} and {ZIP_VERSION};"
            " use one that fits"
        )
    return int(version)
