"""Gyros: of every judged camera that has a gyro beside it, how far its pictures move from what that predicts."""

from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np

from sensorium.agents.selection.seen import Part
from sensorium.drivers.stream import Block, Samples, Scores, Stamps, StreamSpec
from sensorium.perception.gray import is_pictures
from sensorium.perception.surprise import Surprise, gyro_of

_SHIFT = ("shift_x", "shift_y", "shift_s")
MAX_BLOCKS = 10_000
SURPRISE = "surprise"


def has_shifts(scores: Collection[str]) -> bool:
    """Whether what is said of a camera's pictures is enough to be compared with a gyro.

    >>> has_shifts({"shift_x", "shift_y", "shift_s", "blur"}), has_shifts({"blur"})
    (True, False)
    """
    return all(name in scores for name in _SHIFT)


@dataclass(slots=True)
class _Pair:
    """A camera and the gyro beside it, whose rows wait for the camera's next unit."""

    gyro: str
    surprise: Surprise
    rows: deque[tuple[Stamps, Samples]] = field(default_factory=lambda: deque(maxlen=MAX_BLOCKS))


class Gyros:
    """Rows are taken in unit by unit, so that it does not matter how they came in blocks."""

    def __init__(self) -> None:
        self._cameras: dict[str, StreamSpec] = {}
        self._gyros: dict[str, StreamSpec] = {}
        self._pairs: dict[str, _Pair] = {}

    def know(self, specs: Sequence[StreamSpec], judged: Sequence[str]) -> None:
        """These streams are there; a camera's gyro is one of its own sensor, or else the only one."""
        self._gyros |= {spec.name: spec for spec in specs if gyro_of(spec) and not spec.derived_from}
        self._cameras |= {spec.name: spec for spec in specs if spec.name in judged and is_pictures(spec)}
        for name, camera in self._cameras.items():
            own = [each for each in self._gyros if each.rpartition(".")[0] == name.rpartition(".")[0]]
            found = own or list(self._gyros)
            if name not in self._pairs and len(found) == 1:
                self._pairs[name] = _Pair(found[0], Surprise(camera, self._gyros[found[0]]))

    def beside(self, camera: str) -> bool:
        """Whether a gyro is beside a camera that is judged."""
        return camera in self._pairs

    def put(self, block: Block) -> None:
        """Rows have come, if it is a gyro's block."""
        if block.stream in self._gyros:
            for pair in self._pairs.values():
                if pair.gyro == block.stream:
                    pair.rows.append((block.captured_ns, block.data))

    def surprise(self, camera: str, parts: Sequence[Part], end_ns: int) -> Scores | None:
        """Of the pictures of a unit that ends there, float64 [n]; None of a stream that has no gyro, or no shifts."""
        pair = self._pairs.get(camera)
        if pair is None or not all(has_shifts(part.scores) for part in parts):
            return None
        stamps: list[Stamps] = []
        data: list[Samples] = []
        while pair.rows and pair.rows[0][0][0] < end_ns:
            at, rows = pair.rows.popleft()
            n = int(np.searchsorted(at, end_ns))
            if n < len(at):
                pair.rows.appendleft((at[n:], rows[n:]))
            stamps.append(at[:n])
            data.append(rows[:n])
        if stamps:
            pair.surprise.turn(np.concatenate(stamps), np.concatenate(data))
        shifts = {name: np.concatenate([part.scores[name] for part in parts]) for name in _SHIFT}
        return pair.surprise.of(np.concatenate([part.captured_ns for part in parts]), shifts)

    def forget(self) -> None:
        """The clock was set back."""
        for pair in self._pairs.values():
            pair.rows.clear()
