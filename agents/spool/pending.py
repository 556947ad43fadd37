"""The pending episodes of a spool: those that grow and those that wait, their bytes, and the order in which they go."""

import threading
from collections.abc import Iterable
from uuid import UUID

from sensorium.agents.spool.episode_file import EpisodeFile
from sensorium.agents.spool.held import Held, Waiting
from sensorium.agents.spool.order import Order, Victim
from sensorium.episode.value import Worth

MOST_GROWING = 512
"""While the disk keeps what is sealed waiting it is in memory, up to 64 kB of each."""


class Pending:
    """What is held, by episode, and in the order of delivery. Any thread may look; one at a time changes it, as its
    caller sees to, who may keep others waiting for a disk meanwhile.

    Args:
        held: What was found in the folder.
        rejected_bytes: What lies in the folder of the rejected.
    """

    def __init__(self, held: dict[UUID, Held], rejected_bytes: int) -> None:
        self._guard = threading.Lock()
        self._held = held
        self._growing: dict[UUID, EpisodeFile] = {}
        self._order = Order([each for each in held.values() if not each.hold])
        self._rest = Order([each for each in held.values() if each.hold])
        self._sealed_bytes = sum(each.size for each in held.values())
        self._growing_bytes = 0
        self._rejected_bytes = rejected_bytes
        self.has_held = any(each.hold for each in held.values())
        """Whether any is held, or was since this was made."""

    def __len__(self) -> int:
        return len(self._held)

    def __getitem__(self, episode: UUID) -> Held:
        return self._held[episode]

    def get(self, episode: UUID) -> Held | None:
        """What is known of an episode, None if it is not pending."""
        return self._held.get(episode)

    def begin(self, episode: UUID, held: Held, file: EpisodeFile) -> None:
        """An episode grows."""
        with self._guard:
            held.file = self._growing[episode] = file
            self._held[episode] = held
            self._queue(held).add(held)

    def grew(self, size: int) -> None:
        """The file of one that grows, or is about to begin, has so many bytes more."""
        with self._guard:
            self._growing_bytes += size

    def sealed(self, episode: UUID, size: int, digest: bytes, worth: Worth) -> None:
        """It grows no more, and is on disk."""
        with self._guard:
            held = self._held[episode]
            self._queue(held).remove(held)
            held.size, held.digest, held.worth, held.file = size, digest, worth, None
            self._queue(held).add(held)
            self._growing_bytes -= self._growing.pop(episode).written
            self._sealed_bytes += size

    def mended(self, episode: UUID, size: int, digest: bytes, recoveries: int, worth: Worth) -> None:
        """Its file is whole again, and another than before."""
        with self._guard:
            held = self._held[episode]
            self._sealed_bytes += size - held.size
            self._queue(held).remove(held)
            held.size, held.digest, held.recoveries, held.worth = size, digest, recoveries, worth
            self._queue(held).add(held)

    def hold(self, episodes: Iterable[UUID], why: str) -> None:
        """These are held, and why; empty: they wait for delivery. Others than pending ones are no matter."""
        with self._guard:
            for episode in episodes:
                if (held := self._held.get(episode)) is not None:
                    self._queue(held).remove(held)
                    held.hold = why
                    self._queue(held).add(held)
                    self.has_held |= bool(why)

    def delivered(self, episode: UUID) -> Held:
        """It is committed, its file to be deleted."""
        held = self.remove(episode)
        with self._guard:
            self._order.delivered(held)
        return held

    def remove(self, episode: UUID, *, aside: bool = False) -> Held:
        """It is settled, its file to be deleted, or to lie among the rejected."""
        with self._guard:
            held = self._held.pop(episode)
            self._queue(held).remove(held)
            file = self._growing.pop(episode, None)
            if file is None:
                self._sealed_bytes -= held.size
                self._rejected_bytes += held.size if aside else 0
        if file is not None:
            file.close()
            self.grew(-file.written)  # now that it is at its end
        return held

    @property
    def is_idle(self) -> bool:
        """Whether nothing is to be delivered, or grows: what there is, is held."""
        with self._guard:
            return len(self._held) == len(self._rest) and not self._growing

    @property
    def is_crowded(self) -> bool:
        """Whether so many grow, or wait to be synced, that no more should begin before the disk has them."""
        return len(self._growing) >= MOST_GROWING

    def used_bytes(self) -> int:
        """Of all files, rejected ones included."""
        with self._guard:
            return self._rejected_bytes + self._sealed_bytes + self._growing_bytes

    def begun(self) -> dict[str, int]:
        """When the earliest of each boot began, in nanoseconds of its clock. It looks at all."""
        found: dict[str, int] = {}
        with self._guard:
            for held in self._held.values():
                if (boot_id := held.said.clock.boot_id) is not None:
                    found[boot_id] = min(held.said.start_ns, found.get(boot_id, held.said.start_ns))
        return found

    def oldest_ns(self) -> int | None:
        """When the oldest that is not held was begun, by the clock of this machine (UTC, ns), as its id says; None if
        there is none."""
        with self._guard:  # in the order of their ordinals
            first = next((episode for episode, held in self._held.items() if not held.hold), None)
        return None if first is None else (first.int >> 80) * 1_000_000

    def growing(self) -> list[EpisodeFile]:
        """The files of those that grow, the earlier first, so that a replay is on disk up to where one says it is."""
        with self._guard:
            return sorted(self._growing.values(), key=lambda file: file.manifest.start_ns)

    def reaching(self) -> list[Held]:
        """Those that grow, and have been sealed, or are about to be, as far as whoever records their run knows."""
        with self._guard:
            return [held for episode in self._growing if (held := self._held[episode]).position is not None]

    def waiting(self, limit: int | None = None, of: str | None = None) -> list[Waiting]:
        """What may be sent, in the order to send it. `of`: a former spool_id, or empty for the present one."""

        def is_due(held: Held) -> bool:
            return not held.refused and not held.unread and (of is None or of == held.former)

        with self._guard:
            return [held.waiting(value) for held, value in self._order.first(limit, is_due)]

    def at_rest(self) -> list[Waiting]:
        """What is held, those of the most value first; of former spool_ids too."""
        with self._guard:
            return [held.waiting(value) for held, value in self._rest.first(None, lambda _: True)]

    def least(self) -> Victim | None:
        """The sealed episode to give up first; None if there is none. What is held gives way before what is to be
        delivered, unless its priority is larger."""
        with self._guard:
            held, due = self._rest.least(), self._order.least()
            if held is None or due is None:
                return held or due
            return due if self._held[due.episode].priority < self._held[held.episode].priority else held

    def _queue(self, held: Held) -> Order:
        return self._rest if held.hold else self._order
