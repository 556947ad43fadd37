"""The chooser: looks in, final decisions out; the selector with what the device knows, live and in every replay."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from sensorium.agents.selection.contract import Policy
from sensorium.agents.selection.knowledge import Knowledge, KnowledgeState
from sensorium.agents.selection.policy import SelectionPolicy
from sensorium.agents.selection.selector import Selector
from sensorium.episode.unit import Decision, Judged, Look, Unit
from sensorium.errors import Corrupt


class ChooserState(msgspec.Struct):
    """What a restart needs."""

    selector: bytes
    knowledge: KnowledgeState


@dataclass(slots=True)
class _Waiting:
    """A unit without a final decision."""

    unit: Unit
    looks: Mapping[str, Look]
    begun: bool
    learnt: bool = False
    saved: bool = False

    def judged(self, decision: Decision) -> Judged:
        return Judged(unit=self.unit, decision=decision, looks=dict(self.looks), begun=self.begun, saved=self.saved)


class Chooser:
    """Decides of one unit after the other, from what its streams look like and what is kept.

    What is kept is learnt at once, even if its decision still waits for a pre-roll. No roll reaches over a restart, as
    the samples that waited are gone: nothing that waits is in `state`.

    A restart is in the log: the first unit that a chooser decides of is `begun`, and one behind which its state was
    made durable is `saved`:

        final = chooser.step(unit, looks)
        write(chooser.state)
        final = chooser.mark_saved(final)
    """

    def __init__(self, policy: SelectionPolicy, spool_id: str, state: bytes | None = None) -> None:
        """Begin, or go on from `state`, under this policy or another.

        Raises:
            Corrupt: `state` is none.
        """
        before = None if state is None else _decoded(state)
        self._selector = decider(policy, spool_id, None if before is None else before.selector)
        self._selector.finish()
        self._knowledge = Knowledge(None if before is None else before.knowledge)
        self._waiting: deque[_Waiting] = deque()
        self._begins = True

    @property
    def state(self) -> bytes:
        """All that the next decisions depend on, but for rolls."""
        return msgspec.msgpack.encode(ChooserState(self._selector.state, self._knowledge.state))

    def end_ns(self, boot: str) -> int | None:
        """Where the last unit ended, if that was in this boot."""
        return self._knowledge.end_ns(boot)

    def step(self, unit: Unit, looks: Mapping[str, Look]) -> list[Judged]:
        """Decide of the next unit, whose novelty and change are those of `looks` by stream; what is final by now."""
        unit = self._knowledge.saw(unit, looks)
        self._waiting.append(_Waiting(unit, looks, self._begins))
        self._begins = False
        return self._final(self._selector.step(unit))

    def finish(self) -> list[Judged]:
        """What waited for a pre-roll, now final."""
        return self._final(self._selector.finish())

    def mark_saved(self, final: list[Judged]) -> list[Judged]:
        """`final`, of the last step, where `state` was made durable behind it: its unit says so, now or later."""
        if self._waiting:
            self._waiting[-1].saved = True
            return final
        return [*final[:-1], *(msgspec.structs.replace(each, saved=True) for each in final[-1:])]

    def _final(self, decisions: list[Decision]) -> list[Judged]:
        final = []
        for decision in decisions:
            each = self._waiting.popleft()
            if (decision.start_ns, decision.boot) != (each.unit.start_ns, each.unit.boot):
                raise ValueError(f"policy: decided of {decision.start_ns} ns where {each.unit.start_ns} ns was next")
            self._learn(each, decision)
            final.append(each.judged(decision))
        waiting = self._selector.waiting
        if waiting and waiting[-1].kept:  # only then may a roll have claimed what came before
            for each, decision in zip(self._waiting, waiting, strict=True):
                self._learn(each, decision)
        return final

    def _learn(self, each: _Waiting, decision: Decision) -> None:
        if decision.kept and not each.learnt:
            self._knowledge.learn(each.looks)
            each.learnt = True


def decider(policy: SelectionPolicy, spool_id: str, state: bytes | None = None) -> Policy:
    """The policy that a document tells of: the built-in one, or that of another package."""
    if policy.decided_by is None:
        return Selector(policy, spool_id, state)
    return policy.decided_by.open(policy, spool_id, state)


def _decoded(state: bytes) -> ChooserState:
    try:
        found = msgspec.msgpack.decode(state, type=ChooserState)
        found.knowledge.check()
        return found
    except (msgspec.DecodeError, ValueError) as error:
        raise Corrupt(f"state of selection: {error}; without it selection begins anew") from error
