"""Groups of looks that are alike: each look goes to the group whose first is most like it, or begins another."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

MOST_GROUPS = 1024


class LookGroups:
    """Descriptors int8 [d] as bytes, told apart where the cosine to the first of each group is below `alike`.

    >>> groups = LookGroups(0.75)
    >>> groups.groups_of([bytes([9, 0]), bytes([9, 1]), bytes([0, 9])])
    [0, 0, 1]
    """

    def __init__(self, alike: float) -> None:
        self._alike = alike
        self._firsts: dict[int, npt.NDArray[np.float32]] = {}
        self._numbers: dict[int, list[int]] = {}
        self._next = 0

    def groups_of(self, looks: Sequence[bytes]) -> list[int]:
        """The group of each; what has no direction has none. Where there are too many, the nearest takes all."""
        found = []
        for look in looks:
            vector = np.frombuffer(look, np.int8).astype(np.float32)
            length = float(np.linalg.norm(vector))
            if length > 0:
                found.append(self._group(vector / np.float32(length)))
        return found

    def _group(self, unit: npt.NDArray[np.float32]) -> int:
        firsts, numbers = self._firsts.get(len(unit)), self._numbers.setdefault(len(unit), [])
        if firsts is not None and numbers:
            cosines = firsts[: len(numbers)] @ unit
            best = int(cosines.argmax())
            if cosines[best] >= self._alike or self._next >= MOST_GROUPS:
                return numbers[best]
        if firsts is None or len(numbers) == len(firsts):
            more = np.zeros((64 if firsts is None else len(firsts), len(unit)), np.float32)
            firsts = more if firsts is None else np.concatenate([firsts, more])
            self._firsts[len(unit)] = firsts
        firsts[len(numbers)] = unit
        numbers.append(self._next)
        self._next += 1
        return numbers[-1]
