"""The ids of many episodes in one array: a text is made of one when it is asked for, of a hundred thousand of none."""

from collections.abc import Sequence
from typing import overload

import numpy as np
import numpy.typing as npt

from sensorium.drivers.stream import Stamps


class EpisodeIds(Sequence[str]):
    """Ids, in any order.

    >>> ids = EpisodeIds.of(["b", "a", "c"])
    >>> ids[1], list(ids[1:]), list(ids.at(ids.order)), ids.texts
    ('a', ['a', 'c'], ['a', 'b', 'c'], ['b', 'a', 'c'])
    >>> list(EpisodeIds.between("b,a,c", ",", 3)), EpisodeIds.between("b,a,c", ",", 4)
    (['b', 'a', 'c'], None)
    """

    def __init__(self, held: npt.NDArray[np.bytes_]) -> None:
        self._held = held

    @classmethod
    def of(cls, texts: Sequence[str]) -> "EpisodeIds":
        """Of these."""
        return cls(np.array([text.encode() for text in texts], np.bytes_ if len(texts) else "S1"))

    @classmethod
    def between(cls, text: str, between: str, count: int) -> "EpisodeIds | None":
        """Those that stand in a text with something `between` them; None where they are not as many."""
        written = f"{text}{between}".encode()
        size, rest = divmod(len(written), max(count, 1))
        rows = np.frombuffer(written, np.uint8)
        end = ord(between)
        if size > 1 and not rest and (rows == end).sum() == count and (rows[size - 1 :: size] == end).all():
            return cls(np.ascontiguousarray(rows.reshape(-1, size)[:, :-1]).view(f"S{size - 1}").reshape(-1))
        found = text.split(between)
        return cls.of(found) if len(found) == count else None

    @classmethod
    def joined(cls, parts: Sequence["EpisodeIds"]) -> "EpisodeIds":
        """One behind the other."""
        return cls(np.concatenate([part._held for part in parts])) if parts else cls.of([])

    @property
    def order(self) -> Stamps:
        """The places of all in their rising order."""
        held = self._held
        # They lie nearly in this order, and most often in it.
        return np.arange(len(held)) if (held[1:] >= held[:-1]).all() else np.argsort(held, kind="stable")

    def at(self, places: Stamps) -> "EpisodeIds":
        """Those at some places."""
        return EpisodeIds(self._held[places])

    @property
    def texts(self) -> list[str]:
        """All of them."""
        return [each.decode() for each in self._held.tolist()]

    def __len__(self) -> int:
        return len(self._held)

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> "EpisodeIds": ...
    def __getitem__(self, at: int | slice) -> "str | EpisodeIds":
        found = self._held[at]
        return EpisodeIds(found) if isinstance(at, slice) else bytes(found).decode()
