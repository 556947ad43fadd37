"""A detector of tests: what is bright red, in one box."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from typing import Any

import numpy as np
import pytest

from sensorium.drivers import registry
from sensorium.perception.detector import GROUP, Boxes, DetectorConfig
from sensorium.perception.encoder import Pictures

RED = (10, 20, 250)
"""BGR; noise has hardly any of it."""


class Bright(DetectorConfig):
    """Finds pixels of about `RED`; pictures whose mean is above `fails_above` are too much for it."""

    kind: str = "bright"
    reach: int = 40
    fails_above: float = 256

    def open(self) -> "BrightDetector":
        return BrightDetector(self.reach, self.fails_above)


class BrightDetector:
    name, version, weights_hash = "bright", "1", "none"

    def __init__(self, reach: int, fails_above: float) -> None:
        self._reach, self._fails_above = reach, fails_above

    def detect(self, pictures: Pictures) -> Sequence[Boxes]:
        if any(picture.mean() > self._fails_above for picture in pictures):
            raise RuntimeError("too bright\nby far")
        return [self._found(picture) for picture in pictures]

    def _found(self, picture: Pictures) -> Boxes:
        red = (np.abs(picture.astype(np.int16) - np.array(RED)) < self._reach).all(axis=2)
        rows, columns = np.flatnonzero(red.any(axis=1)), np.flatnonzero(red.any(axis=0))
        if not len(rows):
            return np.empty((0, 5), np.float32)
        return np.array([[columns[0], rows[0], columns[-1] + 1, rows[-1] + 1, 1]], np.float32)


@contextmanager
def installed() -> Iterator[None]:
    """As if a package with this detector were installed, for the time of a test."""
    found = metadata.entry_points

    def with_more(group: str) -> Any:
        more = metadata.EntryPoint("bright", f"{Bright.__module__}:{Bright.__qualname__}", group)
        return [*found(group=group), more] if group == GROUP else found(group=group)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "entry_points", with_more)
        yield
