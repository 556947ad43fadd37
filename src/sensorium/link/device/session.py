"""A session as the device sees it: its number, the server's limits, and what of its credit is used."""

from dataclasses import dataclass, field

from sensorium.link import wire
from sensorium.link.device.probing import Probing
from sensorium.link.device.window import FlowWindow


@dataclass
class DeviceSession:
    """`limit`, `sent` and `taken` count bytes of DATA since the session began; without one all are 0.

    `heard_ns` is when the server was heard last, `progress_ns` when `taken` grew, or bytes were sent after none were
    in flight, `answered_ns` when it wanted or answered an offer. `between` is the number up to which the server has
    noted the samples in no episode.
    """

    number: int = 0
    limit: int = 0
    sent: int = 0
    taken: int = 0
    max_offers: int = wire.MAX_OFFERS
    max_data_bytes: int = wire.MAX_DATA_BYTES
    heard_ns: int = 0
    progress_ns: int = 0
    answered_ns: int = 0
    between: int = 0
    window: FlowWindow = field(default_factory=FlowWindow)
    probing: Probing = field(default_factory=Probing)

    @property
    def in_flight(self) -> int:
        """Bytes sent that the server has not dealt with."""
        return self.sent - self.taken

    def use(self, size: int, now_ns: int) -> None:
        """`size` bytes of DATA were sent."""
        if self.sent == self.taken:
            self.progress_ns = now_ns
        self.sent += size
        self.window.sent(self.sent, now_ns)

    def credit(self, credit: wire.Credit, now_ns: int) -> bool:
        """CREDIT came; whether the server has dealt with more."""
        self.limit = max(self.limit, credit.limit)
        if not self.taken < credit.taken <= self.sent:
            return False
        self.taken, self.progress_ns = credit.taken, now_ns
        self.window.taken(credit.taken, now_ns)
        return True
