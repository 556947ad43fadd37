"""What a device's documents must satisfy before ingest believes them; what does not hold is its `PeerViolation`."""

import math
import uuid
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any

import msgspec

from sensorium.drivers.stream import check_name
from sensorium.episode.account import problem
from sensorium.episode.codecs.contract import MAX_CHUNK_BYTES, Codec
from sensorium.episode.codecs.registry import codec_of
from sensorium.episode.documents import FORMAT_VERSION, MAX_TEXT, Account, Label, Note, Open, Seal, StreamEntry
from sensorium.errors import ConfigError, PeerViolation

MAX_STREAMS = 256
MAX_AXES = 8
MAX_CHUNK_ROWS = 1 << 24
MAX_DEPTH = 32
MAX_VALUES = 1 << 16
MAX_NS = 1 << 62
"""Stamps are within 146 years of 0, so that no difference or sum of two leaves int64."""
INT64 = 1 << 63
_NESTED = (dict, list, tuple)
_PASSED = 256
_PASSED_BYTES = 16 << 10
_passed: set[bytes] = set()
"""Documents that were found to be good, without what each episode has of its own: thousands of small episodes have the
same few. Bounded, as they come from anyone."""
_ENCODER = msgspec.msgpack.Encoder()


def check_open(manifest: Open, episode: uuid.UUID) -> list[Codec]:
    """Raise `PeerViolation` unless `manifest` opens `episode` in this version, with streams that can be stored;
    their codecs."""
    if manifest.version != FORMAT_VERSION:
        raise PeerViolation(
            f"episode {episode}: format version {manifest.version}, this ingest takes {FORMAT_VERSION};"
            " run the same release on both sides"
        )
    if manifest.episode != episode.bytes:
        raise PeerViolation(f"episode {episode}: OPEN names {manifest.episode.hex()}")
    if not 0 <= manifest.ordinal < INT64:
        raise PeerViolation(f"episode {episode}: ordinal {manifest.ordinal} is not a count")
    if not -MAX_NS <= manifest.start_ns <= manifest.end_ns <= MAX_NS:
        raise PeerViolation(f"episode {episode}: it runs from {manifest.start_ns} to {manifest.end_ns} ns")
    if not -MAX_NS <= (manifest.base_ns or 0) <= MAX_NS:
        raise PeerViolation(f"episode {episode}: its source's time begins at {manifest.base_ns} ns")
    if not 0 <= (manifest.clock.utc_within_ns or 0) <= MAX_NS:
        raise PeerViolation(f"episode {episode}: its UTC is true to {manifest.clock.utc_within_ns} ns")
    if len(manifest.streams) > MAX_STREAMS:
        raise PeerViolation(f"episode {episode}: {len(manifest.streams)} streams, at most {MAX_STREAMS}")
    codecs = [check_entry(entry) for entry in manifest.streams]
    check_labels(manifest.labels)
    own = {"episode": b"", "ordinal": 0, "start_ns": 0, "end_ns": 0, "base_ns": None, "labels": {}}
    alike = _alike(msgspec.structs.replace(manifest, **own))
    if alike is None or alike not in _passed:
        _check_rest(manifest, episode)
        _pass(alike)
    return codecs


def _check_rest(manifest: Open, episode: uuid.UUID) -> None:
    """Of OPEN what may be the same in many episodes."""
    _names(manifest)
    if not math.isfinite(manifest.mission.priority) or not 0 <= manifest.provenance.generation < INT64:
        raise PeerViolation(f"episode {episode}: priority or generation is not a finite number from 0 up")
    for name, account in manifest.between.items():
        check_account(name, account)
    check_document(manifest, "OPEN")


def check_entry(entry: StreamEntry) -> Codec:
    """Raise `PeerViolation` unless a stream's shape, encoding and chunk size are ones that ingest can store.

    Returns its codec.
    """
    spec = entry.spec
    if len(spec.shape) > MAX_AXES or not 1 <= entry.chunk_rows <= MAX_CHUNK_ROWS:
        raise PeerViolation(f"stream {spec.name!r}: {len(spec.shape)} axes, {entry.chunk_rows} rows a chunk")
    if spec.sample_bytes * entry.chunk_rows > MAX_CHUNK_BYTES:
        raise PeerViolation(
            f"stream {spec.name!r}: samples of {spec.dtype} {spec.shape}, {entry.chunk_rows} a chunk,"
            f" are over {MAX_CHUNK_BYTES} bytes"
        )
    try:
        return codec_of(entry)
    except ConfigError as error:
        raise PeerViolation(f"{error}; ingest needs each codec that its devices use") from error


