"""The fate of an episode that leaves the spool: noted durably, its samples too, before its file goes."""

import logging
from collections.abc import Callable, Sequence
from uuid import UUID

from sensorium.agents.spool.entries import GivenUp, State
from sensorium.agents.spool.held import Held
from sensorium.agents.spool.ledger import Ledger
from sensorium.episode.account import Tally, accounts, given_up, unreadable_place
from sensorium.episode.device_account import DeviceAccount

log = logging.getLogger(__name__)

_AT_ONCE = 1000

Say = Callable[[str, str], None]
"""What is to be said, by its cause, and in full."""


def say_at_once(_: str, text: str) -> None:
    """Each time."""
    log.error("%s", text)


class Fates:
    """Called under the spool's lock."""

    def __init__(self, ledger: Ledger, account: DeviceAccount) -> None:
        self._ledger = ledger
        self._account = account

    def give_up(self, held: Held, why: str, fate: str, *, aside: bool = False) -> None:
        """It is not delivered; its samples are between from now on. `aside`: its file is kept among the rejected."""
        episode = held.episode
        manifest = self._ledger.manifest(episode)
        said = self._account.open_accounts(episode) or self._ledger.accounts(episode)
        place = unreadable_place(manifest) if said is None else given_up(said, fate)
        with self._account.changing() as between:
            between.give_up(place, manifest.between)
            given = GivenUp(place=accounts(place), told=manifest.between, openings=between.openings)
            self._ledger.discarded(episode, why, given, between, aside)
        self._account.replaced(episode, self._ledger.ordinal(episode), said or {}, place)

    def commit(self, said: Sequence[tuple[UUID, bytes]], say: Say) -> list[UUID]:
        """The store says that it has these, with these digests; those of which it may: as they were sealed here.

        A word that is not of such changes nothing, and is to `say`: an ingest that is wrong must not cost what it does
        not have.
        """
        entitled, pending = [], []
        known: dict[UUID, tuple[State, bytes]] = {}
        for first in range(0, len(said), _AT_ONCE):
            known |= self._ledger.sealed_digests([episode for episode, _ in said[first : first + _AT_ONCE]])
        for episode, digest in said:
            state, sealed = known.get(episode, (None, b""))
            if state != "committed" and (not sealed or sealed != digest):
                why = "has another digest here" if sealed else "is not sealed" if state else "is not of this spool"
                text = f"spool: the ingest says that episode {episode} is committed, which {why}; kept"
                say(why, text)
                continue
            if state == "discarded":
                self._undo_discard(episode)
                known[episode] = "committed", sealed  # as it is by now, if it is said once more
            elif state == "pending":
                pending.append(episode)
            entitled.append(episode)
        if pending:
            self._ledger.committed(pending)
        return entitled

    def _undo_discard(self, episode: UUID) -> None:
        """The store has an episode after all that was given up: its samples are in it, and not between."""
        sealed, given = self._ledger.accounts(episode), self._ledger.given_up(episode)
        place = {stream: Tally.of(account) for stream, account in given.place.items()}
        with self._account.changing() as between:
            between.undo_give_up(place, given.told, given.openings)
            self._ledger.committed([episode], between)
        ordinal = self._ledger.ordinal(episode)
        stored = {stream: Tally.of(account) for stream, account in (sealed or {}).items()}
        self._account.replaced(episode, ordinal, given.place, stored)
