"""What is awaited of a device: how it answered a plan, and the episodes that came of it, until it can be judged."""

from dataclasses import dataclass, field

from sensorium.agents.planning.card import EpisodeCard
from sensorium.agents.planning.log import PlanOutcome
from sensorium.agents.planning.proposal import Proposal

DONE, SILENT, GONE = "done", "silent", "gone"
_NOTHING_COMES = ("refused", "expired", GONE)


@dataclass
class AwaitedPlan:
    """One that was asked at `since_s` (monotonic). It is over where it was refused; where its episodes have come, not
    of the way alone, and for `settle_s` no more; or where no such came, or nothing was answered, for `patience_s`. Of a
    device that was asked to stop, and does, nothing comes."""

    proposal: Proposal
    directive: str
    expected: float
    since_s: float
    state: str = ""
    why: str = ""
    answered_s: float | None = None
    got: float = 0.0
    seconds: float = 0.0
    n_bytes: int = 0
    came_s: float | None = None
    episodes: set[str] = field(default_factory=set)

    def answered(self, state: str, why: str, now_s: float) -> None:
        """Its device has said what became of it."""
        if self.answered_s is None:
            self.state, self.why, self.answered_s = state, why, now_s

    def came(self, card: EpisodeCard, got: float, now_s: float) -> None:
        """An episode that it has caused."""
        if card.episode in self.episodes:
            return
        self.episodes.add(card.episode)
        self.n_bytes += card.stored_bytes
        if card.kind == "full":
            self.got += got
            self.seconds += max(0.0, card.seconds)
            self.came_s = self.came_s if card.on_the_way else now_s

    def is_over(self, now_s: float, settle_s: float, patience_s: float) -> bool:
        """Whether it can be judged."""
        if self.answered_s is None:
            return now_s >= self.since_s + patience_s
        if self.state in _NOTHING_COMES or (self.proposal.plan == "stop" and self.state == DONE):
            return True
        if self.came_s is not None:
            return now_s >= max(self.came_s, self.answered_s) + settle_s
        return now_s >= self.answered_s + patience_s

    def outcome(self, now_s: float) -> PlanOutcome:
        """As the log has it; what a device's time was taken by is from when it was asked to the last episode."""
        ended_s = self.came_s if self.came_s is not None else now_s if self.answered_s is None else self.answered_s
        return PlanOutcome(
            proposal=self.proposal.id,
            planner=self.proposal.planner,
            state=self.state or SILENT,
            why=self.why or ("" if self.state else "the device has not answered"),
            promised=self.proposal.gain,
            expected=self.expected,
            got=self.got,
            episodes=len(self.episodes),
            seconds=round(max(self.seconds, ended_s - self.since_s), 3),
            bytes=self.n_bytes,
        )
