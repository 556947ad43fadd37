"""The trigger contract: it sees what is captured, and places every stamp in a span or in none."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from sensorium.agents.selection.fleet_claims import NoveltyClaim
from sensorium.agents.selection.unit_costs import Took
from sensorium.drivers.marks import Label, Mark, SourceNote
from sensorium.drivers.stream import Block
from sensorium.episode.documents import StreamEntry
from sensorium.episode.unit import Decision

FOREVER_NS = 2**63 - 1
"""Later than any stamp."""

Command = Literal["open", "close", "toggle", "discard"]
"""A person's or program's word to a trigger that takes such."""


@dataclass(eq=False, slots=True)
class EpisodeSpan:
    """A half-open stretch of captured time to keep. Until it is `closed`, `end_ns` may still move.

    `event` says in a word what opened it, `outcome` how it was judged, by hand or by the source, `labels` what
    either says of it, and `base_ns` where its own time has its 0; one to `discard` is not delivered. `decisions` are
    those of its units, in order of time: of each when its first sample is placed. A trigger that judges no units leaves
    them None; `claims` are why they are new, where the fleet is asked. `notes` of the trigger's own go into the
    episodes that hold their starts; of each that was sealed the recorder says in `took` what that cost, and `growing`
    tells how many bytes the one that is open has come to.
    """

    start_ns: int
    end_ns: int
    closed: bool = False
    event: str = ""
    outcome: str = ""
    discard: bool = False
    labels: Mapping[str, Label] = field(default_factory=dict)
    base_ns: int | None = None
    decisions: list[Decision] | None = None
    claims: list[NoveltyClaim] = field(default_factory=list)
    notes: list[SourceNote] = field(default_factory=list)
    took: list[Took] = field(default_factory=list)
    growing: Callable[[], int] | None = None


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the stamps from the one asked for up to `until_ns` belong: in `span`, in none, by a `rule` that
    `Tally.count` knows, or not known yet."""

    until_ns: int
    span: EpisodeSpan | None = None
    decided: bool = True
    rule: str = "trigger"


class Trigger(ABC):
    """Decides on captured time alone, so a replay at any pace cuts the same episodes. One thread calls it.

    Its spans are disjoint, and one never holds a stamp that was decided to be in none. A trigger overrides what it
    needs to know; `place` it must have. Frames that it has not decided of wait as encoded, but raw where it says so.
    """

    waits_raw: ClassVar[bool] = False
    """Whether what waits is left as it came, since most of it will be in none; the trigger then bounds its bytes."""

    @abstractmethod
    def place(self, stamp_ns: int) -> Placement:
        """Where a stamp belongs. What is not decided when all streams have ended is in none."""

    def observe(self, block: Block) -> None:
        """A block of any stream of the device, after filters and before its samples are placed. It is not changed."""
        del block

    def passed(self, stream: str, stamp_ns: int) -> None:
        """How far a stream has come, whether or not filters left anything: no sample of it is earlier any more."""
        del stream, stamp_ns

    def ended(self, stream: str) -> None:
        """This stream will deliver no more for now."""
        del stream

    def command(self, name: Command, outcome: str, at_ns: int) -> bool:
        """A person's or program's word at a stamp; False if this trigger takes none."""
        del name, outcome, at_ns
        return False

    def label(self, labels: Mapping[str, Label]) -> bool:
        """What a person or program says of the episode that is open, before the word that closes it; False if there is
        none, or this trigger takes no such words."""
        del labels
        return False

    def mark(self, sensor: str, mark: Mark) -> bool:
        """A source says where an episode begins or ends; False if this trigger does not heed it."""
        del sensor, mark
        return False

    def cause(self, at_ns: int, proposal: str) -> None:
        """From a stamp on this proposal is the cause of what is captured (empty: none is); what was said of later
        stamps is taken back."""
        del at_ns, proposal

    def join(self, entries: Sequence[StreamEntry]) -> None:
        """These streams, as they are recorded, were not there when it was started, and are now."""
        del entries

    def finish(self) -> None:  # noqa: B027
        """No more of this time comes, as its clock was set back: decide what can be decided before `reset`."""

    def close(self) -> None:  # noqa: B027
        """All is sealed, and nothing comes any more: keep what is to be known at the next start."""

    def reset(self) -> None:  # noqa: B027 (one that remembers nothing has nothing to forget)
        """The clock was set back: what was seen is void, every span is closed."""
