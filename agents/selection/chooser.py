"""The chooser: looks in, final decisions out; the selector with what the device knows, live and in every replay."""

import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from sensorium.agents.filters.guarded_call import GuardedCall, in_line
from sensorium.agents.selection.campaigns import with_campaigns
from sensorium.agents.selection.contract import Policy
from sensorium.agents.selection.knowledge import Knowledge, KnowledgeState
from sensorium.agents.selection.policy import SelectionPolicy
from sensorium.agents.selection.selector import Selector
from sensorium.episode.unit import Decision, Judged, Look, Unit
from sensorium.errors import ConfigError, Corrupt, SensoriumError
from sensorium.threads import Thread

log = logging.getLogger(__name__)

SHORTENED = "selection.shortened"
"""The score that is 1 of a unit before which all that waited for a pre-roll had to be decided: it can claim nothing."""
_NOBODY = "?"
WITHIN_S = 10.0
"""As long as one of another package may take to answer."""

T = TypeVar("T")


class ChooserState(msgspec.Struct):
    """What a restart needs: the state of the policy of the kind `by`, empty of the built-in one, and what is known."""

    selector: bytes
    knowledge: KnowledgeState
    by: str = ""


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

    A policy of another package that raises, or does not decide of each unit once and in order, is an error; where it is
    `contained`, it may hang too, and it is one line: from the first unit that it left undecided on the built-in one
    decides, under the same budget and rules. What the other had left is not known, so it begins with an empty purse:
    nothing is kept beyond the ceiling, and nothing is lost unsaid.
    """

    def __init__(
        self, policy: SelectionPolicy, spool_id: str, state: bytes | None = None, *, contained: bool = False
    ) -> None:
        """Begin, or go on from `state`, under this policy or another; of one of another kind is taken what is known.

        Raises:
            ConfigError: the policy cannot be opened.
            Corrupt: `state` is none.
        """
        self._before = before = None if state is None else _decoded(state)
        self._policy, self._spool_id, self._contained = policy, spool_id, contained
        self._selector = _going_on(policy, spool_id, before)
        self._decided = False
        self._knowledge = Knowledge(None if before is None else before.knowledge)
        self._stateless = False
        work = f"asks the policy {policy.decider!r}"
        self._asking = GuardedCall(lambda run: Thread("decide", work, run, lambda _: None))
        self._waiting: deque[_Waiting] = deque()
        self._forget_what_waited()
        self._begins = True

    @property
    def state(self) -> bytes:
        """All that the next decisions depend on, but for rolls."""
        by = self._policy.decider
        try:
            selector = self._asked(lambda: self._selector.state)
            if not isinstance(selector, bytes):
                raise TypeError(f"expected bytes, got {type(selector).__name__}")
        except Exception as error:
            if not by:
                raise
            if not self._stateless:
                log.warning("selection: policy %r has no state: %s; a restart begins without it", by, in_line(error))
            self._stateless, selector, by = True, b"", _NOBODY
        return msgspec.msgpack.encode(ChooserState(selector, self._knowledge.state, by))

    @property
    def left(self) -> float:
        """This part of the budget, at least, is left to spend; 0 where a policy of another package decides."""
        return self._selector.left if isinstance(self._selector, Selector) else 0.0

    def end_ns(self, boot: str) -> int | None:
        """Where the last unit ended, if that was in this boot."""
        return self._knowledge.end_ns(boot)

    def step(self, unit: Unit, looks: Mapping[str, Look]) -> list[Judged]:
        """Decide of the next unit, whose novelty and change are those of `looks` by stream; what is final by now."""
        before = self.finish() if unit.scores.get(SHORTENED) else []  # as it was: a replay is not told otherwise
        unit = with_campaigns(self._knowledge.saw(unit, looks), self._policy.campaigns)
        self._waiting.append(_Waiting(unit, looks, self._begins))
        self._begins = False
        return before + self._final(lambda selector: selector.step(unit))

    def finish(self) -> list[Judged]:
        """What waited for a pre-roll, now final."""
        final = self._final(lambda selector: selector.finish())
        if self._waiting:  # it was another's, which left some
            final += self._final(lambda selector: selector.finish())
        return final

    def mark_saved(self, final: list[Judged]) -> list[Judged]:
        """`final`, of the last step, where `state` was made durable behind it: its unit says so, now or later."""
        if self._waiting:
            self._waiting[-1].saved = True
            return final
        return [*final[:-1], *(msgspec.structs.replace(each, saved=True) for each in final[-1:])]

    def _forget_what_waited(self) -> None:
        try:
            self._asked(self._selector.finish)
        except Exception as error:
            if not (self._contained and self._policy.decider):
                raise
            self._fall_back(error)

    def _final(self, ask: Callable[[Policy], list[Decision]]) -> list[Judged]:
        try:
            decisions, waiting = self._asked(lambda: self._checked(ask(self._selector)))
        except Exception as error:
            if not (self._contained and self._policy.decider):
                raise
            decisions = self._fall_back(error)
            waiting = self._selector.waiting
        final = []
        for decision in decisions:
            self._decided = True
            each = self._waiting.popleft()
            self._learn(each, decision)
            final.append(each.judged(decision))
        if waiting and waiting[-1].kept:  # only then may a roll have claimed what came before
            for each, decision in zip(self._waiting, waiting, strict=True):
                self._learn(each, decision)
        return final

    def _asked(self, call: Callable[[], T]) -> T:
        """What the policy answers: of one that is contained and of another package, in time."""
        if not (self._contained and self._policy.decider):
            return call()
        outcome = None if self._asking.busy else self._asking.outcome(lambda: (call(),), WITHIN_S)
        if outcome is None:
            raise TimeoutError(f"it has not answered within {WITHIN_S:g} s")
        if isinstance(outcome, Exception):
            raise outcome
        if isinstance(outcome, BaseException):
            raise RuntimeError(in_line(outcome)) from outcome
        answer: T = outcome[0]
        return answer

    def _checked(self, decisions: list[Decision]) -> tuple[list[Decision], Sequence[Decision]]:
        """They, and the decisions that wait, where these are of the units that were next, and none is missing."""
        waiting = self._selector.waiting
        if not self._policy.decider:
            return decisions, waiting
        for each, decision in zip(self._waiting, decisions, strict=False):
            if (decision.start_ns, decision.boot) != (each.unit.start_ns, each.unit.boot):
                raise ValueError(f"policy: decided of {decision.start_ns} ns where {each.unit.start_ns} ns was next")
            if decision.kept and each.unit.gate:
                raise ValueError(f"policy: kept {decision.start_ns} ns, behind the gate {each.unit.gate!r}")
        if len(decisions) + len(waiting) != len(self._waiting):
            raise ValueError(
                f"policy: of {len(self._waiting)} units {len(decisions)} are final and {len(waiting)} wait"
            )
        return decisions, waiting

    def _fall_back(self, error: Exception) -> list[Decision]:
        """What the built-in policy decides of the units that wait."""
        log.error(
            "selection: policy %r failed at %d ns: %s; the built-in one decides from here on, from an empty purse;"
            " mend it, and start again",
            self._policy.decider,
            self._waiting[-1].unit.start_ns if self._waiting else 0,
            in_line(error),
        )
        self._policy = self._policy.built_in
        self._selector = selector = _going_on(self._policy, self._spool_id, self._before)
        if self._decided and isinstance(selector, Selector):
            selector.leave(0.0)
        selector.finish()
        return [decision for each in self._waiting for decision in selector.step(each.unit)]

    def _learn(self, each: _Waiting, decision: Decision) -> None:
        if decision.kept and not each.learnt:
            self._knowledge.learn(each.looks)
            each.learnt = True


def decider(policy: SelectionPolicy, spool_id: str, state: bytes | None = None) -> Policy:
    """The policy that a document tells of: the built-in one, or that of another package.

    Raises:
        ConfigError: it cannot be opened.
        Corrupt: `state` is none.
    """
    if policy.decided_by is None:
        return Selector(policy, spool_id, state)
    try:
        return policy.decided_by.open(policy, spool_id, state)
    except SensoriumError:
        raise
    except Exception as error:
        if state is not None:
            raise Corrupt(f"state of the policy {policy.decider!r}: {in_line(error)}; it begins anew") from error
        why = f"policy {policy.decider!r} cannot be opened: {in_line(error)}"
        raise ConfigError(f"trigger.decided_by: {why}") from error


def _going_on(policy: SelectionPolicy, spool_id: str, before: ChooserState | None) -> Policy:
    """From what it knew itself; where another decided before, what that has left to spend is not known."""
    if before is None or before.by == policy.decider:
        return decider(policy, spool_id, None if before is None else before.selector)
    made = decider(policy, spool_id)
    if isinstance(made, Selector):
        made.leave(0.0)
    return made


def _decoded(state: bytes) -> ChooserState:
    try:
        found = msgspec.msgpack.decode(state, type=ChooserState)
        found.knowledge.check()
        return found
    except (msgspec.DecodeError, ValueError) as error:
        raise Corrupt(f"state of selection: {error}; without it selection begins anew") from error
