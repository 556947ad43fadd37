"""The pool of credit: which key, and of its sessions which, may send how much, turned over by deficit round-robin.

Outstanding credit (given and not yet used) is memory that peers may fill, so its sum never exceeds the pool. A
session is given no more than it has to send and no more than its window, which grows with what it has delivered; all
sessions of a key together no more than leaves as much for each other key that has some, and for one that comes.

Where the server is what all wait for, credit is a queue in its memory, and whoever comes to a long one stays small: it
sees a delay as of a slow link, which it may not fill. So several keys begin with little, have more while bulk is
drained again and again, as on a long way, and where it is not, together what keeps the server busy. Divided among many
that would be crumbs, each a message, an answer and a wake at both ends: so of many some have a whole quantum, by turns.
What is not used for a while, on a slow link or for spite, keeps nobody's turn from him. Who has little to send waits
for nobody's quantum: such have theirs first, of each key a little in that while, and together never all there is.
"""

from collections import Counter, deque
from dataclasses import dataclass, field

from sensorium.link.server.session import ServerSession

QUANTUM_BYTES = 1 << 20
SMALL_BYTES = 1 << 17
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


class CreditPool:
    """`size` bytes shared by keys; those of which a session wants more stand in a ring."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.outstanding = 0
        self._room = min(size, FIRST_BYTES)
        self._looked_ns, self._drained, self._read = 0, False, 0
        self._unused, self._asleep, self._unused_ns = 0, 0, 0
        self._unread, self._emptied = 0, False
        self._keys: dict[str, KeyShare] = {}
        self._small: dict[str, KeyShare] = {}
        self._given_small: Counter[str] = Counter()
        self._ring: deque[KeyShare] = deque()
        self._changed: dict[int, ServerSession] = {}

    def touch(self, session: ServerSession) -> None:
        """The session's demand or use changed: look at it in the next `turn`."""
        self._changed[session.number] = session
        share = self._keys.get(session.identity)
        if share is None:
            share = self._keys[session.identity] = KeyShare()
        if not share.waiting:
            wants = max(share.outstanding, self._given_small[session.identity]) + session.demand
            if wants <= SMALL_BYTES:
                self._small[session.identity] = share
            else:
                self._ring.append(share)
        share.waiting[session] = None

    def used(self, session: ServerSession, size: int) -> None:
        """The session used `size` bytes of its credit."""
        session.used(size)
        self.outstanding -= size
        self._read += size
        self._unread -= size
        self.touch(session)
        self._keys[session.identity].outstanding -= size

    def read(self, now_ns: int, *, drained: bool) -> None:
        """Bulk was read, and `drained` if nothing was left in it since the last time; also if there was nothing."""
        self._drained |= drained
        self._emptied |= drained
        if now_ns - self._looked_ns >= LOOK_NS:
            if self._drained:
                if self._read:  # or who comes after a pause, together with others, would begin with all there is
                    self._room = min(self.size, self._room + self._room // 4)
            else:  # what was read meanwhile keeps the server busy for as long again
                self._room = min(self._room, max(self._read, LEAST_BYTES))
            self._looked_ns, self._drained, self._read = now_ns, False, 0

    def close(self, session: ServerSession) -> None:
        """Revoke what the session did not use."""
        self._changed.pop(session.number, None)
        share = self._keys.get(session.identity)
        if share is not None:
            self.outstanding -= session.outstanding
            share.outstanding -= session.outstanding
            share.waiting.pop(session, None)
            if not share.waiting and self._small.pop(session.identity, None) is None and share in self._ring:
                self._ring.remove(share)
            self._forget(session.identity)
        session.limit = session.taken

    def turn(self, now_ns: int) -> list[ServerSession]:
        """Give out what is free, a quantum a key and round; the sessions whose figures changed."""
        idle, keys = 0, len(self._keys)
        most, bound = self.size // (keys + 1), self.size
        self._look_for_unused(now_ns)
        if keys > 1:
            using = max(1, keys - self._asleep)
            if self._room < using * QUANTUM_BYTES:
                bound = min(bound, self._room + self._unused)
            most = min(most, max(self._room // using, QUANTUM_BYTES))
        self._serve_small(most)
        while self._ring and idle < len(self._ring) and self.outstanding < bound:
            share = self._ring[0]
            granted = self._give(share, min(most - share.outstanding, self.size - self.outstanding))
            if share.waiting:
                self._ring.rotate(-1)
                idle = 0 if granted else idle + 1
            else:
                share.deficit = 0
                self._ring.popleft()
        changed, self._changed = list(self._changed.values()), {}
        for session in changed:
            self._forget(session.identity)
        return changed

    def _serve_small(self, most: int) -> None:
        given = 0
        while self._small and given < QUANTUM_BYTES:  # and then it is the others' turn
            key = next(iter(self._small))
            share = self._small.pop(key)
            free = min(SMALL_BYTES, most) - max(share.outstanding, self._given_small[key])
            grant = self._give(share, min(free, self.size - self.outstanding))
            given += grant
            self._given_small[key] += grant
            if share.waiting:
                self._ring.append(share)

    def _look_for_unused(self, now_ns: int) -> None:
        """Of what had been given by the last look, see what was not used since, and which keys were asleep.

        What waits in bulk is not that, however long it does where the server is slow. So this is seen once whatever
        could wait there then was read: bulk was found empty, or as many bytes came as there was credit.
        """
        since_ns = now_ns - self._unused_ns
        if since_ns < UNUSED_NS or not (self._emptied or self._unread <= 0 or since_ns >= STILL_NS):
            return
        self._unread, self._emptied = self.outstanding, False
        self._unused, self._asleep, self._unused_ns = 0, 0, now_ns
        self._given_small.clear()
        for share in self._keys.values():
            self._unused += max(0, share.outstanding - share.lately)
            self._asleep += bool(share.outstanding) and not share.lately
            share.lately = 0

    def _give(self, share: KeyShare, free: int) -> int:
        """Give of `free` bytes what a key's deficit allows, to its sessions in their turn; how much it was."""
        if free <= 0:  # most keys at most times: what their sessions need is not added up for that
            return 0
        share.deficit = min(share.deficit, QUANTUM_BYTES) + QUANTUM_BYTES
        given = 0
        while share.waiting:
            session = next(iter(share.waiting))
            needed = 0 if session.held else min(session.window(self.size), session.demand) - session.outstanding
            grant = min(needed, share.deficit, free - given)
            if needed > 0 and grant <= 0:
                break
            del share.waiting[session]
            if needed <= 0:
                continue
            session.limit += grant
            given += grant
            share.deficit -= grant
            share.outstanding += grant
            share.lately += grant
            self.outstanding += grant
            self._changed[session.number] = session
            if grant < needed:
                share.waiting[session] = None  # behind the others
        return given

    def _forget(self, key: str) -> None:
        """A key of which no session holds anything, or wants to, counts among the others no more."""
        share = self._keys.get(key)
        if share is not None and not share.outstanding and not share.waiting:
            del self._keys[key]
