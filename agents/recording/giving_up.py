"""Giving up: where a run cannot go on, what has no fate yet is lost, and that is said in what can still be sealed."""

import logging
from collections.abc import Callable
from functools import partial

from sensorium.agents.recording.episode_writer import EpisodeWriter
from sensorium.agents.recording.placing import Placing
from sensorium.episode.account import Place, Tally, merge, withdraw
from sensorium.episode.device_account import DeviceAccount
from sensorium.threads import reason

log = logging.getLogger(__name__)

CAUSE = "agent"
"""The cause of loss of a sample that the agent took and could bring nowhere."""


def give_up(account: DeviceAccount, episodes: Placing, seal: Callable[[EpisodeWriter], None]) -> None:
    """Write what open episodes hold, and have `seal` end them. All else that is held is lost: in the newest of them,
    if that is sealed, else between. Whatever failed may fail again here, so that no step keeps the others from theirs.
    """
    for episode in episodes:
        _try(episode.write, "write what an episode holds")
        episode.lose_held(CAUSE)
    held: Place = {}
    for stream, n in account.held().items():
        held[stream] = Tally()
        held[stream].count(CAUSE, n)
    newest = max(episodes, key=lambda episode: (episode.epoch, episode.start_ns), default=None)
    told = {stream: tally for stream, tally in held.items() if newest is not None and stream in newest.place}
    if newest is not None:
        merge(newest.place, told)
    for episode in [*episodes, *episodes]:  # what had no room for its SEAL has, by the reserve, the second time
        if episode in list(episodes):
            _try(partial(seal, episode), "seal an episode")
    if newest in list(episodes):
        withdraw(newest.place, told)
        told = {}
    for stream, tally in held.items():
        if stream not in told:
            account.between(stream, tally)


def _try(step: Callable[[], object], what: str) -> None:
    try:
        step()
    except Exception as error:
        log.error("the agent gives up, and could not %s: %s", what, reason(error))
