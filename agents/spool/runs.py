"""The runs of a spool: how far each replay was collected, so that a later start takes it up there."""

import sqlite3
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import msgspec

from sensorium.agents.spool.ledger_file import LedgerFile
from sensorium.episode.account import Place, Tally, accounts, merge
from sensorium.episode.documents import Account, Open

RUNS = """
CREATE TABLE IF NOT EXISTS runs (
    run TEXT PRIMARY KEY, again TEXT NOT NULL, position BLOB, counted BLOB, episodes INTEGER NOT NULL DEFAULT 0,
    finished INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS run_episodes (episode BLOB PRIMARY KEY, run TEXT NOT NULL) WITHOUT ROWID;
"""
"""SQL of the tables: what is known of each run, and the episodes that it began, but for those up to whose end all is
done."""
_GET = "SELECT again, position, counted, episodes, finished FROM runs WHERE run = ?"
_UNSEALED = "SELECT episode FROM run_episodes JOIN episodes USING (episode) WHERE run = ? AND state = 'pending'"
_RUN_OF = "SELECT run FROM run_episodes WHERE episode = ?"
_ACCOUNTS = msgspec.msgpack.Decoder(dict[str, Account])


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """Where a run is: all before `until_ns`, in the time after the recording's clock was set back `resets` times, is in
    sealed episodes or counted between, as `counted` says. Streams that had not come so far are at `passed`."""

    resets: int
    until_ns: int
    counted: dict[str, Account] = {}
    passed: dict[str, tuple[int, int]] = {}

    @property
    def end(self) -> tuple[int, int]:
        """To be compared with other moments of the recording."""
        return self.resets, self.until_ns


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one. `again` is the word with which it was begun anew, `counted` what it has counted between,
    `episodes` how many it has sealed since it was last begun or ended as it was told."""

    run: str
    again: str = ""
    position: Position | None = None
    counted: dict[str, Account] = {}
    episodes: int = 0
    finished: bool = False


class RunTable:
    """Part of a ledger's file. What is given a connection is part of a change of the ledger's."""

    def __init__(self, file: LedgerFile) -> None:
        self._file = file

    def get(self, run: str) -> Run | None:
        """None if it was never begun."""
        return _run(run, self._file.read(_GET, (run,)))

    def all(self) -> list[str]:
        """Every one that was begun in this spool."""
        return [row[0] for row in self._file.read("SELECT run FROM runs")]

    def unsealed(self, run: str) -> list[UUID]:
        """The episodes that it began, but for those up to whose end all is done."""
        return [UUID(bytes=row[0]) for row in self._file.read(_UNSEALED, (run,))]

    def ids(self) -> set[bytes]:
        """The ids of those of all runs."""
        return {row[0] for row in self._file.read("SELECT episode FROM run_episodes")}

    def start(self, run: Run) -> None:
        """It begins, from its beginning."""
        with self._file.change() as change:
            change.execute("INSERT OR REPLACE INTO runs (run, again) VALUES (?, ?)", (run.run, run.again))
            change.execute("DELETE FROM run_episodes WHERE run = ?", (run.run,))

    def end(self, run: str, *, finished: bool) -> None:
        """It ends as it should; `finished` if its sources have ended, which holds if all its episodes are sealed."""
        done = finished and not self.unsealed(run)
        with self._file.change() as change:
            change.execute("UPDATE runs SET episodes = 0, finished = ? WHERE run = ?", (done, run))

    def began(self, change: sqlite3.Connection, episode: UUID, run: str) -> None:
        """It has begun an episode."""
        change.execute("INSERT OR REPLACE INTO run_episodes VALUES (?, ?)", (episode.bytes, run))

    def gone(self, change: sqlite3.Connection, episode: UUID) -> None:
        """An episode was given up."""
        change.execute("DELETE FROM run_episodes WHERE episode = ?", (episode.bytes,))

    def sealed(self, change: sqlite3.Connection, episode: UUID, position: Position) -> None:
        """An episode is whole and on disk, and with it all up to `position`."""
        run = _run_of(change, episode)
        if run is not None:
            _move(change, run, position)
            change.execute("UPDATE runs SET episodes = episodes + 1 WHERE run = ?", (run.run,))
            self.gone(change, episode)

    def committed(self, change: sqlite3.Connection, episode: UUID) -> None:
        """The store is about to have an episode; one that a crash cut short too, if it was delivered before the run was
        taken up: what of it is missing is lost, as its account says."""
        run = _run_of(change, episode)
        if run is not None:
            resets = run.position.resets if run.position else 0
            _move(change, run, Position(resets=resets, until_ns=_end_ns(change, episode), counted=run.counted))
            self.gone(change, episode)

    def keep(self, change: sqlite3.Connection, run: str, counted: Mapping[str, Account]) -> None:
        """It has counted so much between."""
        change.execute("UPDATE runs SET counted = ? WHERE run = ?", (msgspec.msgpack.encode(counted), run))

    def leave_counts(self, change: sqlite3.Connection, copied: Mapping[UUID, Place]) -> None:
        """The spool has another id from here on. What runs counted behind where they are stays with the former; what
        they have counted here are the episodes that were `copied`, and who takes a run up counts their samples anew."""
        counted: dict[str, Place] = {}
        for (name,) in change.execute("SELECT run FROM runs").fetchall():
            run = _run(name, change.execute(_GET, (name,)).fetchall())
            said = run.position.counted if run is not None and run.position is not None else {}
            counted[name] = {stream: Tally.of(account) for stream, account in said.items()}
        for episode, place in copied.items():
            run = _run_of(change, episode)
            if run is not None:
                merge(counted[run.run], place)
        for name, whole in counted.items():
            self.keep(change, name, accounts(whole))


def _run(run: str, rows: list[tuple[Any, ...]]) -> Run | None:
    for again, position, counted, episodes, finished in rows:
        return Run(
            run=run,
            again=again,
            position=msgspec.msgpack.decode(position, type=Position) if position else None,
            counted=_ACCOUNTS.decode(counted) if counted else {},
            episodes=episodes,
            finished=bool(finished),
        )
    return None


def _run_of(change: sqlite3.Connection, episode: UUID) -> Run | None:
    """The run that began an episode, if not all up to its end is done."""
    row = change.execute(_RUN_OF, (episode.bytes,)).fetchone()
    return None if row is None else _run(row[0], change.execute(_GET, (row[0],)).fetchall())


def _move(change: sqlite3.Connection, run: Run, position: Position) -> None:
    if run.position is None or run.position.end < position.end:
        change.execute("UPDATE runs SET position = ? WHERE run = ?", (msgspec.msgpack.encode(position), run.run))


def _end_ns(change: sqlite3.Connection, episode: UUID) -> int:
    """Where an episode ends: after its last sample, where its account is an estimate, else as its OPEN said."""
    sealed, manifest = change.execute(
        "SELECT accounts.sealed, manifest FROM episodes LEFT JOIN accounts USING (episode) WHERE episode = ?",
        (episode.bytes,),
    ).fetchone()
    said = _ACCOUNTS.decode(sealed).values() if sealed else ()
    lasts = [account.lost_interval_ns[1] for account in said if account.lost_interval_ns]
    return max(lasts) + 1 if lasts else msgspec.msgpack.decode(manifest, type=Open).end_ns
