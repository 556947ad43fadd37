"""The pool of credit: which key, and of its sessions which, may send how much, turned over by deficit round-robin.

Outstanding credit (given and not yet used) is memory that peers may fill, so its sum never exceeds the pool. A
session is given no more than it has to send and no more than its window, which grows with what it has delivered; all
sessions of a key together no more than leaves as much for each other key that has some, and for one that comes.

Where the server is what all wait for, credit is a queue in its memory, and whoever comes to a long one stays small: it
sees a delay as of a slow link, which it may not fill. So several keys have together what the `Flow` makes room for.
Divided among many that would be crumbs, each a message, an answer and a wake at both ends: so of many some have a whole
quantum, by turns. What is not used for a while, on a slow link or for spite, keeps nobody's turn from him. Who has
little to send waits for nobody's quantum: such have theirs first, of each key a little in that while, and together
never all there is.
"""

from collections import Counter, deque

from sensorium.link.server.flow import Flow, KeyShare
from sensorium.link.server.session import ServerSession

QUANTUM_BYTES = 1 << 20
SMALL_BYTES = 1 << 17


class CreditPool:
    """`size` bytes shared by keys; those of which a session wants more stand in a ring."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.outstanding = 0
        self._flow = Flow(size)
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
        self._flow.used(size)
        self.touch(session)
        self._keys[session.identity].outstanding -= size

    def read(self, now_ns: int, *, drained: bool) -> None:
        """Bulk was read, and `drained` if nothing was left in it since the last time; also if there was nothing."""
        self._flow.read(now_ns, drained=drained)

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
        flow = self._flow
        if flow.look(now_ns, self.outstanding, self._keys.values()):
            self._given_small.clear()
        if keys > 1:
            using = max(1, keys - flow.asleep)
            if flow.room < using * QUANTUM_BYTES:
                bound = min(bound, flow.room + flow.unused)
            most = min(most, max(flow.room // using, QUANTUM_BYTES))
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
