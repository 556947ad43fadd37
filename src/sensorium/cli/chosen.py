"""Chosen: the episodes that devices keep, a line each with why as they arrive, and their pictures on one sheet."""

import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import sensorium
from sensorium.cli.screen import OUT, size
from sensorium.corpus.corpus import Corpus
from sensorium.corpus.episode import Episode
from sensorium.errors import SensoriumError
from sensorium.perception.drawing import Image, picture
from sensorium.perception.gray import is_pictures
from sensorium.perception.sheet import KEPT, NEUTRAL, Tile, sheet, tile_size

EACH_S = 1.0
MOST_TILES = 48
_WHY = {
    "novelty": "{by} looks new: {score:.0f} over {threshold:.0f}",
    "always": "{by}",
    "floor": "drawn by chance, p {p:.2g}",
    "roll": "beside what is kept",
}


class Chosen:
    """Tells of each episode of a store once, when it is committed."""

    def __init__(self, store: Path) -> None:
        self._store = store
        self._told: set[str] = set()
        self._due_s = 0.0

    def tell(self) -> None:
        """Print a line for each that has come, at most once a second; a store that is not there yet has none."""
        if time.monotonic() < self._due_s:
            return
        self._due_s = time.monotonic() + EACH_S
        try:
            episodes = sensorium.open(self._store).query()
        except SensoriumError:
            return
        for episode in episodes:
            if episode.id not in self._told:
                self._told.add(episode.id)
                OUT.print(_line(episode))


def decisions_of(episode: Episode) -> list[Mapping[str, Any]]:
    """The decisions that an episode notes, in the order of time; none of one that was not chosen."""
    return [note["value"] for note in episode.attributes["notes"] if note.get("kind") == "decision"]


def why(decision: Mapping[str, Any]) -> str:
    """A unit's reason in a few words.

    >>> why({"reason": "novelty", "by": "cam", "score": 12.34, "threshold": 8.1, "p": 0.01})
    'cam looks new: 12 over 8'
    """
    return _WHY.get(str(decision["reason"]), "{reason}").format(**decision)


def _line(episode: Episode) -> str:
    decisions = decisions_of(episode)
    reasons = Counter(str(each["reason"]) for each in decisions)
    first = next((each for each in decisions if each["reason"] != "roll"), None)
    more = "".join(f", {n} {reason}" for reason, n in reasons.items()) if len(decisions) > 1 else ""
    return (
        f"{episode.device:>6} {episode.start_ns / 1e9:7.1f} s  kept {episode.duration_s:.1f} s,"
        f" {size(episode.row['bytes'])}: {why(first) if first else episode.row['reason']}{more}"
    )


def contact_sheet(corpus: Corpus) -> Image:
    """uint8 [h, 1280, 3] BGR: the middle picture of each episode, with why its first unit was kept, by device."""
    sections: dict[str, list[Tile]] = {}
    for episode in corpus.query("", "device, start_ns"):
        tiles = sections.setdefault(episode.device, [])
        if len(tiles) < MOST_TILES:
            tiles.append(_tile(episode))
    headings = [(f"{device}: what was kept, in the order of time", tiles) for device, tiles in sections.items()]
    return sheet(headings)


def _tile(episode: Episode) -> Tile:
    decisions = decisions_of(episode)
    reason = why(decisions[0]) if decisions else str(episode.row["reason"])
    lines = (f"{episode.start_ns / 1e9:.0f} s, {episode.duration_s:.1f} s long", reason)
    frame = NEUTRAL if decisions and decisions[0]["reason"] == "floor" else KEPT
    for stream in episode.streams.values():
        if is_pictures(stream.spec) and len(stream):
            seen = stream[len(stream) // 2]
            return Tile(picture(seen, stream.spec.color_order, *tile_size()), frame, lines)
    return Tile(None, frame, lines)
