"""What the server's state machines want done, and the figures they keep."""

from collections import Counter

from sensorium.link import wire
from sensorium.link.server.transfer import DeviceFigures, Job, Session

MAX_DEVICES = 4096


class Outbox:
    """What the state machines want done: messages to send, jobs for the store, lines for the log; and their counts."""

    def __init__(self) -> None:
        self.messages: list[tuple[bytes, wire.Message]] = []
        self.jobs: list[Job] = []
        self.lines: list[str] = []
        self.counters: Counter[str] = Counter()
        self.devices: dict[str, DeviceFigures] = {}

    def say(self, session: Session, message: wire.Message) -> None:
        """Send a message to a session's device."""
        self.messages.append((session.route, message))

    def say_committed(self, session: Session, episode: bytes, ordinal: int, digest: bytes) -> None:
        """Tell a device that an episode is in the store."""
        self.say(session, wire.Committed(session=session.number, episode=episode, ordinal=ordinal, digest=digest))

    def reject(self, session: Session, episode: bytes, code: str, why: str) -> None:
        """Tell a device that an episode will never be taken."""
        self.say(session, wire.Rejected(session=session.number, episode=episode, code=code, reason=why[:1000]))

    def figures(self, device: str) -> DeviceFigures:
        """The running figures of a device, by name."""
        if device not in self.devices:
            if len(self.devices) >= MAX_DEVICES:  # only names made up without keys come to so many
                del self.devices[min(self.devices, key=lambda name: self.devices[name].heard_ns)]
            self.devices[device] = DeviceFigures()
        return self.devices[device]
