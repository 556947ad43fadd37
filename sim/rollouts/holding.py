"""Holding: where failures are not to be kept, what came of a rollout waits until it is known how that ends."""

from collections.abc import Collection

from sensorium.drivers.driver import Delivery
from sensorium.drivers.stream import Block

MOST_BYTES = 128 << 20
"""What is held at most; beyond it a rollout is kept whole, however it ends."""


class Holding:
    """Passes on what a rollout delivers, or holds it `until_end`: of one that failed only the streams `kept` are left,
    by which it can be made again; where they are empty its first sample, so that there is an episode that says why."""

    def __init__(self, until_end: bool, kept: Collection[str]) -> None:
        self._kept = kept
        self._held: list[Delivery] | None = [] if until_end else None
        self._bytes = 0

    def passed(self, came: list[Delivery]) -> list[Delivery]:
        """What is to be delivered now."""
        if self._held is None:
            return came
        self._held += came
        self._bytes += sum(each.content.nbytes for each in came if isinstance(each, Block))
        return self._all() if self._bytes > MOST_BYTES else []

    def rest(self, came: list[Delivery], failed: bool) -> tuple[list[Delivery], bool]:
        """What is to be delivered at the end, and whether anything was left out."""
        held = [*self._all(), *came] if self._held is not None else came
        if not failed or held is came:
            return held, False
        kept = [each for each in held if not isinstance(each, Block) or each.stream in self._kept]
        if not any(isinstance(each, Block) and len(each) for each in kept):
            kept += [each.take(slice(0, 1), 0) for each in held if isinstance(each, Block) and len(each)][:1]
        return kept, True

    def _all(self) -> list[Delivery]:
        held, self._held = self._held or [], None
        return held
