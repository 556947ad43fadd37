"""How much a device keeps in flight, from how long the server takes to deal with what was sent.

By Little's law bytes in flight are rate times delay, so "at most two seconds of the measured rate" is a bound on the
delay: the window doubles while the delay is below one second (then it stays below two), or grows fourfold while it is
below a quarter (then it stays below one), and shrinks above two. What the
server has dealt with is all that counts here: that a send returned says nothing, since sockets and kernels take
megabytes at once, which on a slow link are minutes that neither a CREDIT nor a change of mind can overtake.
"""

from collections import deque
from dataclasses import dataclass, field

from sensorium.drivers.clock import SECOND_NS
from sensorium.link.wire import MAX_DATA_BYTES, MIN_DATA_BYTES

FIRST_BYTES = 16 << 10
MIN_BYTES = 8 << 10
MAX_BYTES = 64 << 20


@dataclass
class FlowWindow:
    """`size` bytes may be in flight. `limited` says that the window, not the credit, held something back.

    Only then may it grow: a short delay of a few small messages says nothing of what the link could carry.
    """

    size: int = FIRST_BYTES
    limited: bool = False
    _sent: deque[tuple[int, int]] = field(default_factory=deque)
    _round_end: int = FIRST_BYTES

    @property
    def message_bytes(self) -> int:
        """The size of a message: a quarter of the window, so that one takes half a second at most."""
        return max(MIN_DATA_BYTES, min(self.size // 4, MAX_DATA_BYTES))

    def sent(self, total: int, now_ns: int) -> None:
        """`total` bytes were sent so far."""
        self._sent.append((total, now_ns))

    def taken(self, total: int, now_ns: int) -> None:
        """The server has dealt with `total` bytes; the window changes once what filled it has come through."""
        left_ns = None
        while self._sent and self._sent[0][0] <= total:
            left_ns = self._sent.popleft()[1]
        # Once a round: what arrives until the bytes sent under the new size come through was delayed by the old one,
        # and a size that changed at each CREDIT would swing between its bounds.
        if left_ns is None or total < self._round_end:
            return
        delay_ns = now_ns - left_ns
        if delay_ns > 2 * SECOND_NS:
            # What the measured rate carries in 1.5 s: between the bounds, so that it neither grows nor shrinks next.
            self.size = max(MIN_BYTES, self.size * 3 * SECOND_NS // (2 * delay_ns))
        elif delay_ns < SECOND_NS and self.limited:
            self.size = min(self.size * (2 if delay_ns > SECOND_NS // 4 else 4), MAX_BYTES)
        else:
            return
        self._round_end, self.limited = total + self.size, False
