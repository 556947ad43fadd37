"""A driver that is fed: what one thread makes, its reader takes, in order and with a bound between them."""

import threading
from collections import deque
from collections.abc import Callable, Sequence

from sensorium.drivers.clock import Clock
from sensorium.drivers.driver import Delivery
from sensorium.drivers.stream import Block, StreamSpec

MAX_QUEUED_BYTES = 32 << 20


class Fed:
    """See `sensorium.drivers.driver.Driver`; `closing` is called once, by `close`, after those who wait were let go."""

    def __init__(self, specs: Sequence[StreamSpec], closing: Callable[[], object] = lambda: None) -> None:
        self._specs = tuple(specs)
        self._closing = closing
        self._changed = threading.Condition()
        self._queue: deque[tuple[Delivery, ...]] = deque()
        self._queued_bytes = 0
        self._ended = self._closed = False
        self._error: BaseException | None = None

    @property
    def specs(self) -> tuple[StreamSpec, ...]:
        return self._specs

    @property
    def clock(self) -> Clock:
        return Clock(kind="simulated")

    def put(self, given: Sequence[Delivery], timeout_s: float | None = None) -> bool:
        """Give what is to be delivered; waits for room, at most so long, and takes all of it or nothing: False then, as
        it is once it is closed."""
        size = sum(each.nbytes for each in given if isinstance(each, Block))
        with self._changed:
            self._changed.wait_for(lambda: self._closed or not self._is_full, timeout_s)
            if self._closed or self._is_full:
                return False
            if given:
                self._queue.append(tuple(given))
                self._queued_bytes += size
                self._changed.notify_all()
        return True

    def end(self, error: BaseException | None = None) -> None:
        """Nothing more comes; `error` is what ended it, and what reads raise once all was taken."""
        with self._changed:
            self._ended, self._error = True, self._error or error
            self._changed.notify_all()

    @property
    def is_closed(self) -> bool:
        """Whether nobody reads any more."""
        return self._closed

    def read(self, timeout_s: float) -> Sequence[Delivery] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._ended or self._closed, max(0.0, timeout_s))
            if self._closed:
                return None
            if self._queue:
                taken = self._queue.popleft()
                self._queued_bytes -= sum(each.nbytes for each in taken if isinstance(each, Block))
                self._changed.notify_all()
                return taken
            if self._ended and self._error is not None:
                error, self._error = self._error, None
                raise error
            return None if self._ended else ()

    def close(self) -> None:
        with self._changed:
            was_closed, self._closed = self._closed, True
            self._queue.clear()
            self._changed.notify_all()
        if not was_closed:
            self._closing()

    @property
    def _is_full(self) -> bool:
        """One that is larger than the bound is taken where nothing else waits."""
        return bool(self._queue) and self._queued_bytes > MAX_QUEUED_BYTES
