"""Opening a spool again: every pending entry of its ledger meets its file, whatever a crash came between."""

import logging
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import msgspec

from sensorium.agents.spool.episode_file import EpisodeFile
from sensorium.agents.spool.ledger import Entry, GivenUp, Ledger
from sensorium.agents.spool.recovery import recover
from sensorium.episode import durable
from sensorium.episode.account import unreadable_place
from sensorium.episode.device_account import Between
from sensorium.episode.documents import Open
from sensorium.episode.records import decode_record
from sensorium.errors import Corrupt, SpoolError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Waiting:
    """An episode that the uplink may send. `size` bytes are on disk; more may follow until it is `sealed`."""

    episode: UUID
    ordinal: int
    size: int
    sealed: bool
    digest: bytes
    priority: float
    recoveries: int
    boot_id: str | None
    start_ns: int
    end_ns: int


@dataclass(slots=True)
class Held:
    """What a spool knows of one pending episode. While it grows it has a `file`; after that `size` and `digest`.

    One that grows and is `refused` (why) is set aside once it is sealed.
    """

    path: Path
    manifest: Open
    size: int = 0
    digest: bytes = b""
    recoveries: int = 0
    file: EpisodeFile | None = None
    refused: str = ""

    @classmethod
    def of(cls, folder: Path, manifest: Open) -> "Held":
        """The place of an episode's file."""
        return cls(folder / f"{manifest.ordinal:010d}-{UUID(bytes=manifest.episode)}.episode", manifest)

    @property
    def rank(self) -> tuple[float, int]:
        """Its place in the order of delivery: larger priority first, then older."""
        return -self.manifest.mission.priority, self.manifest.ordinal

    def waiting(self) -> Waiting:
        """What the uplink is told of it."""
        return Waiting(
            episode=UUID(bytes=self.manifest.episode),
            ordinal=self.manifest.ordinal,
            size=self.sendable,
            sealed=self.file is None,
            digest=self.digest,
            priority=self.manifest.mission.priority,
            recoveries=self.recoveries,
            boot_id=self.manifest.clock.boot_id,
            start_ns=self.manifest.start_ns,
            end_ns=self.manifest.end_ns,
        )

    @property
    def sendable(self) -> int:
        """Bytes on disk, from the start of the file."""
        return self.file.sendable if self.file else self.size


def reopen(folder: Path, ledger: Ledger, between: Between) -> tuple[dict[UUID, Held], list[tuple[UUID, str]]]:
    """The pending episodes, each whole and sealed, and those of which nothing can be read, with why.

    An entry without a file was lost before its first sync, and is noted as discarded; what its manifest told of is told
    again. A file without an entry (a
    ledger that was lost) is entered. A file that was to be deleted is.
    """
    for path in sorted(folder.glob("*.episode")):
        _meet(path, ledger)
    held_by_id: dict[UUID, Held] = {}
    unreadable = []
    for entry in ledger.entries("pending"):
        held = Held.of(folder, msgspec.msgpack.decode(entry.manifest, type=Open))
        durable.remove(held.path.with_suffix(".recovering"))
        if not held.path.exists():
            between.give_up(unreadable_place(held.manifest), held.manifest.between)
            ledger.discarded(entry.episode, "lost before its first sync", GivenUp(), between)
            continue
        held_by_id[entry.episode] = held
        try:
            _make_whole(held, entry, ledger)
        except Corrupt as error:
            unreadable.append((entry.episode, f"nothing of it can be read: {error}"))
        except OSError as error:
            raise SpoolError(f"{held.path}: cannot be recovered: {error.strerror}; free some space first") from error
    return held_by_id, unreadable


def _make_whole(held: Held, entry: Entry, ledger: Ledger) -> None:
    held.size, held.digest, held.recoveries = held.path.stat().st_size, entry.digest, entry.recoveries
    if entry.sealed_bytes == held.size and ledger.accounts(entry.episode) is not None:
        return
    found = recover(held.path, held.manifest, entry.recoveries + 1)
    if found.changed:
        held.recoveries += 1
        log.warning("spool: episode %s: %s", entry.episode, found.why)
    held.size, held.digest = found.size, found.digest
    ledger.sealed(entry.episode, held.size, held.digest, held.recoveries, found.accounts)


def _meet(path: Path, ledger: Ledger) -> None:
    """Enter a file that the ledger does not know; delete one that it knows to be settled."""
    ordinal, _, name = path.stem.partition("-")
    try:
        episode, number = UUID(name), int(ordinal)
    except ValueError:
        log.error("spool: %s: no episode's name (ORDINAL-UUID.episode); left where it is", path)
        return
    state = ledger.state(episode)
    if state is not None:
        if state != "pending":
            durable.remove(path)
        return
    try:
        with path.open("rb") as file:
            opening = decode_record(episode.bytes, file.read(1 << 20)).header
    except Corrupt as error:
        log.error("spool: %s: not in the ledger, and %s; left where it is", path, error)
        return
    if isinstance(opening, Open):
        ledger.adopt(episode, number, opening.mission.priority, msgspec.msgpack.encode(opening))
