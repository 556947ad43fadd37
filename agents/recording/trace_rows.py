"""Rows of the trace that wait to be written: of too many the two neighbours that lose least become one."""

from sensorium.agents.selection.campaign import SCORE
from sensorium.episode.trace_row import TraceRow, merged
from sensorium.episode.unit import Judged


class TraceRows:
    """At most `most` of them, in order of time."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._rows: list[TraceRow] = []

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def rows(self) -> list[TraceRow]:
        """All that wait."""
        return list(self._rows)

    @property
    def units(self) -> int:
        """How many units they are."""
        return sum(row.count for row in self._rows)

    @property
    def full(self) -> bool:
        """Whether for one more two of them must become one."""
        return len(self._rows) >= self.most

    def add(self, judged: Judged) -> None:
        """One more unit; two neighbours become one if there is no place for it."""
        self._rows.append(TraceRow(judged=judged))
        while len(self._rows) > self.most:
            at = min(range(len(self._rows) - 1), key=self._loss)
            self._rows[at : at + 2] = [merged(self._rows[at], self._rows[at + 1])]

    def clear(self) -> None:
        """They are written."""
        self._rows.clear()

    def _loss(self, at: int) -> tuple[bool, bool, int]:
        """What is lost if a row and the next become one: rather than units that were kept, or that a restart goes on
        from, those that were dropped for one reason, and of these few."""
        one, other = self._rows[at], self._rows[at + 1]
        differ = one.judged.decision.reason != other.judged.decision.reason or _looked_for(one) != _looked_for(other)
        return _is_marked(one.judged) or _is_marked(other.judged), differ, one.count + other.count


def _looked_for(row: TraceRow) -> list[tuple[str, float]]:
    """What campaigns found of it: how often they did is told of rows that are alike."""
    return [(name, value) for name, value in row.judged.unit.scores.items() if name.startswith(SCORE)]


def _is_marked(judged: Judged) -> bool:
    return judged.decision.kept or judged.decision.drawn or judged.saved or judged.begun
