"""The ring of a stream: what waits for the trigger to decide, whose bytes are known without going through it."""

from collections import deque
from collections.abc import Iterator
from itertools import islice

from sensorium.agents.recording.piece import Piece


class Ring:
    """Pieces in the order of their stream. A block costs what it brings, however much waits.

    >>> import numpy as np
    >>> ring = Ring()
    >>> for at_ns in (0, 2):
    ...     ring.put(Piece(np.arange(at_ns, at_ns + 2), None, np.zeros((2, 3), np.uint8), at_ns))
    >>> len(ring), ring.nbytes, ring.take().at_ns, ring.nbytes, ring.head.at_ns
    (2, 12, 0, 6, 2)
    """

    def __init__(self) -> None:
        self.pieces: deque[Piece] = deque()
        """In their order, for who only looks whether there are any: that is asked for every block of every stream."""
        self._nbytes = 0
        self._asked = 0
        """How many, from the head, somebody was asked to encode."""
        self._encoding: deque[Piece] = deque()

    def __len__(self) -> int:
        return len(self.pieces)

    @property
    def head(self) -> Piece:
        """The first."""
        return self.pieces[0]

    @property
    def nbytes(self) -> int:
        """Memory held, nothing for frames that are still being encoded: as many as the encoders take at once."""
        while self._encoding and not self._encoding[0].is_being_encoded:
            self._weigh(self._encoding.popleft())
        return self._nbytes

    def put(self, piece: Piece) -> None:
        """The next. A loss that a wrong stamp placed behind it comes just before it."""
        for waiting in reversed(self.pieces):
            if len(waiting) or waiting.at_ns <= piece.at_ns:
                break
            waiting.at_ns = piece.at_ns
        self.pieces.append(piece)
        self._weigh(piece)

    def put_back(self, piece: Piece) -> None:
        """What is left of the one that was taken last, which nobody encodes by itself."""
        self.pieces.appendleft(piece)
        self._weigh(piece)

    def take(self) -> Piece:
        """The first, which waits no more."""
        piece = self.pieces.popleft()
        self._nbytes -= piece.weighed_bytes
        piece.weighed_bytes = 0
        self._asked = max(0, self._asked - 1)
        if self._encoding and self._encoding[0] is piece:
            self._encoding.popleft()
        return piece

    def unencoded(self) -> Iterator[Piece]:
        """Each piece once, for whoever has it encoded: those that came since the last time."""
        for piece in reversed(list(islice(reversed(self.pieces), len(self.pieces) - self._asked))):
            yield piece
            self._asked += 1
            self._weigh(piece)
            if piece.is_being_encoded:
                self._encoding.append(piece)

    def _weigh(self, piece: Piece) -> None:
        nbytes = piece.nbytes
        self._nbytes += nbytes - piece.weighed_bytes
        piece.weighed_bytes = nbytes
