"""Attempts: what the store has of a campaign's rollouts, and which one of each slot counts."""

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa

from sensorium.corpus.catalog_reading import CATALOG, columns_of, read_engine
from sensorium.errors import StoreError
from sensorium.sim.rollouts.job import CPU_S, FAILED_BY, REWARD, SIMULATED_S, US, WALL_S, WHY, Slot

_FROM = "SELECT episodes.rowid, episode, reason, bytes, document FROM episodes"
_APART = " JOIN documents ON documents.id = episodes.id"
_WHERE = " WHERE mission = :campaign AND episodes.rowid > :after"
_PAGE = " ORDER BY episodes.rowid LIMIT 2000"


class _Document(msgspec.Struct):
    labels: dict[str, Any] = {}
    outcome: str = ""


_decode = msgspec.json.Decoder(_Document).decode


@dataclass(frozen=True, slots=True)
class Attempt:
    """One episode of a campaign. It `is_complete` where the rollout came to its end, or to a failure of its policy's;
    `reward` is then its sum of rewards, 0 of one that failed."""

    slot: Slot
    attempt: int
    episode: str
    is_complete: bool
    failed_by: str
    why: str
    reward: float
    wall_s: float
    cpu_s: float
    simulated_s: float
    bytes: int


class Attempts:
    """Looks into the catalog of a store again and again, each time at what was committed since."""

    def __init__(self, store: Path, campaign: str) -> None:
        self._engine = read_engine(store / CATALOG)
        self._path = store / CATALOG
        self._campaign = campaign
        self._after = 0

    def new(self) -> Iterator[Attempt]:
        """What was committed since the last look, oldest first, not all of it in memory at once."""
        while True:
            with self._reading() as connection:
                rows = connection.execute(_rows(connection), {"campaign": self._campaign, "after": self._after}).all()
            if not rows:
                return
            for rowid, episode, reason, size, document in rows:
                self._after = rowid
                if (attempt := attempt_of(self._campaign, episode, reason, size, document)) is not None:
                    yield attempt

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        try:
            with self._engine.connect() as connection:
                yield connection
        except sa.exc.DBAPIError as error:
            raise StoreError(f"{self._path}: {error.orig}; run `sensorium rebuild-catalog`") from error


def _rows(connection: sa.Connection) -> sa.TextClause:
    """The question for a page of episodes, as the catalog is: one of version 1, that no ingest has made anew yet, has
    the documents in its rows; one of before there were traces has full episodes alone."""
    apart = sa.inspect(connection).has_table("documents")
    full = " AND kind = 'full'" if "kind" in columns_of(connection) else ""
    return sa.text(_FROM + (_APART if apart else "") + _WHERE + full + _PAGE)


def attempt_of(campaign: str, episode: str, reason: str, size: int, document: bytes) -> Attempt | None:
    """What the catalog's row of an episode says; None if it is of no rollout of this campaign."""
    try:
        said = _decode(document)
        labels = said.labels
        if labels.get("campaign") != campaign:
            return None
        failed_by = str(labels.get(FAILED_BY, ""))
        complete = reason == "complete" and failed_by != US and REWARD in labels
        return Attempt(
            slot=(int(labels["group"]), int(labels["index"])),
            attempt=int(labels["attempt"]),
            episode=episode,
            is_complete=complete,
            failed_by=failed_by,
            why=str(labels.get(WHY, "")) or ("" if complete else reason),
            reward=0.0 if failed_by else float(labels.get(REWARD, 0.0)),
            wall_s=float(labels.get(WALL_S, 0.0)),
            cpu_s=float(labels.get(CPU_S, 0.0)),
            simulated_s=float(labels.get(SIMULATED_S, 0.0)),
            bytes=int(size or 0),
        )
    except (msgspec.DecodeError, KeyError, TypeError, ValueError):
        return None


def counted(attempts: Iterable[Attempt]) -> Attempt | None:
    """Which of the attempts at one slot counts: the first complete one; of two of one number that which began first."""
    return min(
        (each for each in attempts if each.is_complete), key=lambda each: (each.attempt, each.episode), default=None
    )
