"""The ledger of a spool: what became of every episode ordinal, durable before anyone is told."""

import logging
import secrets
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import msgspec

from sensorium.agents.spool.clock_probes import PROBES, ClockProbes
from sensorium.agents.spool.entries import (
    ADDED,
    COLUMNS,
    OWN,
    SCHEMA,
    STANDS,
    Beginning,
    Entry,
    GivenUp,
    SealedFile,
    State,
    entry_of,
)
from sensorium.agents.spool.former import Formers, FormerSpool
from sensorium.agents.spool.hardware import Words
from sensorium.agents.spool.ledger_file import LedgerFile, note
from sensorium.agents.spool.runs import RUNS, RunTable
from sensorium.episode.account import Place, accounts
from sensorium.episode.device_account import Between
from sensorium.episode.documents import FORMAT_VERSION, Account, BetweenTotals, Open
from sensorium.errors import SpoolError

log = logging.getLogger(__name__)

COPIED = "copied: it grew when the spool was copied, and grows on where it came from"
_ACCOUNTS = msgspec.msgpack.Decoder(dict[str, Account])
_OF = "coalesce(spool_id, '') = ?"


class Ledger:
    """A SQLite file (WAL, synchronous FULL) beside the episode files. Thread-safe; every method that changes it
    returns after its transaction is on disk."""

    def __init__(self, path: Path, device: str) -> None:
        self._unbegun: dict[UUID, Beginning] = {}
        self.is_stuck = False
        """Whether those that were to be begun could not be, when that was tried last."""
        self._counts: dict[str, int] = {}
        self._counted: tuple[int, dict[str, int]] = -1, {}  # at which change of the file
        self._entries = 0
        self._file = LedgerFile(path, SCHEMA + RUNS + PROBES, ADDED)
        self.runs = RunTable(self._file)
        self.probes = ClockProbes(self._file)
        self.formers = Formers(self._file)
        try:
            self.spool_id = self._of_device(device)
            ((self._entries,),) = self._file.read("SELECT count(*) FROM episodes")
        except BaseException:
            self._file.close()
            raise

    def _of_device(self, device: str) -> str:
        """Make what is not there yet, and see whether this is a ledger of `device`; its spool_id."""
        path = self._file.path
        fresh = {"version": FORMAT_VERSION, "device": device, "spool_id": secrets.token_hex(8), "next_ordinal": 0}
        with self._file.change() as change:
            change.executemany("INSERT OR IGNORE INTO meta VALUES (?, ?)", fresh.items())
        if self._file.meta("version") != FORMAT_VERSION:
            raise SpoolError(
                f"{path}: spool format {self._file.meta('version')}, this Sensorium reads {FORMAT_VERSION}: "
                "deliver it with the version that wrote it"
            )
        if self._file.meta("device") != device:
            raise SpoolError(
                f"{path}: belongs to device {self._file.meta('device')!r}, not {device!r}: name another spool.path"
            )
        return str(self._file.meta("spool_id"))

    def close(self) -> None:
        """Close the file; twice is no error."""
        self._file.close()

    def begin(self, episode: UUID, ordinal: int, priority: float, manifest: bytes, between: Between | None) -> None:
        """Give `ordinal` to `episode`, durably with the next change of `between`, if its manifest has told of that.

        All those changes, and this, are for one thread at a time."""
        run = "" if between is None or between.run is None else between.run.run
        self._unbegun[episode] = Beginning(ordinal, priority, manifest, run)

    def sealed(self, files: Sequence[SealedFile]) -> None:
        """These files are whole and on disk."""
        with self._file.change() as change:
            change.executemany(
                "UPDATE episodes SET sealed_bytes = ?, digest = ?, recoveries = ?, value = ?, draw = ?, p = ?"
                " WHERE episode = ?",
                [(file.size, file.digest, file.recoveries, *file.weights, file.episode.bytes) for file in files],
            )
            change.executemany(
                "INSERT OR REPLACE INTO accounts (episode, sealed) VALUES (?, ?)",
                [(file.episode.bytes, msgspec.msgpack.encode(file.accounts)) for file in files],
            )
            for file in files:
                if file.position is not None:
                    self.runs.sealed(change, file.episode, file.position)

    def committed(self, episodes: Sequence[UUID], between: Between | None = None) -> None:
        """The store has these; this wins over an earlier discard, whose samples are not `between` any more."""
        with self._changing(between) as change:
            for episode in episodes:
                self.runs.committed(change, episode)
            these = [(episode.bytes,) for episode in episodes]
            change.executemany(
                "UPDATE episodes SET state = 'committed', why = '', ledgered = 1, aside = 0, manifest = NULL"
                " WHERE episode = ?",
                these,
            )
            change.executemany("DELETE FROM accounts WHERE episode = ?", these)

    def discarded(self, episode: UUID, why: str, given: GivenUp, between: Between, aside: bool = False) -> None:
        """`episode` will never be delivered; the server is told until it has taken note. Its samples are `between`.

        Args:
            aside: Its file is to be kept, among the rejected.
        """
        with self._changing(between) as change:
            _discard(change, episode, why, aside=aside)
            change.execute(
                "UPDATE accounts SET given = ? WHERE episode = ?", (msgspec.msgpack.encode(given), episode.bytes)
            )
            self.runs.gone(change, episode)

    def redone(self, episodes: Sequence[UUID], why: str, between: Between) -> None:
        """These will never be delivered, as their run records them anew; `between` is what it begins with."""
        with self._changing(between) as change:
            for episode in episodes:
                _discard(change, episode, why)
                change.execute("DELETE FROM accounts WHERE episode = ?", (episode.bytes,))
                self.runs.gone(change, episode)

    @property
    def unbegun(self) -> list[UUID]:
        """The episodes that have an ordinal, and of which nothing is on disk."""
        return list(self._unbegun)

    def keep_aside(self, episode: UUID, *, aside: bool) -> None:
        """Whether the file of a discarded episode is to be kept, among the rejected."""
        with self._file.change() as change:
            change.execute("UPDATE episodes SET aside = ? WHERE episode = ?", (aside, episode.bytes))

    def pend(self, episode: UUID, manifest: bytes, between: Between) -> None:
        """A discarded `episode` is to be delivered after all; its samples are not `between` any more."""
        with self._changing(between) as change:
            change.execute(
                "UPDATE episodes SET state = 'pending', why = '', ledgered = 0, aside = 0, held = '', manifest = ?"
                " WHERE episode = ?",
                (manifest, episode.bytes),
            )
            change.execute("UPDATE accounts SET given = NULL WHERE episode = ?", (episode.bytes,))

    def hold(self, episodes: Sequence[UUID], why: str, between: Between) -> None:
        """These pending episodes are held, and why; empty: they wait for delivery."""
        with self._changing(between) as change:
            change.executemany(
                "UPDATE episodes SET held = ? WHERE episode = ? AND state = 'pending'",
                [(why, episode.bytes) for episode in episodes],
            )

    def accounts(self, episode: UUID) -> dict[str, Account] | None:
        """What the SEAL of an episode says that is not committed; None if there is none."""
        rows = self._file.read("SELECT sealed FROM accounts WHERE episode = ?", (episode.bytes,))
        return _ACCOUNTS.decode(rows[0][0]) if rows else None

    def given_up(self, episode: UUID) -> GivenUp:
        """How a sealed episode was given up."""
        rows = self._file.read("SELECT given FROM accounts WHERE episode = ?", (episode.bytes,))
        return msgspec.msgpack.decode(rows[0][0], type=GivenUp) if rows and rows[0][0] else GivenUp()

    def ledgered(self, ordinals: list[int], of: str = "") -> None:
        """The server has noted that these ordinals were discarded; of others that means nothing."""
        with self._file.change() as change:
            change.executemany(
                f"UPDATE episodes SET ledgered = 1 WHERE state = 'discarded' AND ledgered = 0 AND {OWN} = ? AND {_OF}",
                [(n, of) for n in ordinals],
            )

    def discards(self, of: str = "") -> list[tuple[str, list[int]]]:
        """Ordinals discarded and not yet ledgered, by reason."""
        by_reason: dict[str, list[int]] = {}
        for ordinal, why in self._file.read(
            f"SELECT {OWN}, why FROM episodes WHERE state = 'discarded' AND ledgered = 0 AND {_OF} ORDER BY ordinal",
            (of,),
        ):
            by_reason.setdefault(why, []).append(ordinal)
        return list(by_reason.items())

    def entries(self, state: State | None = None) -> list[Entry]:
        """The entries in a state, or all, by ordinal."""
        rows = self._file.read(
            f"SELECT {COLUMNS} FROM episodes WHERE state = coalesce(?, state) ORDER BY ordinal", (state,)
        )
        return [entry_of(row) for row in rows]

    def entry(self, episode: UUID) -> Entry:
        """That of a known episode."""
        (row,) = self._file.read(f"SELECT {COLUMNS} FROM episodes WHERE episode = ?", (episode.bytes,))
        return entry_of(row)

    def pending(self) -> Iterator[Entry]:
        """The pending entries, by ordinal; few are in memory at a time, and what is changed meanwhile may show."""
        after = -1
        while rows := self._file.read(_PENDING_AFTER, (after, PAGE)):
            for row in rows:
                yield entry_of(row)
            after = rows[-1][-1]

    def pending_ids(self) -> set[bytes]:
        """The ids of the pending episodes."""
        return {row[0] for row in self._file.read("SELECT episode FROM episodes WHERE state = 'pending'")}

    def accounted(self) -> set[bytes]:
        """The ids of episodes of which `accounts` are there."""
        return {row[0] for row in self._file.read("SELECT episode FROM accounts")}

    def state(self, episode: UUID) -> tuple[State | None, str, bool]:
        """What became of an episode, None if the ledger does not know it, why, and whether its file is to be kept."""
        rows = self._file.read("SELECT state, why, aside FROM episodes WHERE episode = ?", (episode.bytes,))
        return (rows[0][0], rows[0][1], bool(rows[0][2])) if rows else (None, "", False)

    def sealed_digests(self, episodes: Sequence[UUID]) -> dict[UUID, tuple[State, bytes]]:
        """What became of those of `episodes` that are known, and the digest of each, empty if it was never sealed."""
        sql = f"SELECT episode, state, digest FROM episodes WHERE episode IN ({', '.join('?' * len(episodes))})"
        rows = self._file.read(sql, tuple([episode.bytes for episode in episodes]))
        return {UUID(bytes=episode): (state, digest or b"") for episode, state, digest in rows}

    def ordinal(self, episode: UUID) -> int:
        """The ordinal of a known episode in the present spool, -1 of one of a former."""
        sql = f"SELECT {OWN}, spool_id FROM episodes WHERE episode = ?"
        ((ordinal, former),) = self._file.read(sql, (episode.bytes,))
        return -1 if former else int(ordinal)

    def adopt(self, episode: UUID, ordinal: int, priority: float, manifest: bytes, of: str) -> bool:
        """Enter a file that was found without an entry, of the spool that its manifest names; False if its ordinal or
        id is taken."""
        former = None if of in ("", self.spool_id) else of
        with self._file.change() as change:
            taken = change.execute(
                f"SELECT 1 FROM episodes WHERE episode = ? OR ({OWN} = ? AND {_OF})",
                (episode.bytes, ordinal, former or ""),
            ).fetchall()
            if not taken:
                change.execute(_INSERT, (ordinal, episode.bytes, priority, manifest, former, ordinal))
                if former is None:
                    change.execute("UPDATE meta SET value = max(value, ?) WHERE key = 'next_ordinal'", (ordinal + 1,))
        self._entries += not taken
        return not taken

    def counts(self) -> dict[str, int]:
        """How many ordinals are in each state; while the disk is in trouble, how many were."""
        try:
            unbegun = len(self._unbegun)
            if self._counted[0] != (changes := self._file.changes):  # it is asked for often, and looks at all of them
                self._counted = changes, dict(self._file.read(_UNCOMMITTED))
            found = self._counted[1]
            self._counts = found | {"committed": self._entries - sum(found.values())}
            self._counts["pending"] = found.get("pending", 0) + unbegun
        except SpoolError as error:
            log.error("%s", error)
        return self._counts

    def ordinals(self, of: str = "") -> tuple[int, int]:
        """(oldest pending ordinal, or next; next ordinal), of the present spool or a former, as one reading of what is
        durable. It looks at all that is pending."""
        oldest_pending = f"SELECT min({OWN}) FROM episodes WHERE state = 'pending' AND {_OF}"
        following_all = "SELECT value FROM meta WHERE key = 'next_ordinal'"
        ((oldest, following),) = self._file.read(f"SELECT ({oldest_pending}), ({following_all})", (of,))
        if of:
            ((latest,),) = self._file.read(f"SELECT coalesce(max({OWN}), -1) FROM episodes WHERE {_OF}", (of,))
            following = max(self.formers[of].next_ordinal, latest + 1)
        return (following if oldest is None else oldest), following

    def next_ordinal(self) -> int:
        """That of the next episode of the present spool."""
        return int(self._file.meta("next_ordinal")) + len(self._unbegun)

    def manifest(self, episode: UUID) -> Open:
        """The OPEN of a pending episode."""
        if (beginning := self._unbegun.get(episode)) is not None:
            return msgspec.msgpack.decode(beginning.manifest, type=Open)
        ((manifest,),) = self._file.read("SELECT manifest FROM episodes WHERE episode = ?", (episode.bytes,))
        return msgspec.msgpack.decode(manifest, type=Open)

    def keep(self, between: Between) -> None:
        """Make durable what became of samples that are in no episode."""
        with self._changing(between):
            pass

    def between(self) -> Between:
        """What was kept last."""
        since, total = self._file.meta("between"), self._file.meta("between_totals")
        told = _ACCOUNTS.decode(since) if isinstance(since, bytes) else {}
        if not isinstance(total, bytes):  # of a spool that had none
            return Between.of_old(told)
        return Between(told, msgspec.msgpack.decode(total, type=BetweenTotals))

    def between_totals(self, of: str = "") -> BetweenTotals:
        """The running totals, as they were kept last."""
        if of:
            return self.formers[of].totals
        total = self._file.meta("between_totals")
        return msgspec.msgpack.decode(total, type=BetweenTotals) if isinstance(total, bytes) else BetweenTotals()

    # -- the hardware --------------------------------------------------------------------------------------------

    def hardware(self) -> Words:
        """What the hardware said when it was noted last."""
        noted = self._file.meta("hardware")
        return msgspec.msgpack.decode(noted, type=Words) if isinstance(noted, bytes) else {}

    def note_hardware(self, words: Words) -> None:
        """What the hardware says now."""
        with self._file.change() as change:
            note(change, "hardware", words)

    def begin_anew(self, words: Words, copied: Mapping[UUID, Place], between: Between) -> None:
        """Take a new spool_id: on this hardware the spool is a copy.

        Args:
            words: What this hardware says.
            copied: What is not sealed, and what its samples became here. It is set aside; the server is not told,
                as the original delivers it.
            between: What is in no episode of the new spool.
        """
        was = FormerSpool(next_ordinal=self.ordinals()[1], totals=self.between_totals())
        fresh = secrets.token_hex(8)
        formers = self.formers.with_one(self.spool_id, was)
        with self._changing(between) as change:
            self.runs.leave_counts(change, copied)
            for episode, place in copied.items():
                _discard(change, episode, COPIED, aside=True)
                change.execute("UPDATE episodes SET ledgered = 1 WHERE episode = ?", (episode.bytes,))
                self.runs.gone(change, episode)
                given = msgspec.msgpack.encode(GivenUp(place=accounts(place)))
                change.execute(
                    "INSERT OR REPLACE INTO accounts (episode, sealed, given) VALUES (?, ?, ?)",
                    (episode.bytes, msgspec.msgpack.encode({}), given),
                )
            change.execute(
                f"UPDATE episodes SET spool_ordinal = {OWN}, spool_id = ? WHERE spool_id IS NULL", (self.spool_id,)
            )
            change.execute("UPDATE meta SET value = ? WHERE key = 'spool_id'", (fresh,))
            change.execute("UPDATE meta SET value = 0 WHERE key = 'next_ordinal'")
            note(change, "hardware", words)
            note(change, "former", formers)
        self.spool_id = fresh

    @contextmanager
    def _changing(self, between: Between | None) -> Iterator[sqlite3.Connection]:
        """A change with which `between`, and what was begun, becomes durable too."""
        begun = dict(self._unbegun) if between is not None else {}
        self.is_stuck = self.is_stuck or bool(begun)
        with self._file.change() as change:
            for episode, (ordinal, priority, manifest, run) in begun.items():
                change.execute(_INSERT, (ordinal, episode.bytes, priority, manifest, None, ordinal))
                if run:
                    self.runs.began(change, episode, run)
            if begun:
                change.execute("UPDATE meta SET value = value + ? WHERE key = 'next_ordinal'", (len(begun),))
            yield change
            if between is not None and between.take_unkept():
                note(change, "between", accounts(between.since))
                note(change, "between_totals", between.totals())
                if between.run is not None:
                    self.runs.keep(change, between.run.run, accounts(between.run.whole()))
        for episode in begun:
            del self._unbegun[episode]
        self._entries += len(begun)
        self.is_stuck = self.is_stuck and not begun


PAGE = 1000
_PENDING_AFTER = f"""
SELECT {COLUMNS}, ordinal FROM episodes WHERE state = 'pending' AND ledgered = 0 AND ordinal > ?
ORDER BY ordinal LIMIT ?"""
_UNCOMMITTED = f"SELECT {STANDS}, count(*) FROM episodes WHERE state IN ('pending', 'discarded') GROUP BY 1"
"""Of a spool that is old these are few beside those that are committed."""
_INSERT = (
    "INSERT INTO episodes (ordinal, episode, state, priority, manifest, spool_id, spool_ordinal)"
    " VALUES (max(?, coalesce((SELECT max(ordinal) + 1 FROM episodes), 0)), ?, 'pending', ?, ?, ?, ?)"
)


def _discard(change: sqlite3.Connection, episode: UUID, why: str, *, aside: bool = False) -> None:
    change.execute(
        "UPDATE episodes SET state = 'discarded', why = ?, aside = ?, manifest = CASE WHEN ? THEN manifest END"
        " WHERE episode = ? AND state = 'pending'",
        (why, aside, aside, episode.bytes),
    )