def check_seal(seal: Seal, rows: dict[str, int], gap: bool) -> None:
    """Raise `PeerViolation` unless SEAL tells of exactly the `rows` that came, and of the `gap` among the records."""
    if seal.rows != rows:
        raise PeerViolation(f"SEAL says rows {seal.rows}, {rows} came")
    if seal.account.keys() != rows.keys():
        raise PeerViolation(f"SEAL accounts for {sorted(seal.account)}, the streams are {sorted(rows)}")
    for name, account in seal.account.items():
        if account.stored != rows[name]:
            raise PeerViolation(f"stream {name!r}: SEAL says stored {account.stored}, {rows[name]} rows came")
    if not 0 <= seal.recoveries < INT64 or not -MAX_NS <= (seal.end_ns or 0) <= MAX_NS:
        raise PeerViolation(f"SEAL says recoveries {seal.recoveries}, end {seal.end_ns}")
    if gap and not any("corrupt" in account.lost for account in seal.account.values()):
        raise PeerViolation("records are missing, and SEAL says of no stream that some are lost `corrupt`")
    alike = _alike(msgspec.structs.replace(seal, digest=b"", recoveries=0, end_ns=None))
    if alike is None or alike not in _passed:
        for name, account in seal.account.items():
            check_account(name, account)
        check_document(seal, "SEAL")
        _pass(alike)


def check_note(note: Note) -> None:
    """Raise `PeerViolation` unless a NOTE is plain JSON, and its times are stamps."""
    if not -MAX_NS <= (note.start_ns or 0) <= MAX_NS or not -MAX_NS <= (note.end_ns or 0) <= MAX_NS:
        raise PeerViolation(f"NOTE {note.name!r} is of {note.start_ns} to {note.end_ns} ns, which are no stamps")
    check_document(note, "NOTE")


def outside(manifest: Open, seal: Seal, spans: Iterable[tuple[int, int]]) -> str:
    """Which samples are not in the interval of an episode that says to be complete; empty if all are.

    `spans` are the first and the last stamp of each stream. A trace tells of time that others' episodes hold.
    """
    if seal.reason != "complete" or manifest.kind == "trace":
        return ""
    start_ns, end_ns = manifest.start_ns, manifest.end_ns if seal.end_ns is None else seal.end_ns
    for first_ns, last_ns in spans:
        if first_ns < start_ns or last_ns >= end_ns:
            return f"stamps {first_ns} to {last_ns} are not within {start_ns} to {end_ns} ns of a complete episode"
    return ""


def check_labels(labels: Mapping[str, Label]) -> None:
    """Raise `PeerViolation` unless a number among them is one that JSON, and the catalog, can hold."""
    for name, value in labels.items():
        if not isinstance(value, str) and not abs(value) < INT64:  # nor is NaN
            raise PeerViolation(f"label {name!r} is {value!r}, expected text, a finite number, true or false")


def check_account(name: str, account: Account) -> None:
    """Raise `PeerViolation` unless the counts are counts, and captured = stored + filtered + lost."""
    if why := problem(account, MAX_NS):
        raise PeerViolation(f"account of {name!r}: {why}")


def check_document(document: msgspec.Struct, what: str) -> None:
    """Raise `PeerViolation` unless `document` is plain JSON that every Zarr reader, and ours, can parse."""
    try:
        values, depth = extent(msgspec.to_builtins(document, str_keys=True))
        # A reader must be able to turn it back: a NaN, say, becomes null, which not every field can be.
        msgspec.json.decode(msgspec.json.encode(document), type=type(document))
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
        raise PeerViolation(f"{what} is not JSON: {error}") from error
    if depth > MAX_DEPTH:
        raise PeerViolation(f"{what} is nested more than {MAX_DEPTH} deep")
    if values > MAX_VALUES:
        raise PeerViolation(f"{what} holds {values} values, at most {MAX_VALUES}")


def _alike(document: Open | Seal) -> bytes | None:
    """What all documents that are alike have in common; None if that cannot be said."""
    try:
        return type(document).__name__.encode() + _ENCODER.encode(document)
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError):
        return None


def _pass(alike: bytes | None) -> None:
    if alike is not None and len(alike) <= _PASSED_BYTES:
        if len(_passed) >= _PASSED:
            _passed.clear()
        _passed.add(alike)


def _names(manifest: Open) -> None:
    names = [entry.spec.name for entry in manifest.streams]
    origin = manifest.provenance
    texts = [manifest.mission.name, manifest.mission.domain, origin.licence, origin.consent, origin.source]
    try:
        check_name(manifest.device, "device")
        check_name(manifest.spool_id, "spool_id")
        for name in names:
            check_name(name)
    except ConfigError as error:
        raise PeerViolation(str(error)) from error
    if len(set(names)) != len(names):
        raise PeerViolation(f"two streams are called {_first_twice(names)!r}")
    if any(len(text) > MAX_TEXT for text in texts):
        raise PeerViolation(f"a mission's or provenance's text is longer than {MAX_TEXT} letters")


def _first_twice(names: Iterable[str]) -> str:
    seen: set[str] = set()
    return next(name for name in names if name in seen or seen.add(name))  # type: ignore[func-returns-value]


def extent(document: Any) -> tuple[int, int]:
    """How many values a document holds, and how deep they are nested."""
    values, depth, level = 0, 0, [document]
    while level and depth <= MAX_DEPTH:
        values, depth = values + len(level), depth + 1
        inner = (value.values() if isinstance(value, dict) else value for value in level if isinstance(value, _NESTED))
        level = list(chain.from_iterable(inner))
    return values, depth - 1 + bool(level)
