"""What a stream was like in an episode: its health, and what the scores that filters annotated come to."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from sensorium.agents.recording.piece import Piece
from sensorium.drivers.media import Media
from sensorium.episode.documents import SCORES
from sensorium.perception.health import StreamHealth
from sensorium.perception.reservoir import Reservoir

MOST_SCORES = 64
"""Of one stream; those beyond are not told."""
_KEPT = 1024
_NONE = np.empty(0)


class Scored:
    """The scores of one stream's samples, so many of each as tell its median.

    >>> rows = np.arange(3)
    >>> piece = Piece(rows, None, rows, 0, scores={"blur": np.array([9.0, 1.0, np.nan, 2.0])}, row=1)
    >>> scored = Scored()
    >>> scored.add(piece)
    >>> scored.medians()
    {'blur': 1.5}
    """

    __slots__ = ("_of",)

    def __init__(self) -> None:
        self._of: dict[str, Reservoir] = {}

    def add(self, piece: Piece) -> None:
        """Take those of a piece; one that is not known says nothing."""
        first, count = piece.row, len(piece)
        for name, values in (piece.scores or {}).items():
            if (kept := self._of.get(name)) is None:
                if len(self._of) >= MOST_SCORES:
                    continue
                kept = self._of[name] = Reservoir(_KEPT)
            if count == 1:
                if np.isfinite(value := float(values[first])):
                    kept.add_one(value)
                continue
            mine = values[first : first + count]
            kept.add(mine[np.isfinite(mine)])

    def medians(self) -> dict[str, float]:
        """By name, of those of which something is known."""
        found = {name: kept.percentiles(50) for name, kept in self._of.items()}
        return {name: median["p50"] for name, median in found.items() if median is not None}


class StreamLook:
    """One stream as it goes into an episode."""

    __slots__ = ("health", "scored")

    def __init__(self, health: StreamHealth) -> None:
        self.health, self.scored = health, Scored()

    def add(self, piece: Piece) -> None:
        """Take in a piece; of frames encoded before, their stamps alone."""
        self.health.see(piece.captured_ns, _NONE if isinstance(piece.content, Media) else piece.content)
        if piece.scores:
            self.scored.add(piece)


def said_of(streams: Mapping[str, StreamLook]) -> dict[str, Any]:
    """What SEAL's summary has of it: `health` by stream, and `scores` where there are any, each one's median."""
    health = {name: each.health.summary() for name, each in streams.items()}
    scores = {name: found for name, each in streams.items() if (found := each.scored.medians())}
    return {"health": health, SCORES: scores} if scores else {"health": health}
