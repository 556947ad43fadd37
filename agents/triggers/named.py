"""Named: scores that conditions name and nobody sets, or that are no numbers, are said, and not just NULL for ever."""

import logging
from collections.abc import Collection, Iterable

from sensorium.drivers.registry import nearest
from sensorium.drivers.stream import Block

log = logging.getLogger(__name__)


def split(column: str, streams: Iterable[str]) -> tuple[str, str]:
    """The stream, of those that there are, and the score of it that a column is, or "" twice.

    >>> split("rig.cam0.blur", ["rig", "rig.cam0"]), split("cam.blur", ["rig"])
    (('rig.cam0', 'blur'), ('', ''))
    """
    of = max((name for name in streams if column.startswith(f"{name}.")), key=len, default="")
    return (of, column.removeprefix(f"{of}.")) if of else ("", "")


def unset(stream: str, score: str, known: Collection[str]) -> str:
    """What is wrong with a score that a stream does not have, and what is nearest to it."""
    has = ", ".join(sorted(known)) or "no scores"
    return f"stream {stream!r} has no score {score!r}{nearest(score, known)} (there are: {has})"


class NamedScores:
    """The columns of all conditions. What the first samples of a stream lack is said, once.

    A file that was checked against filters that say which scores they set has none such.
    """

    def __init__(self, columns: Collection[str]) -> None:
        self._columns = frozenset(columns)
        self._seen: set[str] = set()
        self._beyond: set[str] = set()

    def see(self, block: Block, streams: Collection[str], more: Collection[str]) -> None:
        """Samples of one of `streams` have come; `more` are scores that are told of it behind its filters."""
        if block.stream in self._seen:
            return
        self._seen.add(block.stream)
        known = {*block.scores, *more}
        for column in sorted(self._columns):
            of, score = split(column, streams)
            if of == block.stream and score not in known:
                log.warning("trigger: %r is NULL: %s", column, unset(of, score, known))

    def beyond(self, stream: str, scores: Iterable[str]) -> None:
        """These of a stream were infinite; said once of each."""
        for name in sorted({f"{stream}.{score}" for score in scores} - self._beyond):
            self._beyond.add(name)
            log.warning("selection: score %r is infinite; it counts as absent where it is", name)
