"""Room in the queues of an agent's sensors: one bound for all, a fair part of it for each, and a word where it ends."""

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass

log = logging.getLogger(__name__)

MAX_AGENT_BYTES = 256 << 20
SAY_EVERY_S = 10.0


def has_room(queued_bytes: int, size: int, all_queued: Iterable[int], most: int) -> bool:
    """Whether a queue may grow by `size`: to `most`, and to no more than all leave free.

    So one alone may take half of what an agent has, n that fill alike an (n + 1)th each, and one that comes finds room:
    fixed parts would leave a camera too little beside sensors that need none.

    >>> [has_room(n << 20, 1, [n << 20], 1 << 40) for n in (127, 128)]
    [True, False]
    >>> [has_room(n << 20, 1, [n << 20] * 15, 1 << 40) for n in (15, 16)]
    [True, False]
    """
    return queued_bytes + size <= min(most, MAX_AGENT_BYTES - sum(all_queued))


@dataclass(slots=True)
class Overrun:
    """How many samples of a sensor found no room."""

    count: int = 0
    said_s: float = -SAY_EVERY_S

    def add(self, sensor: str, n: int) -> None:
        """Count, and say so: not for every block that is dropped."""
        self.count += n
        now_s = time.monotonic()
        if now_s - self.said_s < SAY_EVERY_S:
            return
        self.said_s = now_s
        log.warning(
            "sensor %r delivers more than can be encoded and written: %d samples dropped so far, counted as lost"
            " (overrun); lower its rate or size, add the filter `rate`, or choose another encoding",
            sensor,
            self.count,
        )
