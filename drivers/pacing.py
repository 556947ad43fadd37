"""Pacing: recorded or simulated blocks are delivered in the order and at the pace of their own time.

A source is a generator of `Due`; `merge` puts several in one order and `Paced` makes a driver of it. What a source
opens (files, threads) it opens inside its generator and ends in `finally` or `with`, so that `close` ends it.
"""

import heapq
import logging
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, closing
from operator import itemgetter
from typing import Annotated, Generic, Literal, Protocol, TypeVar, runtime_checkable

from pydantic import Field

from sensorium.drivers.clock import Clock
from sensorium.drivers.driver import Delivery
from sensorium.drivers.stream import Block, StreamSpec

log = logging.getLogger(__name__)

Pace = Annotated[float, Field(gt=0, allow_inf_nan=False)] | Literal["fast"]
"""How fast a recording's own time passes: 1.0 as it was, N times as fast, or "fast": as soon as it is read."""

MAX_WAIT_S = 60.0
"""No replay stands still for longer."""

Due = tuple[int, Block]
"""A block and the moment of its own clock, ns, at which a live sensor would have delivered it: its last stamp."""

Source = Generator[Due, None, None]
"""What is due, in its order. Closing it ends all that it opened."""


D = TypeVar("D", bound=Delivery)


@runtime_checkable
class Hurried(Protocol):
    """A driver that can deliver what comes before a moment as fast as it is read."""

    def hurry(self, until_ns: int) -> None: ...


class Pacer:
    """Waits until a moment of the recording's clock has come.

    The first moment asked for is the present. A moment before one that was waited for is due at once, so a stamp that
    jumps back never stalls the replay. One that would be waited for longer than `MAX_WAIT_S` is due at once too, and is
    the present then: a recording that was paused, or has a stamp of another clock, is not waited for. `now_ns` is
    monotonic; `wait(seconds)` sleeps and is by default cut short by `close`, after which nothing waits.
    """

    def __init__(
        self,
        pace: float | Literal["fast"],
        now_ns: Callable[[], int] = time.monotonic_ns,
        wait: Callable[[float], object] | None = None,
    ) -> None:
        self._pace = None if pace == "fast" else float(pace)
        self._now_ns = now_ns
        self._closed = threading.Event()
        self._wait = wait or self._closed.wait
        self._anchor: tuple[int, int] | None = None
        self._hurried_ns: int | None = None
        self._jumped = False

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed.is_set()

    def until(self, due_ns: int, timeout_s: float) -> bool:
        """Wait at most `timeout_s` for `due_ns`; whether it has come."""
        if self._pace is None or (self._hurried_ns is not None and due_ns < self._hurried_ns):
            return True
        now_ns = self._now_ns()
        if self._anchor is None:
            self._anchor = (now_ns, due_ns)
        ahead_s = (self._anchor[0] - now_ns + (due_ns - self._anchor[1]) / self._pace) / 1e9
        if ahead_s > MAX_WAIT_S:
            if not self._jumped:
                log.warning("the recording jumps by %.0f s, which is not waited for; it goes on from there", ahead_s)
            self._jumped, self._anchor = True, (now_ns, due_ns)
            return not self.closed
        if ahead_s > 0:
            self._wait(min(ahead_s, max(timeout_s, 0.0)))
        return ahead_s <= timeout_s and not self.closed

    def hurry(self, until_ns: int) -> None:
        """What is due before a moment does not wait: its time has passed already."""
        self._hurried_ns = until_ns

    def reached_ns(self) -> int | None:
        """The moment of the recording's clock that is the present; None where nothing says so ("fast", not begun)."""
        if self._pace is None or self._anchor is None:
            return None
        return self._anchor[1] + int((self._now_ns() - self._anchor[0]) * self._pace)

    def continued(self) -> "Pacer":
        """A pacer, not closed, for which time has passed just as for this one."""
        other = Pacer(self._pace or "fast", self._now_ns)
        other._anchor, other._hurried_ns = self._anchor, self._hurried_ns
        return other

    def close(self) -> None:
        """End the wait that is under way, and all later ones; from any thread."""
        self._closed.set()


class Timed(Generic[D]):
    """A driver (see `sensorium.drivers.driver.Driver`) that delivers what `source` makes, when it is due.

    One of that a `read`. Beyond its timeout a read takes as long as the source takes to make one.
    """

    def __init__(
        self,
        specs: Sequence[StreamSpec],
        clock: Clock,
        source: Generator[tuple[int, D], None, None],
        pacer: Pacer,
    ) -> None:
        self._specs = tuple(specs)
        self._clock = clock
        self._source = source
        self._pacer = pacer
        self._next: tuple[int, D] | None = None
        self._advancing = threading.Lock()

    @property
    def specs(self) -> tuple[StreamSpec, ...]:
        return self._specs

    @property
    def clock(self) -> Clock:
        return self._clock

    def read(self, timeout_s: float) -> Sequence[D] | None:
        with self._advancing:  # a generator cannot be closed while it runs
            if self._next is None and not self._pacer.closed:
                self._next = next(self._source, None)
            due = self._next
        if due is None or self._pacer.closed:
            return None
        if not self._pacer.until(due[0], timeout_s):
            return None if self._pacer.closed else ()
        self._next = None
        return (due[1],)

    def hurry(self, until_ns: int) -> None:
        """Deliver what is due before a moment as fast as it is read; before the first `read`."""
        self._pacer.hurry(until_ns)

    def close(self) -> None:
        self._pacer.close()
        with self._advancing:
            self._source.close()


class Paced(Timed[Block]):
    """The same where all that is delivered are blocks: `source` is a `Source`."""


def merge(sources: Sequence[Source]) -> Source:
    """The blocks of all `sources` in the order in which they are due; each source is in that order already.

    A source whose time steps back delivers what follows at once, until it has caught up with the others. One that fails
    ends all; what the others have read by then is delivered before.
    """
    failures: list[Exception] = []

    def until_one_fails(source: Source) -> Source:
        try:
            for due in source:
                yield due
                if failures:
                    return
        except Exception as error:
            failures.append(error)

    with ExitStack() as stack:
        for source in sources:
            stack.enter_context(closing(source))
        yield from heapq.merge(*map(until_one_fails, sources), key=itemgetter(0))
        if failures:
            raise failures[0]
