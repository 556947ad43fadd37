"""The account of samples that are in no episode, kept durable until the next episode's OPEN carries it."""

from sensorium.agents.recording.piece import Piece
from sensorium.agents.spool.spool import Spool
from sensorium.episode.account import Tally
from sensorium.episode.documents import Account

RULES = frozenset({"trigger", "stop"})
"""Why a sample is left out on purpose; all else is a loss."""


class Between:
    """Counts by stream since the last OPEN, beginning with what the spool kept from an earlier run."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._tallies = {name: _tally(account) for name, account in spool.between().items()}
        self._changed = False

    def __getitem__(self, stream: str) -> Tally:
        self._changed = True
        return self._tallies.setdefault(stream, Tally())

    def drop(self, stream: str, piece: Piece, why: str) -> None:
        """Account for a piece that no episode takes."""
        tally = self[stream]
        tally.filter(piece.filtered)
        for cause, n in piece.lost.items():
            tally.lose(cause, n)
        if why in RULES:
            tally.filter({why: len(piece)} if len(piece) else {})
        else:
            tally.lose(why, len(piece))

    def discard(self, accounts: dict[str, Account]) -> None:
        """Take over an episode that is given up: what it would have kept is filtered by `discarded`."""
        for stream, account in accounts.items():
            tally = self[stream]
            tally.filter(dict(account.filtered))
            kept = account.captured - sum(account.filtered.values()) - sum(account.lost.values())
            tally.filter({"discarded": kept} if kept else {})
            for cause, n in account.lost.items():
                tally.lose(cause, n)

    def accounts(self) -> dict[str, Account]:
        """As documents, by stream."""
        return {stream: tally.account() for stream, tally in self._tallies.items()}

    def carried(self) -> None:
        """An OPEN has it now."""
        self._tallies, self._changed = {}, False

    def persist(self) -> None:
        """Put it on disk, if anything changed."""
        if self._changed:
            self._spool.keep_between(self.accounts())
            self._changed = False


def _tally(account: Account) -> Tally:
    return Tally(account.captured, account.stored, dict(account.filtered), dict(account.lost), account.lost_interval_ns)
