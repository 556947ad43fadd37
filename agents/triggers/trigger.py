"""The trigger contract: it sees what is captured, and places every stamp in a span or in none."""

from dataclasses import dataclass
from typing import Literal, Protocol

from sensorium.drivers.stream import Block

FOREVER_NS = 2**63 - 1
"""Later than any stamp."""

Command = Literal["open", "close", "toggle", "discard"]


@dataclass(eq=False, slots=True)
class EpisodeSpan:
    """A half-open stretch of captured time to keep. Until it is `closed`, `end_ns` may still move.

    `event` says in a word what opened it, `outcome` how it was judged by hand; one to `discard` is not delivered.
    """

    start_ns: int
    end_ns: int
    closed: bool = False
    event: str = ""
    outcome: str = ""
    discard: bool = False


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the stamps from the one asked for up to `until_ns` belong: in `span`, in none, or not known yet."""

    until_ns: int
    span: EpisodeSpan | None = None
    decided: bool = True


class Trigger(Protocol):
    """Decides on captured time alone, so a replay at any pace cuts the same episodes. One thread calls it.

    `observe` sees each block of the device, after filters, before its samples are placed; `passed` says how far a
    stream has come, whether or not filters left anything: no sample of it is earlier any more. `place` answers for a
    stamp. `ended` names a stream that will deliver no more for now. `command` is a person's or program's word at a
    stamp, and returns False if this trigger takes none. `reset` says that the clock was set back: what was seen is
    void.
    """

    def observe(self, block: Block) -> None: ...

    def passed(self, stream: str, stamp_ns: int) -> None: ...

    def place(self, stamp_ns: int) -> Placement: ...

    def ended(self, stream: str) -> None: ...

    def command(self, name: Command, outcome: str, at_ns: int) -> bool: ...

    def reset(self) -> None: ...
