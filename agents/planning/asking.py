"""Asking devices for plans: directives of the store, signed by an operator, and what was answered."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from sensorium.agents.planning.proposal import Proposal
from sensorium.agents.planning.rules import plan_body
from sensorium.corpus.directives import DirectiveEntry, DirectiveShelf, issue
from sensorium.errors import ConfigError
from sensorium.link.approval import Approval
from sensorium.link.operators import OperatorPair

KIND = "plan"


class DirectiveDesk:
    """The desk of the store at `store`, in the name of `pair`; what is asked is not begun later than `life_s` after."""

    def __init__(self, store: Path, pair: OperatorPair, life_s: float) -> None:
        self._store, self._pair, self._life_s = store, pair, life_s
        self._shelf = DirectiveShelf(store)
        self.operator = pair.operator.public

    def ask(self, proposal: Proposal, seconds: float | None, approved_by: Sequence[Approval]) -> str:
        more = {"approved_by": [msgspec.structs.asdict(each) for each in approved_by]} if approved_by else {}
        body = plan_body(proposal, seconds, **more)
        (made,) = issue(self._store, [proposal.device], KIND, body, self._pair, life_s=self._life_s)
        return made.id

    def asked(self, device: str, proposal: str) -> str:
        """The name of the directive by which a proposal was asked for; empty where it never was."""
        for entry in self._shelf.all(device):
            document = entry.document
            if document is not None and document.kind == KIND and document.body.get("proposal") == proposal:
                return document.id
        return ""

    def answer(self, device: str, directive: str) -> tuple[str, str] | None:
        entry: DirectiveEntry | None = self._shelf.find(device, directive)
        if entry is None:
            return "gone", "its directive is not in the store any more"
        return None if entry.answer is None else (entry.answer.state, entry.answer.why)


class NobodysDesk:
    """Asks nobody: for who only wants to know what would be asked for."""

    operator = b""

    def ask(self, proposal: Proposal, seconds: float | None, approved_by: Sequence[Approval]) -> str:
        raise ConfigError(f"proposal {proposal.id}: nobody is asked here ({seconds}, {len(approved_by)} approvals)")

    def asked(self, device: str, proposal: str) -> str:  # noqa: ARG002 (for those who ask)
        return ""

    def answer(self, device: str, directive: str) -> tuple[str, str] | None:  # noqa: ARG002
        return None
