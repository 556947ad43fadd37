"""What the server's state machines want done, and the figures they keep."""

from collections import Counter
from dataclasses import dataclass

from sensorium.link import wire
from sensorium.link.lines import SeldomLines
from sensorium.link.server.jobs import StoreJob
from sensorium.link.server.session import ServerSession

MAX_DEVICES = 4096


@dataclass
class DeviceFigures:
    """What a device has done since the ingest started, over all its sessions."""

    written_bytes: int = 0
    committed: int = 0
    heard_ns: int = 0


class Outbox:
    """What the state machines want done: messages to send, jobs for the store, lines for the log; and their counts.

    `notes` are lines of what goes well, made where somebody `listens`.
    """

    def __init__(self) -> None:
        self.messages: list[tuple[bytes, wire.Message]] = []
        self.jobs: list[StoreJob] = []
        self.lines = SeldomLines()
        self.notes: list[str] = []
        self.listens = False
        self.counters: Counter[str] = Counter()
        self.devices: dict[str, DeviceFigures] = {}

    def say(self, session: ServerSession, message: wire.Message) -> None:
        """Send a message to a session's device."""
        self.messages.append((session.route, message))

    def say_committed(self, session: ServerSession, episode: bytes, ordinal: int, digest: bytes) -> None:
        """Tell a device that an episode is in the store."""
        self.say(session, wire.Committed(session=session.number, episode=episode, ordinal=ordinal, digest=digest))

    def reject(self, session: ServerSession, episode: bytes, code: str, why: str) -> None:
        """Tell a device that an episode will never be taken."""
        self.say(session, wire.Rejected(session=session.number, episode=episode, code=code, reason=why[:1000]))

    def figures(self, device: str) -> DeviceFigures:
        """The running figures of a device, by name."""
        if device not in self.devices:
            if len(self.devices) >= MAX_DEVICES:  # only names made up without keys come to so many
                del self.devices[min(self.devices, key=lambda name: self.devices[name].heard_ns)]
            self.devices[device] = DeviceFigures()
        return self.devices[device]
