"""A small episode as it came, in one piece: its bytes, of which nothing is made before it is committed."""

import uuid

from sensorium.errors import StoreError
from sensorium.ingest.held_room import HeldPlace


class HeldEpisode:
    """`data`, once it `take`s what came, as long as there is a `place` for it.

    Of thousands of episodes a second each is one message, and all is known of it once that is there: to read it record
    by record as if more were to come costs several times as much as `at_once`. What comes in pieces, or is none of
    that, is an `Assembly`'s, which is begun with what is held.
    """

    __slots__ = ("__weakref__", "_place", "data", "episode", "failed", "recoveries", "size")

    def __init__(self, episode: uuid.UUID, size: int, recoveries: int, place: HeldPlace) -> None:
        self.episode, self.size, self.recoveries = episode, size, recoveries
        self.data = b""
        self.failed: str | None = None
        self._place = place

    @property
    def accepted(self) -> int:
        """Bytes of the file that it has."""
        return len(self.data)

    def take(self, data: memoryview | bytes) -> bool:
        """Take the whole of it; False if this is not that, or there is no room for it."""
        if self.failed is not None:
            raise StoreError(f"episode {self.episode}: failed before ({self.failed}); begin it again")
        if self.data or len(data) != self.size or not self._place.take(len(data)):
            return False
        self.data = bytes(data)
        return True

    def discard(self) -> None:
        """Let go of it; twice is no error."""
        self.failed = self.failed or "discarded"
        self.leave()

    def leave(self) -> None:
        """Let go of what is held."""
        self._place.leave()
        self.data = b""
