"""Clock probes of a session: bursts of eight, one after the other, of which the shortest round trip is kept.

A burst that takes longer than it is to the next one ends with the answer that came: a link on which a round trip
takes a second must know the server's time too.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sensorium.drivers.clock import SECOND_NS
from sensorium.link.wire import ProbeReply

BURST = 8
EVERY_S = 5.0
LOST_NS = 20 * SECOND_NS
"""An answer that takes longer is not waited for."""
MOST_NS = 2**62
"""No probe that SEALED may tell of has more."""


@dataclass
class Probing:
    """When to probe next, and the best of the burst so far: (device_ns, server_ns, round_trip_ns)."""

    next_ns: int = 0
    _left: int = 0
    _waiting_for: int | None = None
    _best: tuple[int, int, int] | None = None

    @property
    def timer_ns(self) -> int:
        """When the next burst begins: not while an answer is still waited for."""
        return self.next_ns if self._waiting_for is None else max(self.next_ns, self._waiting_for + LOST_NS)

    def due(self, now_ns: int) -> int | None:
        """The stamp to send in a PROBE now, if one is due. An answer that never came ends its burst."""
        if now_ns >= self.timer_ns:
            self._left, self._waiting_for, self._best = BURST, None, None
            self.next_ns = now_ns + int(EVERY_S * SECOND_NS)
        if self._left == 0 or self._waiting_for is not None:
            return None
        self._left -= 1
        self._waiting_for = now_ns
        return now_ns

    def reply(self, reply: ProbeReply, now_ns: int) -> tuple[int, int, int] | None:
        """Take an answer; the best of the burst once it is complete, or the next one is due."""
        if reply.sent_ns != self._waiting_for:
            return None
        self._waiting_for = None
        round_trip_ns = (now_ns - reply.sent_ns) - (reply.server_sent_ns - reply.server_received_ns)
        if 0 <= round_trip_ns <= MOST_NS and (self._best is None or round_trip_ns < self._best[2]):
            middle_ns = (reply.server_received_ns + reply.server_sent_ns) // 2
            self._best = ((reply.sent_ns + now_ns) // 2, middle_ns, round_trip_ns)
        if now_ns >= self.next_ns:
            self._left = 0
        return self._best if self._left == 0 else None


def thinned(probes: Sequence[tuple[int, int, int]], most: int) -> tuple[tuple[int, int, int], ...]:
    """At most so many, evenly over the whole, the first and the last among them."""
    step = max(1, -(-(len(probes) - 1) // (most - 1)))
    return (*probes[:-1:step], *probes[-1:])
