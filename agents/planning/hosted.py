"""A hosted planner: somebody's code, bounded in time, its proposals checked, and set aside where it is of no use."""

import contextlib
import logging
import math
import sys
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from sensorium.agents.planning.card import EpisodeCard
from sensorium.agents.planning.notebook import Learning, NotebookEntry, ProposalFate, Remembering
from sensorium.agents.planning.planner import PATIENCE_S, Planner, PlannerConfig, Reach
from sensorium.agents.planning.proposal import Proposal
from sensorium.errors import SensoriumError
from sensorium.patience import IMPORT_S, LeftBehind, within
from sensorium.threads import reason

log = logging.getLogger(__name__)

MOST_GAIN = 1e6
MOST_PARAMETERS, MOST_LETTERS = 64, 2000
MOST_WRITTEN = 100
MOST_SAME = 8
"""So often in a row may it propose the very same, of which something was tried and nothing came."""
MOST_FRUITLESS = 24
"""So many times in a row may what was tried of its proposals, whatever they are, come to nothing."""
MOST_UNSOUND = 3
"""So many times in a row may all that it proposes be unsound."""

_FAILED = object()
_OF_A_CARD = ("where", "labels", "scores", "verdicts", "measured", "decided")
_MOST_WHY = 500

Key = tuple[str, str, tuple[tuple[str, object], ...]]


def key_of(proposal: Proposal) -> Key:
    """What two proposals have in common that ask for the same, whoever makes them and whatever he expects.

    >>> one = Proposal(plan="viewpoint", planner="a", parameters={"x_m": 1.0}, device="rig")
    >>> key_of(one) == key_of(msgspec.structs.replace(one, planner="b", parameters={"x_m": 1.0000000001}))
    True
    """
    said = (
        (name, float(f"{value:.6g}") if isinstance(value, float | int) else value)
        for name, value in proposal.parameters.items()
    )
    return proposal.device, proposal.plan, tuple(sorted(said, key=lambda each: each[0]))


