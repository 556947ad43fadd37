"""A small episode as it came: its bytes, of which nothing is made before it is committed."""

import uuid

from sensorium.errors import StoreError
from sensorium.ingest.held_room import HeldPlace

PIECES_BYTES = 64 << 10
"""A longer one that comes in pieces is read as it comes: less is to be done at its end, and its parts can be kept."""


class HeldEpisode:
    """`data`, once it `take`s what came, as long as there is a `place` for it.

    Of thousands of episodes a second each is one message, or, while its device does not know yet what the link
    carries, some small ones, and all is known of it once they are there: to read it record by record as if more were to
    come costs several times as much as `at_once`. What is longer and comes in pieces, or grew since it was offered, is
    an `Assembly`'s, which is begun with what is held.
    """

    __slots__ = ("__weakref__", "_pieces", "_place", "accepted", "device", "episode", "failed", "recoveries", "size")

    def __init__(self, episode: uuid.UUID, size: int, recoveries: int, place: HeldPlace, device: str = "") -> None:
        self.episode, self.size, self.recoveries, self.device = episode, size, recoveries, device
        self.accepted = 0
        """Bytes of the file that it has."""
        self.failed: str | None = None
        self._pieces: list[bytes] = []
        self._place = place

    @property
    def data(self) -> bytes:
        """All that it has."""
        return self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)

    def take(self, data: memoryview | bytes) -> bool:
        """Take what comes next; False if that is not for here, or there is no room for it."""
        if self.failed is not None:
            raise StoreError(f"episode {self.episode}: failed before ({self.failed}); begin it again")
        accepted = self.accepted + len(data)
        if accepted > self.size or (len(data) < self.size and self.size > PIECES_BYTES):
            return False
        if not self._place.take(len(data)):
            return False
        self._pieces.append(bytes(data))
        self.accepted = accepted
        return True

    def discard(self) -> None:
        """Let go of it; twice is no error."""
        self.failed = self.failed or "discarded"
        self.leave()

    def leave(self) -> None:
        """Let go of what is held."""
        self._place.leave()
        self._pieces.clear()
        self.accepted = 0
