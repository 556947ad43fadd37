"""Many rates within one step: rows that are read as time passes, and looks that take a while."""

import heapq
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from sensorium.drivers.clock import SECOND_NS
from sensorium.drivers.stream import Block, StreamSpec
from sensorium.sim.worlds.senses.port import Port

Row = npt.NDArray[Any]
Measure = Callable[[Any], npt.NDArray[Any]]
"""What a sense makes of ideal rows [n, ...]."""

_NEVER = 1 << 62


class Ticker:
    """Tick n stands at floor(n / rate), as in `ticks`; `index` is the first physics step at or behind the next."""

    def __init__(self, rate_hz: float, step_ns: int) -> None:
        rate = Fraction(rate_hz).limit_denominator(1000)
        self._period = rate.denominator * SECOND_NS, rate.numerator
        self._step_ns = step_ns
        self._next = -1
        self.advance()

    def advance(self) -> None:
        """Go on to the next tick."""
        self._next += 1
        self.tick_ns = self._next * self._period[0] // self._period[1]
        self.index = self.index_of(self.tick_ns)

    def index_of(self, moment_ns: int) -> int:
        """The first physics step at or behind a moment."""
        return -(-moment_ns // self._step_ns)


class Tap(Protocol):
    """One stream: at physics step `index` it is due to be `sampled`; `blocks` is what came out by now."""

    @property
    def index(self) -> int: ...

    def sampled(self, now_ns: int) -> None: ...

    def blocks(self, now_ns: int) -> list[Block]: ...


class Schedule:
    """The taps of a world by when each is due, those of one moment in their order."""

    def __init__(self, taps: Sequence[tuple[StreamSpec, Tap]]) -> None:
        self.taps = taps
        self._queue = [(tap.index, place) for place, (_, tap) in enumerate(taps)]
        heapq.heapify(self._queue)

    @property
    def due(self) -> int:
        """The physics step at which the next is."""
        return self._queue[0][0] if self._queue else _NEVER

    def sample(self, now: int, now_ns: int) -> None:
        """Sample what is due at the step `now`."""
        while self.due <= now:
            place = self._queue[0][1]
            tap = self.taps[place][1]
            tap.sampled(now_ns)
            heapq.heapreplace(self._queue, (tap.index, place))


class Rows:
    """Rows read from the physics at each tick; what `measure` makes of a step's goes out by the port.

    Stamps are of the physics step that was read: with a rate that divides the physics', the ticks themselves.
    """

    def __init__(
        self,
        spec: StreamSpec,
        rate_hz: float,
        step_ns: int,
        read: Callable[[], Row],
        measure: Measure | None = None,
        port: Port | None = None,
    ) -> None:
        self._spec = spec
        self._ticker = Ticker(rate_hz, step_ns)
        self._read = read
        self._measure = measure
        self._port = port
        self._stamps: list[int] = []
        self._rows: list[Row] = []

    @property
    def index(self) -> int:
        return self._ticker.index

    def sampled(self, now_ns: int) -> None:
        self._stamps.append(now_ns)
        self._rows.append(np.array(self._read()))  # a copy: what it reads moves on
        self._ticker.advance()

    def blocks(self, now_ns: int) -> list[Block]:
        if self._rows:
            stamps, rows = np.array(self._stamps, np.int64), np.stack(self._rows)
            self._stamps, self._rows = [], []
            data = rows if self._measure is None else self._measure(rows)
            data = data.astype(self._spec.dtype, copy=False)
            if self._port is None:
                return [Block(self._spec.name, stamps, data)]
            self._port.put(stamps, data)
        return [] if self._port is None else self._port.until(now_ns)


class Once:
    """One row at the reset, and no more: what holds as long as the world does."""

    def __init__(self, spec: StreamSpec, row: Row) -> None:
        self._spec = spec
        self._row: Row | None = row
        self.index = 0

    def sampled(self, now_ns: int) -> None:  # noqa: ARG002 (it is 0)
        self.index = _NEVER

    def blocks(self, now_ns: int) -> list[Block]:  # noqa: ARG002
        row, self._row = self._row, None
        return (
            [] if row is None else [Block(self._spec.name, np.zeros(1, np.int64), row.astype(self._spec.dtype)[None])]
        )


class Bursts:
    """At each tick any number of rows, each with a stamp of its own: contacts, or events."""

    def __init__(
        self, spec: StreamSpec, rate_hz: float, step_ns: int, read: Callable[[int], tuple[Row, Row]], port: Port | None
    ) -> None:
        self._spec = spec
        self._ticker = Ticker(rate_hz, step_ns)
        self._read = read
        self._port = port
        self._bursts: list[tuple[Row, Row]] = []

    @property
    def index(self) -> int:
        return self._ticker.index

    def sampled(self, now_ns: int) -> None:
        stamps, rows = self._read(now_ns)
        if len(stamps):
            self._bursts.append((stamps, rows))
        self._ticker.advance()

    def blocks(self, now_ns: int) -> list[Block]:
        if self._bursts:
            stamps = np.concatenate([burst[0] for burst in self._bursts]).astype(np.int64)
            rows = np.concatenate([burst[1] for burst in self._bursts]).astype(self._spec.dtype)
            self._bursts = []
            if self._port is None:
                return [Block(self._spec.name, stamps, rows)]
            self._port.put(stamps, rows)
        return [] if self._port is None else self._port.until(now_ns)


class Looks:
    """Frames that take a while: the one of tick t can be made at `ends(t)`, from what the world was like since t.

    `take(t)` makes it; one that is `put_off` is made when blocks are asked for.
    """

    def __init__(
        self,
        spec: StreamSpec,
        rate_hz: float,
        step_ns: int,
        ends: Callable[[int], int],
        take: Callable[[int], npt.NDArray[Any] | None],
        port: Port | None = None,
        put_off: bool = False,
    ) -> None:
        self._spec = spec
        self._ticker = Ticker(rate_hz, step_ns)
        self._ends = ends
        self._take = take
        self._port = port
        self._is_put_off = put_off
        self._taken: list[tuple[int, npt.NDArray[Any] | None]] = []
        self.index = self._ticker.index_of(ends(0))

    def sampled(self, now_ns: int) -> None:  # noqa: ARG002 (a frame's own stamp is its tick)
        tick_ns = self._ticker.tick_ns
        self._taken.append((tick_ns, None if self._is_put_off else self._take(tick_ns)))
        self._ticker.advance()
        self.index = self._ticker.index_of(self._ends(self._ticker.tick_ns))

    def blocks(self, now_ns: int) -> list[Block]:
        taken, self._taken = self._taken, []
        if self._is_put_off:
            taken = [(tick_ns, self._take(tick_ns)) for tick_ns, _ in taken]
        if self._port is None:
            frames = [(tick_ns, frame) for tick_ns, frame in taken if frame is not None]
            return [Block(self._spec.name, np.array([tick_ns], np.int64), frame[None]) for tick_ns, frame in frames]
        for tick_ns, frame in taken:
            if frame is None:
                self._port.lose()
            else:
                self._port.put(np.array([tick_ns], np.int64), frame[None])
        return self._port.until(now_ns)
