"""What became of every ordinal of every spool, and of its samples in no episode, as the catalog has it."""

from typing import NamedTuple

import msgspec
import sqlalchemy as sa

from sensorium.corpus.catalog_tables import between_totals, ledger, spools
from sensorium.episode.documents import Account, BetweenReport
from sensorium.episode.value import Evicted


class SpoolLedger(NamedTuple):
    """A spool's ordinals as the store knows them, and its samples in no episode. `next_ordinal` is what the device said
    last; the rest is pending. `deleted` were committed, and are gone. `evictions` are those of what chance kept, which
    `discarded` counts as `evicted`."""

    device: str
    spool_id: str
    committed: int
    discarded: dict[str, int]
    oldest: int
    next_ordinal: int
    between: dict[str, Account]
    evictions: tuple[Evicted, ...]
    deleted: int = 0

    @property
    def pending(self) -> int:
        return self.next_ordinal - self.committed - self.deleted - sum(self.discarded.values())


def spool_ledgers(connection: sa.Connection, device: str | None = None) -> list[SpoolLedger]:
    """The ledger of every spool that the store has seen, or of one device's."""
    seen: dict[tuple[str, str], tuple[int, int]] = {}
    for name, spool_id, oldest, next_ordinal in connection.execute(sa.select(spools)):
        seen[name, spool_id] = (oldest, next_ordinal)
    key = (ledger.c.device, ledger.c.spool_id)
    counts: dict[tuple[str, str], dict[tuple[str, str], int]] = {owner: {} for owner in seen}
    statement = sa.select(*key, ledger.c.state, ledger.c.reason, sa.func.count(), sa.func.max(ledger.c.ordinal))
    for name, spool_id, state, reason, count, last in connection.execute(
        statement.group_by(*key, ledger.c.state, ledger.c.reason)
    ):
        owner = (name, spool_id)
        counts.setdefault(owner, {})[state, reason] = count
        oldest, next_ordinal = seen.get(owner, (0, 0))
        seen[owner] = (oldest, max(next_ordinal, last + 1))
    between = _between(connection)
    for owner in between:
        counts.setdefault(owner, {})
        seen.setdefault(owner, (0, 0))
    found = []
    for (name, spool_id), states in sorted(counts.items()):
        discarded: dict[str, int] = {}
        evictions = []
        for (state, reason), count in states.items():
            if state == "discarded":
                if (evicted := Evicted.of(reason)) is not None:
                    evictions.append(evicted)
                    reason = "evicted"
                discarded[reason] = discarded.get(reason, 0) + count
        committed = states.get(("committed", ""), 0)
        deleted = sum(count for (state, _), count in states.items() if state == "deleted")
        told = between.get((name, spool_id), {})
        found.append(
            SpoolLedger(name, spool_id, committed, discarded, *seen[name, spool_id], told, tuple(evictions), deleted)
        )
    return [each for each in found if device is None or each.device == device]


def waiting_ordinals(connection: sa.Connection, of: SpoolLedger) -> list[int]:
    """The ordinals of a spool that are not settled, as far as the store knows, in order."""
    if of.pending <= 0:
        return []
    mine = sa.and_(ledger.c.device == of.device, ledger.c.spool_id == of.spool_id, ledger.c.ordinal >= of.oldest)
    settled = set(connection.execute(sa.select(ledger.c.ordinal).where(mine)).scalars())
    return [ordinal for ordinal in range(of.oldest, of.next_ordinal) if ordinal not in settled]


def _between(connection: sa.Connection) -> dict[tuple[str, str], dict[str, Account]]:
    """By spool, what became of its samples in no episode; nothing in a catalog that was made before there was such."""
    if not sa.inspect(connection).has_table(between_totals.name):
        return {}
    return {
        (device, spool_id): msgspec.json.decode(document, type=BetweenReport).streams
        for device, spool_id, document in connection.execute(sa.select(between_totals))
    }
