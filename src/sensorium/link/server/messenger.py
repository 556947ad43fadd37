"""The messenger: directives that go to sessions, and what devices say of them and of themselves; it keeps nothing.

Whoever does takes what was heard from time to time, and says what is to be told. What finds no room here is dropped:
devices repeat answers, and a new report replaces the one before.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sensorium.link import wire
from sensorium.link.directive import DirectiveAnswer, SignedDirective, answers_of, told
from sensorium.link.server.outbox import Outbox
from sensorium.link.server.session import ServerSession

MAX_HEARD = 16_384
MAX_REPORT_BYTES = 32 << 10


@dataclass(frozen=True)
class SessionBegun:
    """A device that takes directives is there."""

    session: int
    device: str
    spool_id: str = ""


@dataclass(frozen=True)
class HeardAnswers:
    """What a device says became of directives."""

    session: int
    device: str
    answers: list[DirectiveAnswer]
    spool_id: str = ""


@dataclass(frozen=True)
class Reported:
    """What a device says of its state."""

    device: str
    spool_id: str
    document: dict[str, Any]


Heard = SessionBegun | HeardAnswers | Reported


class Messenger:
    """Part of a `ServerLink`, and called under its lock."""

    def __init__(self, sessions: Mapping[int, ServerSession], out: Outbox) -> None:
        self._sessions, self._out = sessions, out
        self._heard: deque[Heard] = deque(maxlen=MAX_HEARD)
        self._takes: set[int] = set()

    def begun(self, session: ServerSession, directives: int) -> None:
        """A session is open, of a device that takes directives of this format; 0: of none."""
        if directives:
            self._takes = {number for number in self._takes if number in self._sessions} | {session.number}
            self._heard.append(SessionBegun(session.number, session.device, session.spool_id))

    def hear(self, session: ServerSession, document: dict[str, Any]) -> None:
        """What a STATUS says.

        Raises:
            PeerViolation: it says of directives what nobody can say.
        """
        if answers := answers_of(document):
            self._heard.append(HeardAnswers(session.number, session.device, answers, session.spool_id))
        state = document.get("device")
        if isinstance(state, dict):
            self._heard.append(Reported(session.device, session.spool_id, state))

    def take_heard(self) -> list[Heard]:
        """What was heard since, in order."""
        heard = list(self._heard)
        self._heard.clear()
        return heard

    def sessions(self) -> dict[int, tuple[str, str]]:
        """The devices that take directives, and their spools, by session."""
        there = {number: self._sessions[number] for number in self._takes if number in self._sessions}
        return {number: (session.device, session.spool_id) for number, session in there.items()}

    def tell(self, number: int, name: str, directive: SignedDirective, kind: str, version: int) -> None:
        """Tell a directive to the device of a session, if that is still open."""
        if (session := self._sessions.get(number)) is not None:
            document = told(name, directive)
            message = wire.Directive(session=number, kind=kind[:100], version=version, document=document)
            self._out.say(session, message)

    def noted(self, number: int, names: tuple[str, ...]) -> None:
        """What became of the directives of these names is durable."""
        if (session := self._sessions.get(number)) is not None:
            for first in range(0, len(names), wire.MAX_ORDINALS):
                some = names[first : first + wire.MAX_ORDINALS]
                self._out.say(session, wire.Ledgered(session=number, ordinals=(), directives=some))
