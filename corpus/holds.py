"""Legal hold: an episode that is on hold is not deleted, whoever asks; kept beside it, with who, when and why."""

import time
import uuid
from pathlib import Path

import uuid_utils

from sensorium.corpus.beside import BesideWriter
from sensorium.corpus.beside_catalog import enter_beside
from sensorium.corpus.beside_episode import said_beside
from sensorium.corpus.deletions import HOLDS, waiting
from sensorium.episode.utc_text import utc_text
from sensorium.errors import ConfigError

KIND = HOLDS


def hold(store: str | Path, episode: str, *, reason: str, who: str, lift: bool = False) -> str:
    """Put an episode on hold, or `lift` that, durably; its whole id. An ingest may be at work. One that is to be
    deleted stays while it is held, though no query finds it.

    Raises:
        ConfigError: there is no such episode, no reason, it is being removed by now, or there is no hold to lift.
    """
    path = Path(store)
    found = _found(path, episode)
    if not reason.strip():
        raise ConfigError("hold: no reason; say why it is held, or why no longer")
    if lift and found not in held_episodes(path):
        raise ConfigError(f"episode {found}: is not on hold; there is nothing to lift")
    record = {
        "id": str(uuid.UUID(bytes=uuid_utils.uuid7().bytes)),
        "episode": found,
        "name": "hold",
        "held": not lift,
        "why": reason,
        "who": who,
        "utc": utc_text(time.time_ns()),
    }
    with BesideWriter.going_on(path, KIND) as writer:
        writer.append([record])
    enter_beside(path)
    return found


def _found(path: Path, episode: str) -> str:
    """The whole id of one in the store, or of one whose grace is not over, or that is kept by a hold."""
    from sensorium.corpus.corpus import open_store  # an ingest starts sooner without what reads conditions

    now, held = utc_text(time.time_ns()) or "", held_episodes(path)
    graced = [
        each.episode
        for each in waiting(path)
        if episode and each.episode.startswith(episode) and (each.remove_after_utc > now or each.episode in held)
    ]
    try:
        return open_store(path).episode(episode).id
    except ConfigError:
        if len(graced) != 1:
            raise
    return graced[0]


def held_episodes(store: Path) -> set[str]:
    """The ids of the episodes that are on hold."""
    newest = {str(each.get("episode")): each.get("held") is True for each in said_beside(store, KIND, None)}
    return {episode for episode, is_held in newest.items() if is_held}
