"""A piece: samples of one stream that have a fate in common."""

from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np

from sensorium.drivers.media import Media
from sensorium.drivers.stream import Samples, Scores, Stamps
from sensorium.episode.account import Tally


@dataclass(slots=True)
class Piece:
    """Samples of one stream with a common fate: rows as captured, or one frame, encoded or about to be.

    `content` is that of a block; of a frame that is encoded nothing. `scores` are those of a whole block, in which the
    first sample is number `row`: to slice a dozen of them for every frame would be dear. `weighed_bytes` are
    what the ring in which it waits has counted for it.

    One without samples carries `counts` alone: what filters dropped and what was lost at `at_ns`.
    """

    captured_ns: Stamps
    sensor_ns: Stamps | None
    content: Samples | Media
    at_ns: int
    encoded: "Future[bytes] | bytes | None" = None
    counts: Tally | None = None
    scores: Mapping[str, Scores] | None = None
    row: int = 0
    weighed_bytes: int = 0

    def __len__(self) -> int:
        return len(self.captured_ns)

    @property
    def nbytes(self) -> int:
        """Memory held, nothing for a frame that is still being encoded."""
        if isinstance(self.encoded, bytes):
            return len(self.encoded)
        done = self.encoded is not None and self.encoded.done() and self.encoded.exception() is None
        return len(self.encoded.result()) if self.encoded is not None and done else self.content.nbytes

    @property
    def is_being_encoded(self) -> bool:
        """Whether its bytes are still to come."""
        return isinstance(self.encoded, Future) and not self.encoded.done()

    def rows_before(self, end_ns: int) -> int:
        """How many of its samples have stamps before `end_ns`; in most pieces all have, and that is seen at once."""
        stamps = self.captured_ns
        n = len(stamps)
        return n if n and stamps[-1] < end_ns else int(stamps.searchsorted(end_ns))

    def split(self, n: int) -> tuple["Piece", "Piece"]:
        """The first `n` rows, and the others."""
        head, tail = (
            Piece(
                self.captured_ns[rows],
                None if self.sensor_ns is None else self.sensor_ns[rows],
                self.content[rows],
                int(self.captured_ns[rows][0]),
                scores=self.scores,
                row=self.row + (rows.start or 0),
            )
            for rows in (slice(0, n), slice(n, None))
        )
        return head, tail


def counts_alone(at_ns: int, counts: Tally) -> Piece:
    """A piece without samples."""
    empty = np.empty(0, np.int64)
    return Piece(empty, None, empty, at_ns, counts=counts)
