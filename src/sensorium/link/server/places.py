"""The places for transfers, and the room in staging that is kept for those that have one."""

from sensorium.link.server.limits import Limits
from sensorium.link.server.transfer import Transfer


class Places:
    """Who has one, and which of them give it up to others: those without a session, or whose device may not send."""

    def __init__(self, limits: Limits) -> None:
        self.taken: dict[Transfer, None] = {}
        self.reserved = 0
        self._yielding: dict[Transfer, None] = {}
        self._limits = limits

    @property
    def full(self) -> bool:
        """Whether there is no place."""
        return len(self.taken) >= self._limits.open_transfers

    @property
    def hopeless(self) -> bool:
        """Whether there is no place, and nobody who gives one up."""
        return self.full and not self._yielding

    def lacks(self, transfer: Transfer) -> str:
        """Why there is no room in staging for one that has no place yet; empty if there is."""
        if self.reserved + self._needs(transfer) <= self._limits.staged_bytes:
            return ""
        return f"{self.reserved} of {self._limits.staged_bytes} bytes for staging are taken"

    def take(self, transfer: Transfer) -> None:
        """It has a place from now on, and room for what it needs by now."""
        self.taken[transfer] = None
        self.reserve(transfer)

    def leave(self, transfer: Transfer) -> None:
        """It is gone; it may have had none."""
        self.taken.pop(transfer, None)
        self._yielding.pop(transfer, None)
        self.reserved, transfer.reserved = self.reserved - transfer.reserved, 0

    def reserve(self, transfer: Transfer) -> None:
        """What is kept for one that has a place is what it needs by now."""
        if transfer in self.taken:
            needs = self._needs(transfer)
            self.reserved += needs - transfer.reserved
            transfer.reserved = needs

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

    def _needs(self, transfer: Transfer) -> int:
        growing = 0 if transfer.offer.sealed or transfer.sealed else self._limits.growing_reserve_bytes
        return max(transfer.size, transfer.accepted, growing)
