"""Holding: which pending episodes stay on the device until somebody asks for them, or lets them go, and why.

What is held is not offered and not waited for, counts in the quota, and gives way before what is to be delivered.
"""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from uuid import UUID

from sensorium.agents.spool.entries import State
from sensorium.agents.spool.held import Waiting
from sensorium.agents.spool.ledger import Ledger
from sensorium.agents.spool.pending import Pending
from sensorium.episode.device_account import DeviceAccount

MOST_AT_ONCE = 4


class SpoolHolding:
    """Of one spool, whose `lock` it is, and whose listeners it has told by `tell`."""

    def __init__(
        self,
        ledger: Ledger,
        account: DeviceAccount,
        pending: Pending,
        lock: AbstractContextManager[object],
        tell: Callable[[], None],
    ) -> None:
        self._ledger, self._account, self._pending = ledger, account, pending
        self._lock, self._tell = lock, tell

    def keep_back(self, episode: UUID, why: str) -> None:
        """Offer nothing of an episode that has just begun: it may come to be held. Where it does not, and after a
        crash, it is delivered as any other."""
        with self._lock:
            self._pending.hold([episode], why)

    def hold(self, episode: UUID, why: str) -> bool:
        """Hold an episode from now on, durably, over restarts; False if it is not pending. What was offered of it
        already may still be delivered.

        Raises:
            SpoolError: the disk is in trouble, and it is not.
        """
        return bool(self._note([episode], why))

    def let_go(self, episodes: Iterable[UUID]) -> list[UUID]:
        """Have these wait for delivery, as those that were never held; those of them that were.

        Raises:
            SpoolError: the disk is in trouble, and they are held as before.
        """
        with self._lock:
            found = {each: self._pending.get(each) for each in episodes}
            return self._note([name for name, held in found.items() if held is not None and held.hold], "")

    def fate(self, episode: UUID) -> tuple[State | None, str]:
        """What became of an episode, None if the ledger does not know it, and why."""
        state, why, _ = self._ledger.state(episode)
        return state, why

    def all(self) -> list[Waiting]:
        """What is held, those of the most value first."""
        return self._pending.at_rest()

    def at_a_time(self, waiting: list[Waiting]) -> list[Waiting]:
        """What of all that waits is to be offered now: where some is held few full ones, so that those that tell of the
        rest find a place at the ingest, which begins few at once."""
        if not self._pending.has_held:
            return waiting
        later = {each.episode for each in [each for each in waiting if each.kind == "full"][MOST_AT_ONCE:]}
        return [each for each in waiting if each.episode not in later] if later else waiting

    def _note(self, episodes: list[UUID], why: str) -> list[UUID]:
        with self._lock:
            here = [each for each in episodes if self._pending.get(each) is not None]
            if here:
                with self._account.changing() as between:
                    self._ledger.hold(here, why, between)
                self._pending.hold(here, why)
        if here:
            self._tell()
        return here
