"""Opening a spool again: every pending entry of its ledger meets its file, whatever a crash came between."""

import logging
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from uuid import UUID

import msgspec

from sensorium.agents.spool.entries import Brief, Entry, GivenUp, SealedFile, counted
from sensorium.agents.spool.folder import Folder
from sensorium.agents.spool.held import SUFFIX, Held
from sensorium.agents.spool.ledger import Ledger
from sensorium.agents.spool.listing import Listed, listed, may_come_back
from sensorium.agents.spool.owed import Owed
from sensorium.agents.spool.recovery import recover
from sensorium.episode import durable
from sensorium.episode.account import unreadable_place
from sensorium.episode.device_account import Between
from sensorium.episode.documents import Open
from sensorium.episode.records import decode_record
from sensorium.errors import Corrupt, SpoolError

log = logging.getLogger(__name__)

_KEPT = "its episode waits until that is there again, or until the link is removed, which gives it up"
_BRIEF = msgspec.msgpack.Decoder(Brief)


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

    An entry without a file was lost before its first sync, or, once sealed, removed, and is noted as discarded; what
    its manifest told of is told again; where in its place a link leads nowhere, which may be to a disk that is not
    mounted, it waits for that.
    A file without an entry (a ledger that was lost) is entered. A file that was to be deleted, or to be set
    aside, is. What is named as an episode and is no file is said, and left; who has it for his file is as one without.
    There may be very many, of which nearly all are as they were left: the folder is looked through once.

    Raises:
        SpoolError: the ledger cannot be read or written. What was done is done, so it may be called again.
    """
    there = _look_through(folder)
    _meet_unknown(sorted(there.sizes), folder, ledger, owed)
    found = Reopened(ledger.between())
    of_runs, accounted = ledger.runs.ids(), ledger.accounted()
    for entry in ledger.pending():
        held = _held_of(entry, folder)
        if entry.episode.bytes in accounted and _is_as_it_was_left(held, entry, there):
            held.size = there.sizes[held.name]
            found.held[entry.episode] = held
            continue
        is_replay, size = entry.episode.bytes in of_runs, there.sizes.get(held.name)
        try:
            if size or (size is not None and not is_replay):
                make_whole(held, ledger)
            elif not is_replay and may_come_back(instead := there.others.get(held.name, "")):
                held.tries = 1
                found.unread.append((entry.episode, f"{held.path}: {instead}; {_KEPT}"))
            else:
                _give_up(held, entry, there, found, ledger, is_replay=is_replay)
                continue
        except Corrupt as error:
            found.unreadable.append((entry.episode, f"nothing of it can be read: {error}"))
        except SpoolError:
            raise
        except OSError as error:
            held.tries = 1
            found.unread.append((entry.episode, f"{held.path}: cannot be recovered: {error.strerror}"))
        found.held[entry.episode] = held
    return found


def _held_of(entry: Entry, folder: Folder) -> Held:
    """What the ledger has of a pending episode; how long its file is shows when that is looked at."""
    held = Held(folder.episodes, entry.episode, _BRIEF.decode(entry.manifest))
    held.former, held.digest, held.recoveries = entry.spool_id, entry.digest, entry.recoveries
    held.worth, held.hold = entry.worth, entry.held
    held.alive_ns = folder.last_alive_ns(held.said.clock)
    return held


def _is_as_it_was_left(held: Held, entry: Entry, there: Listed) -> bool:
    """Whether its file has the length with which it was sealed, and nobody was at mending it."""
    size = there.sizes.get(held.name)
    mended = f"{held.name.removesuffix(SUFFIX)}.recovering"
    return size is not None and size == entry.sealed_bytes and mended not in there.sizes


def _give_up(held: Held, entry: Entry, there: Listed, found: Reopened, ledger: Ledger, *, is_replay: bool) -> None:
    """Discard an episode that has no file: what its OPEN told of is told again. Of a replay nothing is lost: it is read
    again by whoever takes it up."""
    instead = there.others.get(held.name)
    if instead is None:
        durable.remove(held.path)
    manifest = ledger.manifest(entry.episode)
    found.between.give_up({} if is_replay else unreadable_place(manifest), manifest.between)
    why = "lost before its first sync" if entry.sealed_bytes is None else "lost: its file is gone"
    why = f"lost: where its file was is {instead}" if instead else why
    ledger.discarded(entry.episode, why, GivenUp(), found.between)
    _let_go(manifest, found, ledger)


def _look_through(folder: Folder) -> Listed:
    """What is among the episodes; what is no file there, or among the rejected, is said."""
    there = listed(folder.episodes)
    for place, others in ((folder.episodes, there.others), (folder.rejected, listed(folder.rejected).others)):
        for name, what in sorted(others.items()):
            log.error("spool: %s: %s, and no episode's file; left where it is", place / name, what)
    return there


def _let_go(manifest: Open, found: Reopened, ledger: Ledger) -> None:
    """A preview is gone: its full episode, which nobody would hear of, is delivered itself."""
    if manifest.preview_of is not None and (full := found.held.get(UUID(manifest.preview_of.episode))) is not None:
        full.hold = ""
        ledger.hold([full.episode], "", found.between)


def make_whole(held: Held, ledger: Ledger, *, salvage: bool = False) -> None:
    """See that the file of a pending episode is whole, sealed, and as the ledger has it; with `salvage` without what
    the disk will not give.

    Raises:
        Corrupt: nothing of it can be read.
        SpoolError: the ledger cannot be written.
        OSError: the disk would not give or take it now.
    """
    entry = ledger.entry(held.episode)
    held.size, held.digest, held.recoveries = held.path.stat().st_size, entry.digest, entry.recoveries
    durable.remove(held.path.with_suffix(".recovering"))
    if entry.sealed_bytes != held.size or ledger.accounts(entry.episode) is None:
        manifest = msgspec.msgpack.decode(entry.manifest, type=Open)
        found = recover(held.path, manifest, entry.recoveries + 1, alive_ns=held.alive_ns, salvage=salvage)
        durable.sync_folder(held.path.parent)  # whoever was killed may have made the name, and not synced it
        if found.changed:
            log.warning("spool: episode %s: %s", entry.episode, found.why)
        held.size, held.digest, held.worth = found.size, found.digest, found.worth
        # The file knows better, if a crash came between it and the ledger.
        held.recoveries = max(held.recoveries, found.recoveries)
        accounts = counted(held.said.kind, found.accounts)
        said = SealedFile(entry.episode, held.size, held.digest, held.recoveries, accounts, worth=found.worth)
        ledger.sealed([said])
    held.tries = 0


def _meet_unknown(names: list[str], folder: Folder, ledger: Ledger, owed: Owed) -> None:
    """Enter files that the ledger does not know; finish with those that it knows to be settled."""
    pending = ledger.pending_ids()
    for name in names:
        if not name.endswith(SUFFIX):
            continue
        path = folder.episodes / name
        ordinal, _, identity = path.stem.partition("-")
        try:
            episode, number = UUID(identity), int(ordinal)
        except ValueError:
            log.error("spool: %s: no episode's name (ORDINAL-UUID.episode); left where it is", path)
            continue
        if episode.bytes in pending:
            continue
        state, why, aside = ledger.state(episode)
        if state == "discarded" and aside:
            owed.do(f"{path.name} is to be set aside", partial(folder.set_aside, path, identity, why))
        elif state in ("committed", "discarded"):
            owed.do(f"{path.name} is to be deleted", partial(folder.delete, [str(path)]))
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
