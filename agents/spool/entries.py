"""What a ledger says of one episode: its entry, how its file was sealed, how it was given up."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple
from uuid import UUID

import msgspec

from sensorium.agents.spool.runs import Position
from sensorium.drivers.clock import Clock
from sensorium.episode.documents import Account, Kind, Mission, Open
from sensorium.episode.value import NOTHING, Chance, Worth

SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS episodes (
    ordinal INTEGER PRIMARY KEY, episode BLOB NOT NULL UNIQUE, state TEXT NOT NULL, why TEXT NOT NULL DEFAULT '',
    ledgered INTEGER NOT NULL DEFAULT 0, priority REAL NOT NULL, recoveries INTEGER NOT NULL DEFAULT 0,
    sealed_bytes INTEGER, digest BLOB, manifest BLOB);
CREATE INDEX IF NOT EXISTS episodes_state ON episodes (state, ledgered);
CREATE TABLE IF NOT EXISTS accounts (
    episode BLOB PRIMARY KEY, sealed BLOB NOT NULL, given BLOB) WITHOUT ROWID;
"""
ADDED = {
    "aside": "INTEGER NOT NULL DEFAULT 0",
    "held": "TEXT NOT NULL DEFAULT ''",
    "spool_id": "TEXT",
    "spool_ordinal": "INTEGER",
    **dict.fromkeys(("value", "draw", "p"), "REAL"),
}
"""Columns that a spool of before may lack. `ordinal` numbers what the file has; an episode's own is `spool_ordinal`,
which is the same while the spool has had one id only. `spool_id` is a former one, under which it is delivered. `held`
says why a pending one is not offered; a release of before, which does not know of it, offers it."""
STANDS = "CASE WHEN state = 'pending' AND held <> '' THEN 'held' ELSE state END"
"""Where an episode stands, as people are told it."""
State = Literal["pending", "committed", "discarded"]
OWN = "coalesce(spool_ordinal, ordinal)"
COLUMNS = (
    f"{OWN}, episode, state, why, priority, recoveries, sealed_bytes, digest, manifest, coalesce(spool_id, ''),"
    " value, draw, p, held"
)


class Beginning(NamedTuple):
    """What is known of an episode that has its ordinal, and of which nothing is on disk."""

    ordinal: int
    priority: float
    manifest: bytes
    run: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One ordinal. `manifest` is the encoded OPEN header while pending; `sealed_bytes`, `digest` and `worth` once
    sealed; `spool_id` that of a former spool, else empty; `held` says why it is, empty if it is not."""

    ordinal: int
    episode: UUID
    state: State
    why: str
    priority: float
    recoveries: int
    sealed_bytes: int | None
    digest: bytes
    manifest: bytes
    spool_id: str
    worth: Worth
    held: str


class Priority(msgspec.Struct, frozen=True):
    """Of a mission what orders delivery."""

    priority: float = Mission().priority


class Brief(msgspec.Struct, frozen=True, kw_only=True):
    """Of an OPEN no more than is needed of an episode that waits: there may be very many."""

    ordinal: int
    kind: Kind = "full"
    start_ns: int
    end_ns: int
    mission: Priority
    clock: Clock

    @classmethod
    def of(cls, said: Open) -> "Brief":
        """What is needed of an OPEN that is there whole."""
        mission = Priority(said.mission.priority)
        return cls(
            ordinal=said.ordinal,
            kind=said.kind,
            start_ns=said.start_ns,
            end_ns=said.end_ns,
            mission=mission,
            clock=said.clock,
        )


class SealedFile(NamedTuple):
    """A file that is whole and on disk. Its SEAL says `accounts` and `worth`; with it its run comes to `position`."""

    episode: UUID
    size: int
    digest: bytes
    recoveries: int
    accounts: Mapping[str, Account]
    position: Position | None = None
    worth: Worth = NOTHING

    @property
    def weights(self) -> tuple[float | None, float | None, float | None]:
        """Its value, draw and p, as the ledger has them."""
        return self.worth.value, *(self.worth.chance or (None, None))


def counted(kind: Kind, said: Mapping[str, Account]) -> Mapping[str, Account]:
    """What a SEAL says of samples, as far as these are a sensor's: a preview is made of such, and has none."""
    return {} if kind == "preview" else said


class GivenUp(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a sealed episode was given up: what of it is between since, what its OPEN told, and after how many OPENs."""

    place: dict[str, Account] = {}
    told: dict[str, Account] = {}
    openings: int = 0


def entry_of(row: Sequence[Any]) -> Entry:
    """From a row of the ledger: its `COLUMNS`."""
    ordinal, episode, state, why, priority, recoveries, size, digest, manifest, of, value, draw, p, held = row[:14]
    worth = Worth(value, None if draw is None else Chance(draw, p))
    said = digest or b"", manifest or b"", of, worth, held
    return Entry(ordinal, UUID(bytes=episode), state, why, priority, recoveries, size, *said)
