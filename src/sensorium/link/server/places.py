"""The places for transfers, the room in staging that is kept for those that have one, and who gives them up.

Each is shared by keys. What is kept is what came, so that nobody has room for what he only says; who is asked to give
up are those without a session, or whose device may not send, and then who has most.
"""

from collections import Counter
from enum import IntEnum

from sensorium.link.server.limits import Limits
from sensorium.link.server.transfer import Transfer


class Claim(IntEnum):
    """What place a key may have: a free one, also one of those that may send nothing or have those of several
    sessions, or, where it has waited for long, one of whoever has more."""

    FREE = 0
    USUAL = 1
    LONG = 2


class Places:
    """Who has one, by key, and what came of each."""

    def __init__(self, limits: Limits) -> None:
        self.taken: dict[Transfer, None] = {}
        self.reserved = 0
        self._going: set[Transfer] = set()
        self._going_bytes = 0
        self._count: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()
        self._yielding: dict[Transfer, None] = {}
        self._limits = limits

    @property
    def full(self) -> bool:
        """Whether there is no place."""
        return len(self.taken) >= self._limits.open_transfers

    @property
    def overrun(self) -> bool:
        """Whether more came than there is room for, but for what is on its way out."""
        return self.reserved - self._going_bytes > self._limits.staged_bytes

    def hopeless(self, key: str, claim: Claim = Claim.USUAL) -> bool:
        """Whether there is no place for a key, and nobody who gives one up for it."""
        if self._count[key] >= self._limits.open_of_key:
            return True
        if not self.full or claim is Claim.FREE:
            return self.full
        return not self._yielding and not self._may_have_of_others(key, claim)

    def of(self, key: str) -> int:
        """How many a key has."""
        return self._count[key]

    def lacks(self, transfer: Transfer) -> str:
        """Why there is no room in staging for one that has no place yet; empty if there is."""
        growing = 0 if transfer.offer.sealed or transfer.sealed else self._limits.growing_reserve_bytes
        if self.reserved + max(transfer.size, growing) <= self._limits.staged_bytes:
            return ""
        return f"{self.reserved} of {self._limits.staged_bytes} bytes for staging are taken"

    def take(self, transfer: Transfer) -> None:
        """It has a place from now on, and room for what came of it."""
        if transfer not in self.taken:
            self.taken[transfer] = None
            self._count[transfer.identity] += 1
        self.reserve(transfer)

    def leave(self, transfer: Transfer) -> None:
        """It is gone; it may have had none."""
        self._yielding.pop(transfer, None)
        if transfer in self.taken:
            del self.taken[transfer]
            key = transfer.identity
            self._keep(transfer, 0)
            self._going.discard(transfer)
            self._count[key] -= 1
            if not self._count[key]:
                del self._count[key], self._bytes[key]

    def reserve(self, transfer: Transfer) -> None:
        """What is kept for one that has a place is what came of it."""
        if transfer in self.taken:
            self._keep(transfer, transfer.accepted)

    def goes(self, transfer: Transfer) -> None:
        """Its room is free soon."""
        if transfer in self.taken and transfer not in self._going:
            self._going.add(transfer)
            self._going_bytes += transfer.reserved

    def see(self, transfer: Transfer) -> None:
        """Its session is another, or none, or of a device that may not send, or may again."""
        if transfer in self.taken and (transfer.session is None or transfer.session.held):
            self._yielding[transfer] = None
        else:
            self._yielding.pop(transfer, None)

    def first_to_yield(self) -> Transfer | None:
        """Of those that give up theirs and wait for bytes, the one without a session first, then the longest idle."""
        left = [transfer for transfer in self._yielding if transfer.under_way]
        return min(left, key=lambda each: (each.session is not None, each.idle_ns), default=None)

    def gives_place_to(self, key: str, claim: Claim) -> Transfer | None:
        """Who gives a place up for a key: who may send nothing, or has more than the key would have with it."""
        return self.first_to_yield() or (self._of_the_many() if self._may_have_of_others(key, claim) else None)

    def gives_room_to(self, transfer: Transfer) -> Transfer | None:
        """Who gives room up for one that has no place: who may send nothing, or has more than its share while this is
        within that of its key."""
        key = transfer.identity
        share = self._limits.staged_bytes // (len(self._count) + (key not in self._count))
        is_within = self._bytes[key] + transfer.size <= share
        return self.first_to_yield() or (self._of_the_largest(share) if is_within else None)

    def gives_room(self) -> Transfer | None:
        """Who gives room up where more came than there is."""
        return self.first_to_yield() or self._of_the_largest()

    def _of_the_many(self) -> Transfer | None:
        """Of the key that has most places the one of which least came."""
        key = max(self._count, key=self._count.__getitem__)
        mine = [transfer for transfer in self.taken if transfer.identity == key and transfer.under_way]
        return min(mine, key=lambda each: each.accepted, default=None)

    def _of_the_largest(self, more_than: int = 0) -> Transfer | None:
        """Of the key of which most came, and more than so much, the one that began last."""
        key = max(self._bytes, key=self._bytes.__getitem__, default=None)
        if key is None or self._bytes[key] <= more_than:
            return None
        mine = (each for each in reversed(self.taken) if each.identity == key and each.under_way and each.accepted)
        return next(mine, None)

    def _keep(self, transfer: Transfer, size: int) -> None:
        more, transfer.reserved = size - transfer.reserved, size
        self.reserved += more
        if transfer in self._going:
            self._going_bytes += more
        self._bytes[transfer.identity] += more

    def _may_have_of_others(self, key: str, claim: Claim) -> bool:
        """Whether some key has more than this one would have; not at once more than one session has, for then places
        come back by themselves."""
        usual = 0 if claim is Claim.LONG else self._limits.open_per_session
        return max(self._count.values(), default=0) > max(self._count[key] + 1, usual)
