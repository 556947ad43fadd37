"""The sessions that wait for a place for what they offered: in turns, those first whose keys have the fewest."""

from collections.abc import Iterator
from heapq import heapify, heappop, heappush

from sensorium.link.server.places import Claim, Places
from sensorium.link.server.session import ServerSession


class Turns:
    """Who waits, and since when. Who had none for `long_ns` has a claim to what others have, while it waits for more:
    sooner, of many that are served in turn each would take from the next, for places come back all the time."""

    def __init__(self, places: Places, long_ns: int) -> None:
        self._places, self._long_ns = places, long_ns
        self._since: dict[ServerSession, int] = {}
        self._long: set[ServerSession] = set()

    def wait(self, session: ServerSession) -> Claim:
        """It has offered what has no place; what it may have."""
        self._since.setdefault(session, 0)
        return self._claim(session)

    def leave(self, session: ServerSession) -> None:
        """It waits no more, if it did."""
        self._since.pop(session, None)
        self._long.discard(session)

    def had_one(self, session: ServerSession) -> None:
        """It got a place, and waits for another behind those that wait for longer."""
        self._since.pop(session, None)
        self._since[session] = 0

    def in_turn(self) -> Iterator[ServerSession]:
        """Each of which there may be a place, and again while it gets one: who came first may have had all."""
        places = self._places
        turns = [(places.of(session.identity), turn, session) for turn, session in enumerate(self._since)]
        heapify(turns)
        while turns:
            had, turn, session = heappop(turns)
            key = session.identity
            if places.hopeless(key, Claim.LONG):  # and so it is for all the others, who have no fewer
                return
            if places.of(key) == had and not places.hopeless(key, self._claim(session)):
                yield session
            if places.of(key) > had and session in self._since:
                heappush(turns, (places.of(key), turn, session))

    def now_long(self, now_ns: int) -> list[ServerSession]:
        """Those that have waited for long by now; looked at some times a second."""
        for session, since_ns in self._since.items():
            if not since_ns or session.held or self._places.of(session.identity):
                self._since[session] = now_ns
            elif now_ns - since_ns >= self._long_ns:
                self._long.add(session)
        return list(self._long)

    def _claim(self, session: ServerSession) -> Claim:
        return Claim.LONG if session in self._long else Claim.USUAL
