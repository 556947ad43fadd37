"""The pending episodes of a spool: those that grow and those that wait, their bytes, and the order in which they go."""

from itertools import islice
from uuid import UUID

from sensorium.agents.spool.episode_file import EpisodeFile
from sensorium.agents.spool.reopen import Held, Waiting


class Pending:
    """What is held, by episode. Its caller sees to it that one thread at a time is here.

    Args:
        held: What was found in the folder.
        rejected_bytes: What lies in the folder of the rejected.
    """

    def __init__(self, held: dict[UUID, Held], rejected_bytes: int) -> None:
        self._held = held
        self._growing: dict[UUID, EpisodeFile] = {}
        self._order: list[UUID] | None = None
        self._sealed_bytes = sum(each.size for each in held.values())
        self._rejected_bytes = rejected_bytes

    def __getitem__(self, episode: UUID) -> Held:
        return self._held[episode]

    def get(self, episode: UUID) -> Held | None:
        """What is known of an episode, None if it is not pending."""
        return self._held.get(episode)

    def begin(self, episode: UUID, held: Held, file: EpisodeFile) -> None:
        """An episode grows."""
        held.file = self._growing[episode] = file
        self._held[episode] = held
        self._order = None

    def sealed(self, episode: UUID, size: int, digest: bytes) -> None:
        """It grows no more, and is on disk."""
        held = self._held[episode]
        held.size, held.digest, held.file = size, digest, None
        del self._growing[episode]
        self._sealed_bytes += size

    def mended(self, episode: UUID, size: int, digest: bytes, recoveries: int) -> None:
        """Its file is whole again, and another than before."""
        held = self._held[episode]
        self._sealed_bytes += size - held.size
        held.size, held.digest, held.recoveries = size, digest, recoveries

    def remove(self, episode: UUID, *, aside: bool = False) -> Held:
        """It is settled, its file to be deleted, or to lie among the rejected."""
        held = self._held.pop(episode)
        self._order = None
        if held.file is None:
            self._sealed_bytes -= held.size
            self._rejected_bytes += held.size if aside else 0
        else:
            self._growing.pop(episode).close()
        return held

    def used_bytes(self) -> int:
        """Of all files, rejected ones included."""
        return self._rejected_bytes + self._sealed_bytes + sum(file.written for file in self._growing.values())

    def growing(self) -> list[EpisodeFile]:
        """The files of those that grow, the earlier first, so that a replay is on disk up to where one says it is."""
        return sorted(self._growing.values(), key=lambda file: file.manifest.start_ns)

    def waiting(self, limit: int | None = None, of: str | None = None) -> list[Waiting]:
        """What may be sent, in the order to send it: larger priority first, then older. `of`: a former spool_id, or
        empty for the present one."""
        if self._order is None:
            self._order = sorted(self._held, key=lambda e: self._held[e].rank)
        offered = (self._held[episode] for episode in self._order)
        due = (held for held in offered if not (held.refused or held.unread) and of in (None, held.former))
        return [held.waiting() for held in islice(due, limit)]

    def least(self) -> UUID | None:
        """The sealed episode to give up first: of the least priority the oldest; None if there is none."""
        sealed = self._held.keys() - self._growing.keys()
        return max(sealed, key=lambda e: (self._held[e].rank[0], -self._held[e].rank[1]), default=None)
