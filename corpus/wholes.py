"""Asking for full episodes that previews tell of, or letting them go: which they are, and who is told."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from sensorium.corpus.corpus import Corpus, open_store
from sensorium.corpus.deletions import tombstoned
from sensorium.corpus.directives import DirectiveShelf, issue
from sensorium.corpus.previewed import DEVICE, Previewed
from sensorium.errors import ConfigError
from sensorium.link.directive import DirectiveDocument
from sensorium.link.operators import OperatorPair

MOST_IN_ONE = 500
"""So many ids fit into a directive."""
UNDONE = ("refused", "expired", "failed")
_QUARANTINE = "quarantine"


def chosen(store: Path, where: str, episodes: Sequence[str] = ()) -> list[Previewed]:
    """The full episodes whose previews match a condition, or those that are named, by their id or their preview's, or
    how either begins.

    Raises:
        ConfigError: the condition is none, or no episode, or more than one, is named so.
    """
    corpus = open_store(store)
    if not episodes:
        return corpus.previewed(where)
    every, found = corpus.previewed(where), dict[str, Previewed]()
    for name in episodes:
        like = [each for each in every if each.episode.startswith(name) or each.preview.startswith(name)]
        if len(like) != 1:
            raise ConfigError(f"{store}: {_unknown(store, name, len(like))}")
        found[like[0].episode] = like[0]
    return list(found.values())


def to_delete(corpus: Corpus, episode: str) -> str:
    """The whole id of an episode of the store, or of one that is on a device and told of by a preview, as it begins.

    Raises:
        ConfigError: none begins so, or several do.
    """
    try:
        return corpus.episode(episode).id
    except ConfigError:
        away = [each.episode for each in corpus.previewed() if each.at == DEVICE and each.episode.startswith(episode)]
        if len(away) != 1 or not episode:
            raise
        return away[0]


def ask(
    store: Path, kind: Literal["fetch", "release"], those: Sequence[Previewed], pair: OperatorPair, life_s: float
) -> list[DirectiveDocument]:
    """Ask the devices that hold them for these, or to let go of them; of what is not held there is nothing to ask.

    Raises:
        StoreError: the disk is in trouble.
    """
    by_device: dict[str, list[str]] = {}
    for each in those:
        if each.at == DEVICE:
            by_device.setdefault(each.device, []).append(each.episode)
    made = []
    for device, names in sorted(by_device.items()):
        for first in range(0, len(names), MOST_IN_ONE):
            body = {"episodes": names[first : first + MOST_IN_ONE]}
            made += issue(store, [device], kind, body, pair, life_s=life_s)
    return made


def arrived(
    store: Path, those: Sequence[Previewed], within_s: float, asked: Sequence[DirectiveDocument] = ()
) -> list[Previewed]:
    """Where these are once all of them are settled: none is on a device any more, or none of what was `asked` for is to
    be done, or the time is over."""
    until_s, shelf = time.monotonic() + within_s, DirectiveShelf(store)
    while True:
        entries = [shelf.find(each.device, each.id) for each in asked]
        now = {each.episode: each for each in open_store(store).previewed("")}
        found = [now.get(each.episode, each) for each in those]
        undone = entries and all(each and each.state(time.time_ns()) in UNDONE for each in entries)
        if undone or not any(each.at == DEVICE for each in found) or time.monotonic() >= until_s:
            return found
        time.sleep(0.2)


def _unknown(store: Path, name: str, matching: int) -> str:
    if matching:
        return f"{matching} previews are of episodes that begin with {name!r}; say more of it"
    aside = sorted(path.name for path in (store / _QUARANTINE).glob(f"*-{name}*") if name)
    if aside:
        return f"episode {name} was quarantined: {_QUARANTINE}/{aside[-1]}/why.json says why; its device set it aside"
    if gone := sorted(each for each in tombstoned(store) if name and each.startswith(name)):
        return f"episode {gone[0]} was deleted from the store, and is not fetched again; deletions/ there says why"
    return f"no preview is of an episode that begins with {name!r}; `sensorium query --where \"kind = 'preview'\"`"
