"""The process that shows what is captured: it reads blocks from its standard input, and has Rerun take each.

`python -m sensorium.agents.capture.live_view_process AT DEVICE`, by `sensorium.agents.capture.live_view`.
"""

import itertools
import sys
import time
from typing import BinaryIO

import msgspec
import numpy as np

from sensorium.agents.capture.live_view import LENGTH, ViewBlock
from sensorium.corpus.rerun_log import CAPTURED, RerunLog
from sensorium.drivers.stream import StreamSpec
from sensorium.errors import SensoriumError

TAKEN_S = 10.0
"""A viewer that has not taken a block after this is taken to be gone."""


def main() -> int:
    """Show until the pipe ends; the exit status."""
    _, at, device = sys.argv
    try:
        recording = RerunLog(f"{device} live", f"{device}-{time.time_ns()}", at)
        while (block := _read(sys.stdin.buffer)) is not None:
            show(recording, block)
            recording.flush(TAKEN_S)  # or what a slow viewer has not taken would pile up here
        recording.close()
    except (SensoriumError, RuntimeError, ValueError) as error:
        sys.stderr.write(f"live view: {error}\n")
        return 1
    return 0


def show(recording: RerunLog, block: ViewBlock) -> None:
    """Log a block."""
    spec = msgspec.msgpack.decode(block.spec, type=StreamSpec)
    times = {CAPTURED: np.frombuffer(block.stamps, "<i8").astype("timedelta64[ns]")}
    if not block.media_type:
        recording.values(spec, times, np.frombuffer(block.data, spec.dtype).reshape(-1, *spec.shape))
        return
    data = np.frombuffer(block.data, np.uint8)
    ends = itertools.accumulate(block.lengths, initial=0)
    items = [data[start:stop] for start, stop in itertools.pairwise(ends)]
    recording.items(spec, times, items, block.media_type)


def _read(pipe: BinaryIO) -> ViewBlock | None:
    """The next block; None at the end, and of one that is cut off there."""
    head = pipe.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    (length,) = LENGTH.unpack(head)
    data = pipe.read(length)
    return msgspec.msgpack.decode(data, type=ViewBlock) if len(data) == length else None


if __name__ == "__main__":
    sys.exit(main())
