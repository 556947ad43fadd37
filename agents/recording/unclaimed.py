"""Unclaimed counts: what was dropped or lost while no episode was open, until it is known whether one will hold it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from sensorium.episode.account import Place, Tally, merge
from sensorium.episode.device_account import DeviceAccount

MAX_KEPT = 4096
MERGED_NS = 1_000_000_000


@dataclass(slots=True)
class _Count:
    """Counts of one stream at a stamp; an episode may yet begin that holds it, up to `until_ns`."""

    stream: str
    epoch: int
    at_ns: int
    until_ns: int
    tally: Tally


class Unclaimed:
    """They are between already, so that a crash finds them there; the episode that claims them takes them back.

    Counts of a stream within one second are kept as one. Of very many, the oldest stay between.
    """

    def __init__(self, account: DeviceAccount) -> None:
        self._account = account
        self._counts: list[_Count] = []

    def put(self, stream: str, epoch: int, at_ns: int, until_ns: int, tally: Tally) -> None:
        """Count in none, for now; an episode of this `epoch` that begins before `until_ns` may claim it."""
        self._account.between(stream, tally, (epoch, at_ns))
        last = next((each for each in reversed(self._counts) if each.stream == stream), None)
        if last and (last.epoch, last.until_ns) == (epoch, until_ns) and at_ns - last.at_ns < MERGED_NS:
            last.tally.add(tally)
            return
        self._counts.append(_Count(stream, epoch, at_ns, until_ns, tally.copy()))
        del self._counts[:-MAX_KEPT]

    def held_by(self, epoch: int, start_ns: int, end_ns: int) -> Place:
        """What an episode of this interval would claim."""
        return _sum(each for each in self._counts if each.epoch == epoch and start_ns <= each.at_ns < end_ns)

    def all(self) -> Place:
        """What may be claimed yet, so that no OPEN tells of it."""
        return _sum(self._counts)

    def claimed(self, epoch: int, start_ns: int, end_ns: int) -> None:
        """The episode of this interval has taken its counts."""
        self._counts = [e for e in self._counts if e.epoch != epoch or not start_ns <= e.at_ns < end_ns]

    def settle(self, is_over: Callable[[int, int, int], bool]) -> None:
        """Those stay between for which `is_over(epoch, at_ns, until_ns)`: no episode that holds them can begin."""
        if self._counts:
            self._counts = [e for e in self._counts if not is_over(e.epoch, e.at_ns, e.until_ns)]


def _sum(counts: Iterable[_Count]) -> Place:
    place: Place = {}
    for each in counts:
        merge(place, {each.stream: each.tally})
    return place