class HostedPlanner:
    """One planner under its name. `aside` is why it is not asked any more; empty as long as it is.

    It never raises: what a planner raises, or does not answer within `patience_s`, sets it aside, as does what is no
    list of proposals, what is unsound three times in a row, the same thing for ever, and what comes to nothing for
    ever. Of the last two it `rests`: they say nothing of what is so later.
    """

    def __init__(self, name: str, planner: Planner, patience_s: float = PATIENCE_S) -> None:
        self.name, self.aside, self.rests = name, "", False
        self._planner, self._patience_s = planner, patience_s
        self._last: frozenset[Key] = frozenset()
        self._same = self._unsound = self._fruitless = 0
        self._failed = self._hangs = False

    def ingest(self, cards: Sequence[EpisodeCard]) -> None:
        """Tell it of episodes."""

        def tell() -> None:
            for card in cards:
                self._planner.ingest(_own(card))

        if cards and not self.aside:
            self._call(tell, "ingest")

    def suggest(self, n: int) -> list[Proposal]:
        """What of its proposals can be compared with others', in its own name."""
        if self.aside:
            return []
        answered = self._call(lambda: self._answered(n), "suggest")  # also to look at what it gave may run its code
        if answered is _FAILED:
            return []
        found: list[Proposal] | None
        found, what = answered
        if found is None:
            self.aside = f"suggest gave {what}, expected a list of proposals"
            return []
        self._unsound = self._unsound + 1 if what and not found else 0
        if self._unsound >= MOST_UNSOUND:
            self.aside = f"nothing that it proposed {MOST_UNSOUND} times was sound: {what}"
            return []
        self._notice(frozenset(map(key_of, found)))
        return [] if self.aside else found

    def came_to_nothing(self) -> None:
        """One of its proposals was refused, or brought nothing."""
        self._failed = True

    def brought(self) -> None:
        """One of its proposals brought something."""
        self._same = self._fruitless = 0

    def go_on_from(self, before: "HostedPlanner") -> None:
        """What it had proposed to nothing before it was made anew counts on."""
        self._last, self._failed = before._last, before._failed
        self._same, self._unsound, self._fruitless = before._same, before._unsound, before._fruitless

    def remember(self, entries: Sequence[NotebookEntry]) -> None:
        """Give one that keeps a notebook what stands in it."""
        if entries and isinstance(self._planner, Remembering):
            planner = self._planner
            self._call(lambda: planner.remember(entries), "remember")

    def learn(self, fate: ProposalFate) -> None:
        """Tell one that wants to know what became of a proposal of its own."""
        if not self.aside and isinstance(self._planner, Learning):
            planner = self._planner
            self._call(lambda: planner.learn(fate), "learn")

    def written(self) -> list[NotebookEntry]:
        """What it has written into its notebook since the last call; also one that is set aside, unless it hangs."""
        if self._hangs or not isinstance(self._planner, Remembering):
            return []
        said = self._call(self._planner.written, "written")
        found = said if isinstance(said, list) else []
        return [each for each in found if isinstance(each, NotebookEntry)][:MOST_WRITTEN]

    def report(self) -> dict[str, Any]:
        """What it says of itself, and why it is set aside, if it is; what JSON cannot say is left out."""
        said = _FAILED if self._hangs else self._call(self._planner.report, "report")
        aside = {"aside": self.aside} if self.aside else {}
        if said is _FAILED:
            return aside
        try:
            found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(said), type=dict[str, Any])
        except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError):
            return aside
        return found | aside

    def _notice(self, keys: frozenset[Key]) -> None:
        """Whether it says the same again, though that came to nothing, or nothing comes of whatever it says."""
        if not keys:
            return
        if keys != self._last:
            self._same = 0
        elif self._failed:
            self._same += 1
        self._fruitless += self._failed
        self._last, self._failed = keys, False
        if self._same >= MOST_SAME:
            self.aside, self.rests = f"it proposed the same {self._same + 1} times, and nothing came of it", True
        elif self._fruitless >= MOST_FRUITLESS:
            why = f"nothing came of what was tried of its proposals, {self._fruitless} times in a row"
            self.aside, self.rests = why, True

    def _answered(self, n: int) -> tuple[list[Proposal] | None, str]:
        """Its sound proposals (None: it gave no list), and in short what it gave first, or what instead of a list."""
        said: object = self._planner.suggest(n)
        if not isinstance(said, list):
            return None, type(said).__name__
        found = [made for each in said[: max(0, n)] if (made := self._checked(each)) is not None]
        return found, (_shortly(said[0]) or type(said[0]).__name__) if said and not found else ""

    def _checked(self, said: object) -> Proposal | None:
        """A proposal as it may go on: of known kinds, finite, in this planner's name."""
        if not isinstance(said, Proposal):
            return None
        try:
            gain = float(said.gain)
            plain = {
                str(name): value if isinstance(value, str) else float(value) for name, value in said.parameters.items()
            }
            made = Proposal(
                plan=said.plan,
                planner=self.name,
                parameters=plain,
                device=said.device,
                gain=min(MOST_GAIN, gain),
                cost_s=float(said.cost_s),
                cost_bytes=float(said.cost_bytes),
                rationale=str(said.rationale)[:MOST_LETTERS],
            )
            whole = msgspec.json.decode(msgspec.json.encode(made), type=Proposal)
        except (TypeError, ValueError, OverflowError, AttributeError, RecursionError, msgspec.MsgspecError):
            return None
        fits = len(plain) <= MOST_PARAMETERS and all(
            len(each) <= MOST_LETTERS for each in (made.device, *plain, *map(str, plain.values()))
        )
        return whole if fits and made.is_sound and math.isfinite(gain) and made.gain >= 0 else None

    def _call(self, call: Callable[[], Any], what: str) -> Any:
        try:
            found, error, why = _contained(call, self._patience_s)
        except TimeoutError:
            self._hangs = True
            self.aside = self.aside or f"{what} was not done within {self._patience_s:g} s"
            return _FAILED
        if error is not None:
            self.aside = self.aside or f"{what} raised {why}"
            log.debug("planner %s: where it raised", self.name, exc_info=error)
        return found


def made(name: str, config: PlannerConfig, reaches: Sequence[Reach], seed: int) -> HostedPlanner | str:
    """A planner as its configuration makes it, hosted; or why it cannot be made.

    Raises:
        SensoriumError: the planner's own: something that it needs is absent.
    """
    try:
        found, error, why = _contained(
            lambda: HostedPlanner(name, config.make(reaches, seed), config.patience_s), IMPORT_S
        )
    except TimeoutError:
        return f"cannot be made: that was not done within {IMPORT_S:g} s"
    if isinstance(error, SensoriumError):
        raise error
    return found if isinstance(found, HostedPlanner) else f"cannot be made: {why}"


def _contained(call: Callable[[], Any], patience_s: float) -> tuple[Any, BaseException | None, str]:
    """What a call of a planner's code gives, or what it raises, and that in words; what it prints is no answer of ours.

    Raises:
        TimeoutError: it is not done in time.
    """

    def bounded() -> tuple[Any, BaseException | None, str]:
        try:
            return call(), None, ""
        except LeftBehind:
            raise
        except BaseException as error:  # it is anybody's code, and may even exit: that ends no thread of ours
            return _FAILED, error, reason(error)[:_MOST_WHY]  # which is its code, too

    with contextlib.redirect_stdout(sys.stderr):
        return within(patience_s, bounded)


def _own(card: EpisodeCard) -> EpisodeCard:
    """A card of a planner's own: what it does to it nobody else sees."""
    return msgspec.structs.replace(card, **{name: dict(getattr(card, name)) for name in _OF_A_CARD})


def _shortly(value: object) -> str:
    return " ".join(repr(value).split())[:200]
