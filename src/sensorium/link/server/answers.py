"""What an offer is answered of which the store knows already what becomes of it, or can say nothing now."""

from collections.abc import Callable
from uuid import UUID

from sensorium.errors import StoreError
from sensorium.link import wire
from sensorium.link.server.jobs import Stored, Unseen
from sensorium.link.server.limits import Limits
from sensorium.link.server.outbox import Outbox
from sensorium.link.server.session import ServerSession


class Answers:
    """COMMITTED, REJECTED and ERROR `busy`. `stored(episode)` says at once what the store holds of it, or `UNSEEN`."""

    def __init__(self, stored: Callable[[UUID], Stored | Unseen | None], limits: Limits, out: Outbox) -> None:
        self._stored, self._limits, self._out = stored, limits, out

    def known(self, offer: wire.Offer) -> Stored | Unseen | StoreError | None:
        """What the store says of an episode, or why it says nothing."""
        try:
            return self._stored(UUID(bytes=offer.episode))
        except StoreError as error:
            return error

    def answer(
        self, session: ServerSession, offer: wire.Offer, stored: Stored | StoreError | None, *, mine: bool, others: bool
    ) -> bool:
        """Answer an offer of what cannot come any more, or not now; whether it was one.

        `mine` is on its way in already, of this spool; `others` from another one.
        """
        if isinstance(stored, StoreError):
            if not mine:
                self._out.counters["busy"] += 1
                self.busy(session, offer.episode, str(stored))
            return not mine
        most = self._limits.episode_bytes
        if stored is not None and stored.state == "deleted":
            code, why = "deleted", "this episode was deleted from the store"
        elif stored is not None and offer.sealed and stored.digest == offer.digest:
            self._out.say_committed(session, offer.episode, offer.ordinal, stored.digest)
            return True
        elif stored is not None:
            code, why = "conflict", "this episode id is in the store with other content"
        elif offer.size > most:
            code, why = "too_large", f"{offer.size} bytes, at most {most}"
        elif others:
            code, why = "conflict", "this episode id is on its way in from another spool"
        else:
            return False
        self._out.reject(session, offer.episode, code, why)
        return True

    def busy(self, session: ServerSession | None, episode: bytes, why: str) -> None:
        """Not now: the device, if it has a session, will offer it again."""
        if session is None:
            return
        retry_s = self._limits.retry_s
        error = wire.Error(session=session.number, code="busy", reason=why[:1000], episode=episode, retry_s=retry_s)
        self._out.say(session, error)
