"""Which episodes of a store are the best and which the worst, by verdicts, losses and how they ended."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sensorium.corpus.episode import Episode
from sensorium.episode.plural import many


@dataclass(frozen=True, slots=True)
class SaidAgainst:
    """What speaks against an episode: verdicts that failed it, the share of its samples lost, how it ended."""

    failed: tuple[str, ...]
    lost: int
    lost_share: float
    reason: str

    def __bool__(self) -> bool:
        return bool(self.failed or self.lost or self.reason != "complete")

    @property
    def order(self) -> tuple[int, float, bool]:
        """The least is the worst."""
        return -len(self.failed), -self.lost_share, self.reason == "complete"

    def said(self) -> tuple[str, ...]:
        """A line for each."""
        lost = (f"{many(self.lost, 'sample')} lost ({self.lost_share:.2%})",) if self.lost else ()
        ended = (f"it ended: {self.reason}",) if self.reason != "complete" else ()
        return tuple(f"verdict against it: {each}" for each in self.failed) + lost + ended


@dataclass(frozen=True, slots=True)
class Ranked:
    """An episode, and why it is the best or the worst; nothing where nothing is against it."""

    episode: Episode
    why: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {"episode": self.episode.id, "why": list(self.why)}


def faults_of(record: Mapping[str, Any]) -> SaidAgainst:
    """Of an episode as `Corpus.each_record` has it.

    >>> account = {"front": {"captured": 4, "lost": {"late": 1}}}
    >>> faults_of({"account": account, "reason": "complete", "verdicts": {}}).said()
    ('1 samples lost (25.00%)',)
    """
    captured = sum(each["captured"] for each in record["account"].values())
    lost = sum(sum(each["lost"].values()) for each in record["account"].values())
    failed = [name for name, each in record["verdicts"].items() if (each["verdict"] or {}).get("passed") is False]
    return SaidAgainst(tuple(sorted(failed)), lost, lost / captured if captured else 0.0, str(record["reason"]))


def against(records: Iterable[Mapping[str, Any]]) -> dict[str, SaidAgainst]:
    """By id those episodes that anything is against, the worst first; of equal ones the oldest."""
    found = ((str(record["episode"]), faults_of(record)) for record in records)
    return dict(sorted((each for each in found if each[1]), key=lambda each: (each[1].order, each[0])))
