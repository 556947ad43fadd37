"""The messenger: directives that go to sessions, and what devices say of them and of themselves; it keeps nothing.

Whoever does takes what was heard from time to time, and says what is to be told. Of a session its last answers wait
here, as devices repeat them, and of a spool its last report, as it came: however much is said, there is no more of it
than there are sessions.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from sensorium.errors import PeerViolation
from sensorium.link import wire
from sensorium.link.directive import MAX_ANSWERS, DirectiveAnswer, SignedDirective, answers_of, told
from sensorium.link.server.outbox import Outbox
from sensorium.link.server.session import ServerSession

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
    """What a device says of its state: `said` is msgpack, of which the values take a hundred times as much memory."""

    device: str
    spool_id: str
    said: bytes

    @classmethod
    def of(cls, device: str, spool_id: str, document: Mapping[str, Any]) -> "Reported":
        """What a device says, as it is kept until somebody looks."""
        return cls(device, spool_id, msgspec.msgpack.encode(document))

    @property
    def document(self) -> dict[str, Any]:
        """Its values, made anew each time."""
        document: dict[str, Any] = msgspec.msgpack.decode(self.said)  # of any keys, as it came
        return document


Heard = SessionBegun | HeardAnswers | Reported


class Messenger:
    """Part of a `ServerLink`, and called under its lock."""

    def __init__(self, sessions: Mapping[int, ServerSession], out: Outbox) -> None:
        self._sessions, self._out = sessions, out
        self._begun: dict[int, SessionBegun] = {}
        self._answers: dict[int, HeardAnswers] = {}
        self._reports: dict[tuple[str, str], Reported] = {}
        self._takes: set[int] = set()

    def begun(self, session: ServerSession, directives: int) -> None:
        """A session is open, of a device that takes directives of this format; 0: of none."""
        if directives:
            self._takes = {number for number in self._takes if number in self._sessions} | {session.number}
            self._begun[session.number] = SessionBegun(session.number, session.device, session.spool_id)

    def hear(self, session: ServerSession, document: dict[str, Any]) -> None:
        """What a STATUS says.

        Raises:
            PeerViolation: it says of directives what nobody can say, or of too many.
        """
        if answers := answers_of(document):
            if len(answers) > MAX_ANSWERS:
                raise PeerViolation(f"message status: {len(answers)} directives, at most {MAX_ANSWERS} at once")
            number = session.number
            self._answers[number] = HeardAnswers(number, session.device, answers, session.spool_id)
        state = document.get("device")
        if isinstance(state, dict):
            of = session.device, session.spool_id
            self._reports[of] = Reported.of(*of, state)

    def take_heard(self) -> list[Heard]:
        """What was heard since, and was not replaced: who is there, then answers, then reports."""
        heard: list[Heard] = [*self._begun.values(), *self._answers.values(), *self._reports.values()]
        for each in (self._begun, self._answers, self._reports):
            each.clear()
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
