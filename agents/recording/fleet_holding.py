"""Fleet holding: an episode of what the fleet has by the time at which it is whole stays here, as `held: fleet`."""

import logging
from collections.abc import Sequence
from uuid import UUID

from sensorium.agents.recording.episode_writer import EpisodeWriter, StoredForm
from sensorium.agents.recording.piece import Piece
from sensorium.agents.recording.previews import Previews
from sensorium.agents.selection.fleet_claims import FleetClaims
from sensorium.agents.spool.spool import Spool
from sensorium.errors import SpoolError

log = logging.getLogger(__name__)

FLEET = "fleet"
"""Why it is held."""


class FleetHolding:
    """Of the episodes of one recorder, whose thread calls it; `previews` are made of them too, if any are. One that is
    held for its preview stays so."""

    def __init__(self, spool: Spool, claims: FleetClaims, previews: Previews | None) -> None:
        self._spool, self._claims, self._previews = spool, claims, previews

    def begin(self, episode: EpisodeWriter, forms: Sequence[StoredForm]) -> None:
        """A full episode begins: nothing of it is offered before it is whole."""
        if self._previews is not None:
            self._previews.begin(episode, forms)
        self._spool.holding.keep_back(episode.id, FLEET)

    def look(self, episode: EpisodeWriter, stream: str, piece: Piece) -> None:
        """Samples are placed in it."""
        if self._previews is not None:
            self._previews.look(episode, stream, piece)

    def seal(self, episode: EpisodeWriter) -> None:
        """It has ended."""
        if self._previews is not None:
            self._previews.seal(episode)
        claims = [each for each in episode.span.claims if episode.start_ns <= each.start_ns < episode.end_ns]
        had = self._claims.sealed(episode.id, claims)
        try:
            if had:
                self._spool.holding.hold(episode.id, FLEET)
            elif self._previews is None or not self._previews.holds:
                self._spool.holding.let_go([episode.id])
        except SpoolError as error:
            log.error("episode %s: stays here until the next start: %s", episode.id, error)


Follower = Previews | FleetHolding
"""Who hears of each full episode as it begins, fills and ends."""


def hold_what_is_had(spool: Spool, claims: FleetClaims) -> None:
    """More is known of the fleet: hold what it has of all that waits."""
    had: list[UUID] = claims.had()
    for episode in had:
        if spool.holding.hold(episode, FLEET):
            log.info("episode %s: the fleet has it by now; it is held", episode)
