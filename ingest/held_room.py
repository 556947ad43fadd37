"""The memory that small episodes may take while they arrive; what finds no room in it arrives on disk."""

import threading

SMALL_BYTES = 8_000_000
"""An episode whose file is no longer is a small one, and is committed as one ZIP."""
MAX_SMALL_BYTES = 256_000_000
"""No bound of what is small is above this, as each such episode is held in memory."""
ALL_BYTES = 128 << 20


class HeldRoom:
    """Room for episodes of up to `small_bytes` each and `all_bytes` together; from any thread."""

    def __init__(self, small_bytes: int = SMALL_BYTES, all_bytes: int = ALL_BYTES) -> None:
        self.small_bytes = small_bytes
        self.taken = 0
        self._all_bytes = all_bytes
        self._guard = threading.Lock()

    def take(self, size: int) -> bool:
        """Take up `size` more; False if there is no room."""
        with self._guard:
            if self.taken + size > self._all_bytes:
                return False
            self.taken += size
            return True

    def give(self, size: int) -> None:
        """Give back so much."""
        with self._guard:
            self.taken -= size


class HeldPlace:
    """What one episode takes of a `room`, until it leaves."""

    def __init__(self, room: HeldRoom) -> None:
        self._room = room
        self._taken = 0

    def take(self, size: int) -> bool:
        """Take up `size` more; False if there is no room for it here."""
        if self._taken + size > self._room.small_bytes or not self._room.take(size):
            return False
        self._taken += size
        return True

    def leave(self) -> None:
        """Give back what was taken."""
        self._room.give(self._taken)
        self._taken = 0
