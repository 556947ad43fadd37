"""How long it takes to make things durable: how often it took up to so many seconds, as a histogram has it."""

import contextlib
import threading
import time
from bisect import bisect_left
from collections.abc import Iterator

BOUNDS_S = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
SUM, INF = "sum", "+Inf"


class SyncTimes:
    """Since it was made; from any thread."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._counts = [0] * (len(BOUNDS_S) + 1)
        self._sum_s = 0.0

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """What is done within is counted, and where it fails too: a disk that fails may have taken long to."""
        begun_s = time.monotonic()
        try:
            yield
        finally:
            self.add(time.monotonic() - begun_s)

    def add(self, seconds: float) -> None:
        """It took so long."""
        with self._guard:
            self._counts[bisect_left(BOUNDS_S, seconds)] += 1
            self._sum_s += seconds

    def told(self) -> dict[str, float]:
        """By bound in seconds, `+Inf` the last, how often it took no longer; and `sum`, what all took.

        >>> times = SyncTimes()
        >>> for seconds in (0.25, 0.5, 99.0):
        ...     times.add(seconds)
        >>> told = times.told()
        >>> told["0.1"], told["0.3"], told["1.0"], told["+Inf"], told["sum"]
        (0, 1, 2, 3, 99.75)
        """
        with self._guard:
            counts, sum_s = list(self._counts), self._sum_s
        upto = [sum(counts[: n + 1]) for n in range(len(counts))]
        return {**dict(zip((*map(str, BOUNDS_S), INF), upto, strict=True)), SUM: sum_s}
