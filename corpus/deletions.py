"""Deletions: tombstones beside the commit records, and the chain of certificates that says what was removed.

`commits/yyyy-mm/EPISODE.deleted` is the tombstone: from it on the episode is in no catalog, and a device that offers it
again is told so. `deletions/certificates.jsonl` has a line for each that is gone, with the hash of the line before.
docs/deletion.md says what either holds.
"""

import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
from blake3 import blake3

from sensorium.corpus.commits import COMMITS, DELETED, commit_names, month_of
from sensorium.episode import durable
from sensorium.episode.remedy import SHORT
from sensorium.errors import Corrupt, PeerViolation

DELETIONS = Path("deletions")
CERTIFICATES = DELETIONS / "certificates.jsonl"
HOLDS = "holds"
"""The kind of the records beside episodes that keep them from being deleted (`sensorium.corpus.holds`)."""
FIRST = "0" * 64
"""What stands for the hash of the line before the first."""


class Tombstone(msgspec.Struct, frozen=True, kw_only=True):
    """An episode that is to be gone `remove_after_utc`, or is; asked for at `utc` by `who`, for a `reason`."""

    episode: str
    device: str
    spool_id: str
    ordinal: int
    digest: str
    reason: str
    who: str
    utc: str
    remove_after_utc: str
    cited_by: tuple[str, ...] = ()
    version: int = 1


class Certificate(msgspec.Struct, frozen=True, kw_only=True):
    """That an episode is gone: what was `removed` (files, bytes, records beside it, vectors), what was then `searched`
    for its id (files, bytes), and where it was `found` all the same, with whom it was cited."""

    number: int
    previous: str
    tombstone: Tombstone
    gone_utc: str
    removed: dict[str, int]
    searched: dict[str, int]
    found: tuple[str, ...] = ()


class _CertificateLine(msgspec.Struct):
    hash: str
    certificate: msgspec.Raw


def tombstone_name(episode: uuid.UUID) -> str:
    """The path of an episode's tombstone under its store."""
    return f"{COMMITS}/{month_of(episode)}/{episode}{DELETED}"


def tombstones(
    store: Path, deleted: Mapping[str, str] | None = None, damaged: Callable[[Path, str], object] = lambda *_: None
) -> Iterator[Tombstone]:
    """Those of a store, in the order of their episodes; `deleted` is the month of each, where that is known already.

    Of one that cannot be read `damaged` is told why: its name alone still says that the episode is deleted.
    """
    months = commit_names(store).deleted if deleted is None else deleted
    for episode, month in sorted(months.items()):
        path = store / COMMITS / month / f"{episode}{DELETED}"
        try:
            found = read_tombstone(durable.read_whole(path), path)
        except Corrupt as error:
            damaged(path, str(error))
        except OSError as error:
            if error.errno in SHORT:
                raise
            damaged(path, f"{path}: cannot be read ({error.strerror}); restore it from a copy")
        else:
            yield found


def read_tombstone(data: bytes, path: Path) -> Tombstone:
    """The tombstone that `path` holds, and no other's: what it names is removed.

    Raises:
        Corrupt: it is none.
    """
    try:
        found = msgspec.json.decode(data, type=Tombstone)
        of = tombstone_name(uuid.UUID(found.episode))
    except (msgspec.DecodeError, ValueError, RecursionError, PeerViolation) as error:
        raise Corrupt(f"{path}: not a tombstone: {error}; restore it from a copy") from error
    if not f"{path}".endswith(of):
        raise Corrupt(f"{path}: a tombstone of {found.episode}; restore it from a copy")
    return found


def tombstoned(store: Path) -> set[str]:
    """The ids of the episodes that have a tombstone: names alone."""
    return set(commit_names(store).deleted)


def waiting(store: Path) -> Iterator[Tombstone]:
    """The tombstones whose episodes are not certified to be gone: of some the grace is not over."""
    certified = {each.tombstone.episode for each in certificates(store)}
    return (each for each in tombstones(store) if each.episode not in certified)


def certificate_line(certificate: Certificate) -> tuple[bytes, str]:
    """A line of the chain, and its hash, which the next one names."""
    said = msgspec.json.encode(certificate)
    told = blake3(said).hexdigest()
    return b'{"hash":"%s","certificate":%s}' % (told.encode(), said), told


def certificates(store: Path) -> Iterator[Certificate]:
    """The certificates of a store, each held to its hash and to the one before. A last line that a crash tore does not
    count: the deletion was not at its end.

    Raises:
        Corrupt: a line was changed, or one is gone from among them.
    """
    path, previous, number = store / CERTIFICATES, FIRST, 0
    if not path.is_file():
        return
    lines = whole_lines(path.read_bytes())
    for line in filter(None, lines):
        try:
            found, certificate = _read_line(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Corrupt(f"{path}: line {number + 1}: not a certificate: {error}") from error
        if blake3(bytes(found.certificate)).hexdigest() != found.hash or certificate.previous != previous:
            raise Corrupt(f"{path}: certificate {certificate.number}: was changed, or one before it is gone")
        previous, number = found.hash, number + 1
        yield certificate


def whole_lines(data: bytes) -> list[bytes]:
    """The lines of a file of certificates, without a last one that a crash tore."""
    lines = data.split(b"\n")
    try:
        _read_line(lines[-1])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return lines[:-1] if lines[-1] else lines
    return lines


def _read_line(line: bytes) -> tuple[_CertificateLine, Certificate]:
    found = msgspec.json.decode(line, type=_CertificateLine)
    return found, msgspec.json.decode(found.certificate, type=Certificate)


def last_hash(store: Path) -> tuple[int, str]:
    """The number and the hash of the last certificate."""
    number, told = 0, FIRST
    for each in certificates(store):
        number, told = each.number, certificate_line(each)[1]
    return number, told


def as_row(tombstone: Tombstone) -> dict[str, Any]:
    """What a command prints of it."""
    row: dict[str, Any] = msgspec.to_builtins(tombstone)
    return row
