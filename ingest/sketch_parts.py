"""Parts of sketches as devices are told them: a thousand that lack the same are told the same, which is made once."""

import msgspec

from sensorium.ingest.sharers import Sharers
from sensorium.link.directive import MAX_BYTES
from sensorium.perception.cover import Cover
from sensorium.perception.sketch import SketchDelta, SketchOf, SketchPosition

MOST_DELTA_BYTES = MAX_BYTES - 4096
"""What is beside it in a signed document is less than that."""
MOST_PARTS = 256
"""So many parts, of 28 kB at most, are in memory."""


class SketchParts:
    """Those that were made lately, and who shares the sketches that they are of. One thread asks."""

    def __init__(self) -> None:
        self.sharers = Sharers()
        self._made: dict[tuple[SketchOf, int, SketchPosition, int], SketchDelta] = {}

    def part(self, cover: Cover, position: SketchPosition, among: int) -> SketchDelta:
        """What is missing there of a sketch that is shared `among` so many devices, or the first of it; without a row
        where nothing is. A sketch only grows in its edition: a part of it stays one."""
        key = cover.sketch.of, cover.sketch.edition, position, among
        if position == cover.sketch.position or key not in self._made:
            part = cover.delta(position, MOST_DELTA_BYTES) or cover.sketch.nothing()
            if len(self._made) >= MOST_PARTS:
                self._made.clear()
            self._made[key] = msgspec.structs.replace(part, among=among)
        return self._made[key]
