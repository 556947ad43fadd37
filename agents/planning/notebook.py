"""The notebook of a planner: what it believed, foretold, saw come of it, and spent; it stands in the store."""

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol, runtime_checkable

import msgspec

from sensorium.agents.planning.planner import Planner
from sensorium.agents.planning.proposal import Proposal

NoteKind = Literal["hypothesis", "prediction", "outcome", "spent", "trouble"]


class NotebookEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line: what is believed, what a proposal is to show, what came of one, what was spent (`numbers`: tokens,
    requests, seconds), or what went wrong. `proposal` is the adjudicator's id, of an outcome."""

    planner: str
    kind: NoteKind
    text: str = ""
    proposal: str = ""
    numbers: Mapping[str, float] = {}
    written_ns: int = 0


class ProposalFate(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of a proposal: `done`, or refused, expired, failed and `why`; and, of one that was done, the gain
    got."""

    proposal: Proposal
    became: str
    why: str = ""
    got: float = 0.0


@runtime_checkable
class Learning(Planner, Protocol):
    """A planner that is told what became of its proposals, of each that was carried out or refused, after the cards of
    what came of it: of what is proposed one is tried, and cards do not tell which."""

    def learn(self, outcome: ProposalFate) -> None:
        """What became of a proposal of its own."""
        ...


@runtime_checkable
class Remembering(Learning, Protocol):
    """A planner that keeps a notebook. It touches no file: who hosts it reads it the notebook when it begins, and asks
    after each call what is new."""

    def remember(self, entries: Sequence[NotebookEntry]) -> None:
        """What it, or another of its name, has written before, the oldest first."""
        ...

    def written(self) -> list[NotebookEntry]:
        """What it has written since it was asked last."""
        ...
