"""The pool of credit: which session may send how much, turned over by deficit round-robin.

Outstanding credit (given and not yet used) is memory that peers may fill, so its sum never exceeds the pool. A
session is given no more than it has to send and no more than its window, which grows with what it has delivered.
"""

from collections import deque

from sensorium.link.server.session import ServerSession

QUANTUM_BYTES = 1 << 20


class CreditPool:
    """`size` bytes shared by sessions; sessions that want more stand in a ring."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.outstanding = 0
        self._ring: deque[ServerSession] = deque()
        self._changed: dict[int, ServerSession] = {}

    def touch(self, session: ServerSession) -> None:
        """The session's demand or use changed: look at it in the next `turn`."""
        self._changed[session.number] = session
        if session not in self._ring:
            self._ring.append(session)

    def used(self, session: ServerSession, size: int) -> None:
        """The session used `size` bytes of its credit."""
        session.taken += size
        self.outstanding -= size
        self.touch(session)

    def close(self, session: ServerSession) -> None:
        """Revoke what the session did not use."""
        self.outstanding -= session.outstanding
        session.limit = session.taken
        self._changed.pop(session.number, None)
        if session in self._ring:
            self._ring.remove(session)

    def turn(self) -> list[ServerSession]:
        """Give out what is free, a quantum a session and round; the sessions whose figures changed."""
        idle = 0
        while self._ring and idle < len(self._ring) and self.outstanding < self.size:
            session = self._ring[0]
            needed = 0 if session.held else min(session.window(self.size), session.demand) - session.outstanding
            if needed <= 0:
                session.deficit = 0
                self._ring.popleft()
                continue
            session.deficit += QUANTUM_BYTES
            grant = min(needed, session.deficit, self.size - self.outstanding)
            session.deficit -= grant
            session.limit += grant
            self.outstanding += grant
            self._changed[session.number] = session
            self._ring.rotate(-1)
            idle = 0 if grant else idle + 1
        changed, self._changed = list(self._changed.values()), {}
        return changed
