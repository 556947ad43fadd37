"""How the server reads: how much credit of several keys keeps it busy, and what of that is not used.

Several begin with little. While bulk is found empty again and again, as where the way is long, there is more; while it
is not, there is what was read in a tenth of a second. That is learnt where something is read alone: who came together
with others after a pause would begin with all there is.
"""

from collections.abc import Collection
from dataclasses import dataclass, field

from sensorium.link.server.session import ServerSession

LOOK_NS = 100_000_000
UNUSED_NS, STILL_NS = 200_000_000, 10_000_000_000
LEAST_BYTES, FIRST_BYTES = 4 << 20, 32 << 20


@dataclass(eq=False)
class KeyShare:
    """What the sessions of one key hold of the pool, and those that want more, in their turn; `lately` of it was given
    since the last look at what is not used."""

    outstanding: int = 0
    lately: int = 0
    deficit: int = 0
    waiting: dict[ServerSession, None] = field(default_factory=dict)


class Flow:
    """`room` is what several keys may hold together, of a pool of `size` bytes; `unused` is what they hold beside, and
    so many keys are `asleep` that use nothing."""

    def __init__(self, size: int) -> None:
        self._size = size
        self.room = min(size, FIRST_BYTES)
        self._read_ns, self._drained, self._read = 0, False, 0
        self.unused, self.asleep = 0, 0
        self._unused_ns, self._emptied, self._unread = 0, False, 0

    def used(self, size: int) -> None:
        """So many bytes of credit were used."""
        self._read += size
        self._unread -= size

    def read(self, now_ns: int, *, drained: bool) -> None:
        """Bulk was read, and `drained` if nothing was left in it since the last time; also if there was nothing."""
        self._drained |= drained
        self._emptied |= drained
        if now_ns - self._read_ns < LOOK_NS:
            return
        if not self._drained:  # what was read meanwhile keeps the server busy for as long again
            self.room = min(self.room, max(self._read, LEAST_BYTES))
        elif self._read:
            self.room = min(self._size, self.room + self.room // 4)
        self._read_ns, self._drained, self._read = now_ns, False, 0

    def look(self, now_ns: int, outstanding: int, shares: Collection[KeyShare]) -> bool:
        """Of what had been given by the last look, see what was not used since; whether it is time for that.

        What waits in bulk is not unused, however long it does where the server is slow. So this is seen once whatever
        could wait there then was read: bulk was found empty, or as many bytes came as there was credit.
        """
        since_ns = now_ns - self._unused_ns
        if since_ns < UNUSED_NS or not (self._emptied or self._unread <= 0 or since_ns >= STILL_NS):
            return False
        self._unused_ns, self._emptied, self._unread = now_ns, False, outstanding
        self.unused = self.asleep = 0
        for share in shares:
            self.unused += max(0, share.outstanding - share.lately)
            self.asleep += bool(share.outstanding) and not share.lately
            share.lately = 0
        return True
