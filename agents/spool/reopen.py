"""Opening a spool again: every pending entry of its ledger meets its file, whatever a crash came between."""

import logging
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from uuid import UUID

import msgspec

from sensorium.agents.spool.episode_file import EpisodeFile
from sensorium.agents.spool.folder import Folder
from sensorium.agents.spool.ledger import Entry, GivenUp, Ledger
from sensorium.agents.spool.owed import Owed
from sensorium.agents.spool.recovery import recover
from sensorium.agents.spool.runs import Position
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

    One that grows and is `refused` (why) is set aside once it is sealed; one that the disk would not give when the
    spool was opened is `unread` until it does. `former` is the spool_id under which it goes, if not the present one.
    With its seal a replay comes to `position`. `tries` counts how often it could not be read. Whoever recorded it was
    alive at `alive_ns` of its clock, if that is known.
    """

    path: Path
    manifest: Open
    size: int = 0
    digest: bytes = b""
    recoveries: int = 0
    file: EpisodeFile | None = None
    refused: str = ""
    unread: bool = False
    tries: int = 0
    former: str = ""
    position: Position | None = None
    alive_ns: int | None = None

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


@dataclass(slots=True)
class Reopened:
    """What a spool has: its pending episodes; those of which nothing can be read, and those that the disk would not
    give now, each with why; and its samples in no episode."""

    between: Between
    held: dict[UUID, Held] = field(default_factory=dict)
    unreadable: list[tuple[UUID, str]] = field(default_factory=list)
    unread: list[tuple[UUID, str]] = field(default_factory=list)


def reopen(folder: Folder, ledger: Ledger, owed: Owed) -> Reopened:
    """The pending episodes, each whole and sealed but for those in trouble.

    An entry without a file was lost before its first sync, and is noted as discarded; what its manifest told of is told
    again. A file without an entry (a ledger that was lost) is entered. A file that was to be deleted, or to be set
    aside, is.

    Raises:
        SpoolError: the ledger cannot be read or written. What was done is done, so it may be called again.
    """
    for path in sorted(folder.episodes.glob("*.episode")):
        _meet(path, folder, ledger, owed)
    found = Reopened(ledger.between())
    for entry in ledger.entries("pending"):
        held = Held.of(folder.episodes, msgspec.msgpack.decode(entry.manifest, type=Open))
        held.former = entry.spool_id
        held.alive_ns = folder.last_alive_ns(held.manifest.clock)
        try:
            replayed = ledger.runs.is_of_run(entry.episode)
            if not held.path.exists() or (replayed and not held.path.stat().st_size):
                durable.remove(held.path)
                # of a replay nothing is lost: it is read again by whoever takes it up
                place = {} if replayed else unreadable_place(held.manifest)
                found.between.give_up(place, held.manifest.between)
                ledger.discarded(entry.episode, "lost before its first sync", GivenUp(), found.between)
                continue
            make_whole(held, entry, ledger)
        except Corrupt as error:
            found.unreadable.append((entry.episode, f"nothing of it can be read: {error}"))
        except SpoolError:
            raise
        except OSError as error:
            held.unread = True
            found.unread.append((entry.episode, f"{held.path}: cannot be recovered: {error.strerror}"))
        found.held[entry.episode] = held
    return found


def make_whole(held: Held, entry: Entry, ledger: Ledger, *, salvage: bool = False) -> None:
    """See that the file of a pending episode is whole, sealed, and as the ledger has it; with `salvage` without what
    the disk will not give.

    Raises:
        Corrupt: nothing of it can be read.
        SpoolError: the ledger cannot be written.
        OSError: the disk would not give or take it now.
    """
    held.size, held.digest, held.recoveries = held.path.stat().st_size, entry.digest, entry.recoveries
    durable.remove(held.path.with_suffix(".recovering"))
    if entry.sealed_bytes != held.size or ledger.accounts(entry.episode) is None:
        found = recover(held.path, held.manifest, entry.recoveries + 1, alive_ns=held.alive_ns, salvage=salvage)
        durable.sync_folder(held.path.parent)  # whoever was killed may have made the name, and not synced it
        if found.changed:
            log.warning("spool: episode %s: %s", entry.episode, found.why)
        held.size, held.digest = found.size, found.digest
        # The file knows better, if a crash came between it and the ledger.
        held.recoveries = max(held.recoveries, found.recoveries)
        ledger.sealed(entry.episode, held.size, held.digest, held.recoveries, found.accounts)
    held.unread = False


def _meet(path: Path, folder: Folder, ledger: Ledger, owed: Owed) -> None:
    """Enter a file that the ledger does not know; finish with one that it knows to be settled."""
    ordinal, _, name = path.stem.partition("-")
    try:
        episode, number = UUID(name), int(ordinal)
    except ValueError:
        log.error("spool: %s: no episode's name (ORDINAL-UUID.episode); left where it is", path)
        return
    state, why, aside = ledger.state(episode)
    if state == "discarded" and aside:
        owed.do(f"{path.name} is to be set aside", partial(folder.set_aside, path, name, why))
    elif state in ("committed", "discarded"):
        owed.do(f"{path.name} is to be deleted", partial(folder.delete, path))
    elif state is None:
        _adopt(path, episode, number, ledger)


def _adopt(path: Path, episode: UUID, number: int, ledger: Ledger) -> None:
    try:
        with path.open("rb") as file:
            opening = decode_record(episode.bytes, file.read(1 << 20)).header
    except (Corrupt, OSError) as error:
        log.error("spool: %s: not in the ledger, and %s; left where it is", path, error)
        return
    if isinstance(opening, Open):
        encoded = msgspec.msgpack.encode(opening)
        ledger.adopt(episode, number, opening.mission.priority, encoded, opening.spool_id)
