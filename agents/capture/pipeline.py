"""The pipeline: what the intake delivers goes through the filters to the recorder, or waits for room in the spool."""

import itertools
import math
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from sensorium.agents.capture.arrival import Arrival
from sensorium.agents.capture.disorder import Disordered, InStep
from sensorium.agents.filters.chain import FilterChain
from sensorium.agents.recording.recorder import Recorder
from sensorium.drivers.marks import EpisodeEnd, Passed, SourceNote
from sensorium.drivers.stream import Block, StreamSpec
from sensorium.episode.account import Tally
from sensorium.episode.device_account import DeviceAccount

MAX_WAITING_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class _Refused:
    """What filters made of a block, for which the spool has no room yet; or, behind that, what became of the stream's
    sensor. `order` is in which it came, among all streams."""

    order: int
    stream: str
    block: Block | None
    dropped: Tally
    span_ns: tuple[int, int] | None
    change: str = ""


class Pipeline:
    """One thread calls it.

    When the spool is full a live device's samples are lost, and counted so: the world does not wait. A replay or a
    world does: what does not fit waits here until it does, and no sensor is read meanwhile but for what the open
    episodes still need to be sealed.

    Args:
        streams_of: By sensor, the streams that end with it: its own, and those derived from them.
        account: Where what filters make enters; what sensors deliver did so in the intake.
        simulated: Whether stamps are of a world's own clock, which no file had the time to damage.
        show: Who is shown what was captured, as far as it may be shown.
    """

    def __init__(
        self,
        chain: FilterChain,
        recorder: Recorder,
        streams_of: Mapping[str, list[str]],
        account: DeviceAccount,
        *,
        live: bool,
        simulated: bool = False,
        show: Callable[[Block], None] | None = None,
    ) -> None:
        self._chain = chain
        self._recorder = recorder
        self._streams_of = dict(streams_of)
        self._account = account
        self._live = live
        self._is_clocked = live or simulated
        self._show = show
        self._order = itertools.count()
        self._waiting: dict[str, deque[_Refused]] = {}
        self._in_step: dict[str, InStep] = {}
        self.scores: dict[str, float] = {}
        """By STREAM.SCORE what filters said last of a sample that is left; for a look at the device."""

    @property
    def empty(self) -> bool:
        """Whether nothing waits for room."""
        return not self._waiting

    @property
    def must_wait(self) -> bool:
        """Whether what waits comes before anything new: there is room for it, or nothing open to fill."""
        if not self._waiting:
            return False
        blocks = (waiting.block for queue in self._waiting.values() for waiting in queue)
        if sum(block.nbytes for block in blocks if block) > MAX_WAITING_BYTES:
            self._recorder.seal_all("truncated")
        return not self._recorder.full or not self._recorder.episodes

    def join(self, sensor: str, streams: list[str]) -> None:
        """What a sensor delivers comes here too."""
        self._streams_of[sensor] = streams

    def accept(self, arrival: Arrival) -> None:
        """Take what came from a sensor."""
        recorder = self._recorder
        span_ns = None if arrival.block is None else _span_ns(arrival.block)
        if arrival.lost:
            recorder.count(arrival.stream, arrival.lost, None if span_ns is None else span_ns[0] - 1)
        if arrival.change:
            for stream in self._streams_of[arrival.sensor]:
                if stream in self._in_step:
                    self._deliver(stream, self._in_step.pop(stream).end())
                if stream in self._waiting:
                    # Told before what waits, that would be late: what is open would not wait for it.
                    self._wait(stream, None, change=arrival.change)
                else:
                    self._tell(stream, arrival.change)
        if arrival.unheard:
            recorder.count_unheard(arrival.unheard)
        if isinstance(arrival.said, SourceNote):
            recorder.note(arrival.said)
        elif isinstance(arrival.said, Passed):
            at_ns = arrival.said.at_ns
            self._pass([name for name in self._streams_of[arrival.sensor] if self._is_behind(name, at_ns)], at_ns)
        elif arrival.said is not None:
            recorder.mark(arrival.sensor, arrival.said)
            if isinstance(arrival.said, EpisodeEnd) and arrival.said.passed:
                self._pass(self._streams_of[arrival.sensor], arrival.said.at_ns)
        if arrival.block is not None:
            stream = arrival.block.stream
            in_step = self._in_step.setdefault(stream, InStep(live=self._is_clocked))
            self._deliver(stream, in_step.take(arrival.block))

    def _deliver(self, stream: str, found: Iterable[Block | Disordered]) -> None:
        for each in found:
            if isinstance(each, Block):
                self._filter(each)
            else:
                lost = Tally()
                lost.count("disordered", 1)
                self._recorder.count(stream, lost, each.at_ns)

    def _filter(self, block: Block) -> None:
        span_ns = _span_ns(block)
        for made in self._chain.step(block):
            if self._show is not None and made.shown is not None:
                self._show(made.shown)
            if made.block is not None and made.block.scores and len(made.block):
                last = {f"{made.stream}.{name}": float(each[-1]) for name, each in made.block.scores.items()}
                self.scores |= {name: value for name, value in last.items() if math.isfinite(value)}
            if made.stream != block.stream:
                self._account.enter(made.stream, made.captured)
            if made.stream in self._waiting:
                kept = None if made.block is None else made.block.undecoded()
                self._wait(made.stream, kept, made.dropped, span_ns)
                continue
            rest = self._recorder.add(made.stream, made.block, made.dropped, span_ns)
            if rest is not None and self._live:
                self._lose(made.stream, rest)
            elif rest is not None:
                self._wait(made.stream, rest.undecoded(), span_ns=_span_ns(rest))

    def lose(self, arrival: Arrival) -> None:
        """There is no time any more for what came from a sensor."""
        lost = arrival.lost.copy()
        if arrival.block is not None:
            lost.miss(arrival.block.lost_before, None, is_guess=arrival.block.is_guess)
            lost.count("overrun", len(arrival.block))
        self.accept(replace(arrival, block=None, lost=lost))

    def retry(self) -> bool:
        """Add what had to wait for room, in order; False if some still has to.

        Where the first has none, that of every other stream is tried too: what is open may need it to be sealed, nobody
        else would bring it, and there may be no room before that is sealed.
        """
        refused: set[str] = set()
        while (first := self._first(refused)) is not None:
            queue = self._waiting[first.stream]
            if first.change:
                self._tell(first.stream, first.change)
            else:
                rest = self._recorder.add(first.stream, first.block, first.dropped, first.span_ns)
                if rest is not None:
                    queue[0] = replace(first, block=rest, dropped=Tally(), span_ns=_span_ns(rest))
                    refused.add(first.stream)
                    continue
            queue.popleft()
            if not queue:
                del self._waiting[first.stream]
            if not self._recorder.full:
                refused.clear()  # there is room again, which the earlier ones have first
        return not self._waiting

    def finish(self, *, for_good: bool = True) -> None:
        """Nothing more will come: what still has no room is lost, everything open is sealed. Not `for_good`: it comes
        to another pipeline."""
        for stream, in_step in self._in_step.items():
            self._deliver(stream, in_step.end())
        self.retry()
        for waiting in sorted(itertools.chain(*self._waiting.values()), key=lambda waiting: waiting.order):
            if waiting.change:
                self._tell(waiting.stream, waiting.change)
                continue
            at_ns = None if waiting.span_ns is None else waiting.span_ns[0]
            self._recorder.count(waiting.stream, waiting.dropped, at_ns)
            if waiting.block is not None:
                self._lose(waiting.stream, waiting.block)
        self._waiting.clear()
        self._recorder.stop(for_good=for_good)

    def _wait(
        self,
        stream: str,
        block: Block | None,
        dropped: Tally | None = None,
        span_ns: tuple[int, int] | None = None,
        change: str = "",
    ) -> None:
        refused = _Refused(next(self._order), stream, block, dropped or Tally(), span_ns, change)
        self._waiting.setdefault(stream, deque()).append(refused)

    def _first(self, but: Collection[str]) -> _Refused | None:
        """What has waited longest, `but` of these streams."""
        heads = [queue[0] for stream, queue in self._waiting.items() if stream not in but]
        return min(heads, key=lambda waiting: waiting.order, default=None)

    def _is_behind(self, stream: str, at_ns: int) -> bool:
        """Whether it is not known yet that nothing before this stamp comes of it."""
        return stream not in self._waiting and self._recorder.streams[stream].passed_ns < at_ns

    def _pass(self, streams: Iterable[str], at_ns: int) -> None:
        """Nothing before this stamp comes of them any more: as if there had been a sample, which was no more."""
        for stream in streams:
            if stream in self._in_step:  # what it waits for does not come
                self._deliver(stream, self._in_step[stream].end())
            if stream in self._waiting:
                self._wait(stream, None, span_ns=(at_ns, at_ns))
            else:
                self._recorder.add(stream, None, Tally(), (at_ns, at_ns))

    def _tell(self, stream: str, change: str) -> None:
        tell = {
            "ended": self._recorder.sensor_ended,
            "failed": self._recorder.sensor_failed,
            "away": self._recorder.sensor_away,
            "back": self._recorder.sensor_back,
        }
        tell[change](stream)

    def _lose(self, stream: str, block: Block) -> None:
        """There is no room for a block, and nobody waits for it."""
        counts = Tally()
        counts.miss(block.lost_before, None, is_guess=block.is_guess)
        counts.count("spool_full", len(block))
        self._recorder.count(stream, counts, int(block.captured_ns[0]) if len(block) else block.lost_at_ns)


def streams_of(sensors: Mapping[str, tuple[StreamSpec, ...]], specs: tuple[StreamSpec, ...]) -> dict[str, list[str]]:
    """The streams, among `specs`, that end with each of `sensors`: its own, and those derived from them."""
    sensor_of = {spec.name: name for name, own in sensors.items() for spec in own}
    found: dict[str, list[str]] = {name: [] for name in sensors}
    for spec in specs:  # a derived stream comes after the one that it is derived from
        sensor_of.setdefault(spec.name, sensor_of.get(spec.derived_from, ""))
        found[sensor_of[spec.name]].append(spec.name)
    return found


def _span_ns(block: Block) -> tuple[int, int] | None:
    return (int(block.captured_ns[0]), int(block.captured_ns[-1])) if len(block) else None
