"""Parts of one read, done in threads of its own where it is large: nothing of them outlives the call."""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence

from sensorium.threads import Pool

ENOUGH_BYTES = 4 << 20
"""Below this a read is done before its threads would have begun."""
_HERE = threading.local()


def run_all(jobs: Sequence[Callable[[], None]], nbytes: int) -> None:
    """Do all jobs, which fill `nbytes` between them; of several that raise, the first one's error is raised.

    Decoders let go of the GIL, so one thread a core is what helps. A process that was forked may call it.
    """
    if len(jobs) < 2 or nbytes <= ENOUGH_BYTES or getattr(_HERE, "alone", False):
        for job in jobs:
            job()
        return
    with Pool("shard-read", "reads shards", min(len(jobs), len(os.sched_getaffinity(0)))) as pool:
        for done in [pool.submit(job) for job in jobs]:
            done.result()


@contextlib.contextmanager
def alone(really: bool = True) -> Iterator[None]:
    """What this thread reads in it begins no others: it is one of as many as there are cores."""
    before = getattr(_HERE, "alone", False)
    _HERE.alone = before or really
    try:
        yield
    finally:
        _HERE.alone = before
