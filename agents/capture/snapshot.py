"""The snapshot: a small picture of what every stream delivers, kept fresh in a file while an agent collects."""

import logging
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np

from sensorium.drivers.media import shrink_for
from sensorium.drivers.stream import Block, Samples, StreamSpec
from sensorium.errors import ConfigError, Corrupt
from sensorium.perception.drawing import (
    ALARM,
    Axis,
    Box,
    Image,
    blank,
    channel_names,
    curves,
    groups,
    legend,
    picture,
    silences,
    write,
    write_picture,
)

log = logging.getLogger(__name__)

EVERY_S = 1.0
MOST_OF_A_CORE = 0.02
SHOWN_NS = 5_000_000_000
STALE_S = 2.0
_MOST_ROWS = 20_000
_TILE_WIDTH, _PICTURE, _LINE, _HEAD = 480, 270, 24, 28
_COLUMNS = 2
_LEFT = 64
_MOST_PANELS = 3


@dataclass(slots=True)
class _Seen:
    spec: StreamSpec
    blocks: deque[Block] = field(default_factory=deque)
    rows: int = 0
    at_s: float | None = None

    def add(self, block: Block, now_s: float) -> None:
        """Keep its rows, or of pictures the last alone and the stamps of all."""
        if self.spec.is_frames:
            if self.blocks:
                self.blocks[-1] = _stamps_alone(self.blocks[-1])
            if len(block) > 1:
                self._keep(_stamps_alone(block.between(0, len(block) - 1)))
                block = block.between(len(block) - 1, len(block))
        self._keep(block)
        self.at_s = now_s

    def _keep(self, block: Block) -> None:
        if self.blocks and block.captured_ns[0] < self.blocks[-1].captured_ns[-1]:  # the clock was set back
            self.blocks.clear()
            self.rows = 0
        self.blocks.append(block)
        self.rows += len(block)
        while len(self.blocks) > 1 and (
            self.rows > _MOST_ROWS or block.captured_ns[-1] - self.blocks[0].captured_ns[-1] > SHOWN_NS
        ):
            self.rows -= len(self.blocks.popleft())


class Snapshot:
    """Shown blocks as they are captured, or where filters redact behind those, it draws them about once a second into a
    PNG or JPEG file.

    Holds at most the last picture of a stream of frames, and five seconds of rows. Each takes 10 to 20 ms with one
    camera and an IMU on the machine this was written on; with many streams they come less often, so that they never
    take more than 2% of a core.

    Raises:
        ConfigError: the file cannot be written to begin with.
    """

    def __init__(self, path: Path, device: str, specs: Sequence[StreamSpec]) -> None:
        self._path = path
        self._device = device
        self._seen = {spec.name: _Seen(spec) for spec in specs}
        self._due_s = time.monotonic() + EVERY_S
        self._said = ""
        write_picture(path, self._drawn("starting", self._due_s))

    def join(self, specs: Sequence[StreamSpec]) -> None:
        """These streams are captured too."""
        self._seen |= {spec.name: _Seen(spec) for spec in specs}

    def see(self, block: Block) -> None:
        """A block was captured."""
        if len(block):
            self._seen[block.stream].add(block, time.monotonic())

    def refresh(self, state: str) -> None:
        """Draw, if it is time; a file that cannot be written is said once, and collecting goes on."""
        now_s = time.monotonic()
        if now_s < self._due_s:
            return
        began_s = time.thread_time()
        try:
            write_picture(self._path, self._drawn(state, now_s))
        except ConfigError as error:
            if str(error) != self._said:
                self._said = str(error)
                log.warning("snapshot: %s", error)
        self._due_s = now_s + max(EVERY_S, (time.thread_time() - began_s) / MOST_OF_A_CORE)

    def close(self, *, hurried: bool = False) -> None:
        """The file stays as it is."""
        del hurried

    def _drawn(self, state: str, now_s: float) -> Image:
        tiles = [_tile(seen, now_s) for seen in self._seen.values()]
        lines = [tiles[first : first + _COLUMNS] for first in range(0, len(tiles), _COLUMNS)]
        columns = max(1, min(_COLUMNS, len(tiles)))
        head = blank(columns * _TILE_WIDTH, _HEAD)
        write(head, f"{self._device}   {datetime.now():%Y-%m-%d %H:%M:%S}   {state}", 8, 19, size=0.5)
        return np.concatenate([head, *(_beside(line, columns) for line in lines)])


def _beside(tiles: Sequence[Image], columns: int) -> Image:
    whole = blank(columns * _TILE_WIDTH, max(tile.shape[0] for tile in tiles))
    for number, tile in enumerate(tiles):
        whole[: tile.shape[0], number * _TILE_WIDTH : (number + 1) * _TILE_WIDTH] = tile
    return whole


def _tile(seen: _Seen, now_s: float) -> Image:
    spec = seen.spec
    image = blank(_TILE_WIDTH, _LINE + _PICTURE)
    x = write(image, spec.name, 8, 17, size=0.5) + 16
    if seen.at_s is None:
        write(image, "nothing yet", x, 17, ALARM)
        return image
    stamps = np.concatenate([block.captured_ns for block in seen.blocks])
    if len(stamps) > 1 and stamps[-1] > stamps[0]:
        x = write(image, f"{(len(stamps) - 1) * 1e9 / float(stamps[-1] - stamps[0]):.1f} Hz", x, 17) + 16
    age_s = now_s - seen.at_s
    write(image, f"{age_s:.1f} s ago", x, 17, ALARM if age_s > STALE_S else (90, 90, 90))
    if spec.is_frames:
        try:
            small = picture(_last_picture(seen), spec.color_order, _TILE_WIDTH - 8, _PICTURE - 4)
        except Corrupt as error:
            write(image, str(error), 8, _LINE + 17, ALARM)
            return image
        image[_LINE : _LINE + small.shape[0], 4 : 4 + small.shape[1]] = small
        return image
    values = np.concatenate([block.data for block in seen.blocks]).reshape(len(stamps), -1)
    end_ns = int(stamps[-1])
    axis = Axis(end_ns - SHOWN_NS, end_ns, _LEFT, _TILE_WIDTH - _LEFT - 8)
    shared, names = groups(spec)[:_MOST_PANELS], channel_names(spec)
    spans = [span for span in silences(stamps, spec.rate_hz, int(stamps[0]), end_ns) if span[1] > axis.start_ns]
    height = _PICTURE // len(shared)
    for number, (unit, columns) in enumerate(shared):
        top = _LINE + number * height
        x = write(image, unit, _LEFT, top + 11, size=0.4) + 10 if unit else _LEFT
        legend(image, x, top + 11, [names[column] for column in columns])
        box = Box(_LEFT, top + 16, axis.width, height - 24)
        curves(image, box, axis, stamps, values[:, columns], spans)
    return image


def _stamps_alone(block: Block) -> Block:
    return Block(block.stream, block.captured_ns, np.empty(0))


def _last_picture(seen: _Seen) -> Samples:
    """Of an encoded one no more is decoded than is drawn."""
    height, width = seen.spec.shape[:2]
    scale = min(_TILE_WIDTH / width, _PICTURE / height)
    block = seen.blocks[-1]
    encoded = block.media is not None
    last: Samples = block.pixels(shrink_for(seen.spec.shape, width * scale, height * scale) if encoded else 1)[-1]
    return last
