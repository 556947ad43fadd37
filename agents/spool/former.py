"""The former ids of a spool, under which it still has something to deliver or to tell."""

import msgspec

from sensorium.agents.spool.ledger_file import LedgerFile, note
from sensorium.episode.documents import BetweenTotals


class FormerSpool(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a spool was under a former id, when it took another: how far its ordinals went, what was in no episode."""

    next_ordinal: int = 0
    totals: BetweenTotals = BetweenTotals()


class Formers:
    """What a ledger's file has of them. One whose ledger was lost is known by its episodes alone."""

    def __init__(self, file: LedgerFile) -> None:
        self._file = file

    def __getitem__(self, spool_id: str) -> FormerSpool:
        return self._all().get(spool_id, FormerSpool())

    def ids(self) -> list[str]:
        """Those under which there is something to deliver, or to tell."""
        rows = self._file.read(
            "SELECT DISTINCT spool_id FROM episodes WHERE spool_id IS NOT NULL"
            " AND (state = 'pending' OR (state = 'discarded' AND ledgered = 0))"
        )
        return sorted({row[0] for row in rows} | {each for each, was in self._all().items() if was.totals.streams})

    def with_one(self, spool_id: str, was: FormerSpool) -> dict[str, FormerSpool]:
        """All of them, and one that is now, or is another than it was."""
        return self._all() | {spool_id: was}

    def forget_totals(self, spool_id: str) -> None:
        """The server has noted what was in no episode of one."""
        formers = self.with_one(spool_id, msgspec.structs.replace(self[spool_id], totals=BetweenTotals()))
        with self._file.change() as change:
            note(change, "former", formers)

    def _all(self) -> dict[str, FormerSpool]:
        said = self._file.meta("former")
        return msgspec.msgpack.decode(said, type=dict[str, FormerSpool]) if isinstance(said, bytes) else {}
