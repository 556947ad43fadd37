"""Selecting: the trigger that cuts captured time into units, has each decided, and keeps what was found worth it."""

import logging
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from sensorium.agents.selection.campaigns import fired
from sensorium.agents.selection.chooser import SHORTENED
from sensorium.agents.selection.cutting import Bounds, Cut, by_frame, by_time, horizon_ns
from sensorium.agents.selection.fleet_claims import claim_of
from sensorium.agents.selection.fleet_part import AMONG, MET, NEARLY
from sensorium.agents.selection.gyros import SURPRISE, Gyros
from sensorium.agents.selection.policy import SelectionPolicy
from sensorium.agents.selection.seen import StreamSeen, Summary, summary
from sensorium.agents.selection.selector import LEFT
from sensorium.agents.selection.too_dear import too_dear
from sensorium.agents.selection.waiting_bytes import WaitingBytes
from sensorium.agents.triggers.channels import channel_values, known_channels
from sensorium.agents.triggers.desk import Desk
from sensorium.agents.triggers.named import NamedScores, split
from sensorium.agents.triggers.planned_time import PlannedTime
from sensorium.agents.triggers.stretches import Fired, Stretches
from sensorium.agents.triggers.trigger import FOREVER_NS, Placement, Trigger
from sensorium.drivers.clock import SECOND_NS
from sensorium.drivers.stream import Block, StreamSpec
from sensorium.episode.documents import StreamEntry
from sensorium.episode.unit import Judged, Look, Unit
from sensorium.perception.gates import Gates
from sensorium.perception.gray import is_pictures

log = logging.getLogger(__name__)

OWN = "selection"
"""What a unit's scores say of itself, beside its streams."""
EARLY = "selection.early"
"""1 of a unit that was judged before all streams had come to its end."""
PLANNED = "selection.planned"
"""The part of a unit that a plan has caused, where one has."""
OWN_SCORES = frozenset(name.removeprefix(f"{OWN}.") for name in (EARLY, SHORTENED, LEFT, AMONG, NEARLY, MET, PLANNED))
SILENT_NS = 10 * SECOND_NS
"""A stream that others are so far ahead of is not waited for."""
MAX_WAITING_BYTES = 256 << 20


class Selecting(Trigger):
    """Units are judged once all judged streams that are here have passed them, in the order of their time.

    Samples wait raw until then. Where they are too many, pre-rolls are shortened first, and then a unit is judged
    before all streams have come to its end; what comes later of it shares its fate.

    Args:
        specs: The streams of the device, `judged` the names of those that decide, `judges` which do of any streams.
    """

    waits_raw = True

    def __init__(
        self,
        policy: SelectionPolicy,
        specs: Sequence[StreamSpec],
        judged: Sequence[str],
        *,
        gates: Gates,
        max_waiting_bytes: int = MAX_WAITING_BYTES,
        judges: Callable[[Sequence[StreamSpec]], Sequence[str]],
    ) -> None:
        self.policy = policy
        self.desk = Desk(policy)
        self._gates = gates
        self._judges = judges
        self._rates: dict[str, float] = {}
        self._streams: dict[str, StreamSeen] = {}
        self._cut: Cut = by_time(round(policy.unit_s * SECOND_NS))
        self._paced_by: str | None = None
        self._gyros = Gyros()
        self._time = _Time()
        self._waiting = _TooMuch(max_waiting_bytes)
        self._resets = 0
        self._said_too_dear = False
        self._named = NamedScores(policy.columns)
        self._asked = _AskedChannels(policy)
        self._take_in(specs, judged)

    def sit_at(self, desk: Desk) -> None:
        """Go on from what is known there, and tell there what is decided from now on."""
        self.desk = desk
        if (begin_ns := desk.begin_ns()) is not None:
            self._time.pass_over(begin_ns)

    def observe(self, block: Block) -> None:
        """Keep what was said of it until its unit is judged."""
        if not len(block):
            return
        self._waiting.bytes.put(block)
        if block.stream in self._streams:
            told = self._asked.told(block)
            self._streams[block.stream].put(told)
            self._named.see(told, self._rates, [SURPRISE] if self._gyros.beside(block.stream) else [])
        self._gyros.put(block)

    def passed(self, stream: str, stamp_ns: int) -> None:
        """Judge what all have passed."""
        time = self._time
        if time.seen_ns == -FOREVER_NS:
            for each in self._streams.values():
                each.heard_ns = max(each.heard_ns, stamp_ns)
        time.seen_ns = max(time.seen_ns, stamp_ns)
        if (seen := self._streams.get(stream)) is not None:
            seen.passed_ns, seen.here = max(seen.passed_ns, stamp_ns), True
            seen.heard_ns = max(seen.heard_ns, stamp_ns)
        self._advance()
        self._relieve()

    def ended(self, stream: str) -> None:
        """The others decide alone; without any, what has come is judged as it is."""
        if stream in self._streams:
            self._streams[stream].here = False
            self._advance()

    def place(self, stamp_ns: int) -> Placement:
        """In the span of its unit, once that is judged; in none what no judged stream saw."""
        time = self._time
        if stamp_ns >= time.final_ns:
            if time.waiting or any(stream.here for stream in self._streams.values()):
                return Placement(FOREVER_NS, decided=False)
            time.pass_over(max(stamp_ns, time.seen_ns) + 1)  # nobody judges for now: only what was seen is answered for
        return time.runs.place(stamp_ns, time.final_ns)

    def cause(self, at_ns: int, proposal: str) -> None:
        """Units that are judged from now on say how much of them plans have caused."""
        self._time.planned.put(at_ns, is_planned=bool(proposal))

    def join(self, entries: Sequence[StreamEntry]) -> None:
        """These are judged too, from where the others are."""
        specs = [entry.spec for entry in entries]
        self._take_in(specs, self._judges(specs))
        self.desk.costs.know(entries)

    def finish(self) -> None:
        """Judge what has come as it is."""
        self._end()

    def close(self) -> None:
        """Book what was sealed last, and save."""
        self._time.runs.book(self.desk.costs)
        self.desk.close()

    def reset(self) -> None:
        """Units of the new time are told from those of the old one; what is kept stays known."""
        self._final(self.desk.chooser.finish())
        self._time.runs.close()
        self._resets += 1
        self._time = _Time(unbooked=self._time.runs)
        self._waiting.bytes.clear()
        self._gyros.forget()
        for stream in self._streams.values():
            stream.forget()

    # -- cutting ------------------------------------------------------------------------------------------------------

    def _take_in(self, specs: Sequence[StreamSpec], judged: Sequence[str]) -> None:
        self._rates |= {spec.name: spec.rate_hz or 0.0 for spec in specs}
        self._asked.know(specs)
        for spec in specs:
            if spec.name in judged:
                self._streams[spec.name] = StreamSeen(self._time.seen_ns)
                if self.policy.unit == "frame" and is_pictures(spec) and self._paced_by is None:
                    self._paced_by = spec.name
                    self._cut = by_frame(self._streams[spec.name], round(self.policy.unit_s * SECOND_NS))
        self._gyros.know(specs, judged)

    def _advance(self) -> None:
        """Judge every unit that all have passed."""
        streams = list(self._streams.values())
        horizon = horizon_ns(streams, self._time.seen_ns, SILENT_NS)
        if horizon is None:
            self._end()
            return
        while (bounds := self._next()) is not None and bounds.end_ns <= horizon:
            self._judge(bounds)

    def _next(self) -> Bounds | None:
        """The unit of the first sample that waits; one of a unit that was judged shares its fate, and tells nothing."""
        for stream in self._streams.values():
            stream.take(self._time.cursor_ns)
        firsts = [first for stream in self._streams.values() if (first := stream.first_ns) is not None]
        return self._cut(min(firsts), self._time.cursor_ns) if firsts else None

    def _end(self) -> None:
        """Nothing more comes for now: judge all that came, the last unit as far as it goes."""
        end_ns = self._time.seen_ns + 1
        while (bounds := self._next()) is not None:
            self._judge(Bounds(bounds.start_ns, min(bounds.end_ns, end_ns)))
        self._shorten()
        self._time.runs.close()
        self._time.pass_over(end_ns)
        self.desk.save()

    def _relieve(self) -> None:
        """Decide sooner while more waits than may."""
        while self._waiting.is_too_much:
            if self._time.waiting:
                self._waiting.say("a pre-roll is shortened")
                self._shorten()
                self._time.settle()
            elif (bounds := self._next()) is not None:
                self._waiting.say("a unit is judged early, before all streams have come to its end")
                end_ns = min(bounds.end_ns, self._time.seen_ns + 1)
                self._judge(Bounds(bounds.start_ns, max(end_ns, bounds.start_ns + 1)), early=True)
            else:
                self._waiting.say("no judged stream delivers, and others are left out")
                self._time.pass_over(self._time.seen_ns + 1)
            self._waiting.bytes.decided(self._time.final_ns)

    # -- judging ------------------------------------------------------------------------------------------------------

    def _judge(self, bounds: Bounds, *, early: bool = False) -> None:
        time, desk = self._time, self.desk
        found: dict[str, Summary] = {}
        for name, stream in self._streams.items():
            if parts := stream.take(bounds.end_ns):
                found[name] = summary(parts, self._gates, self._gyros.surprise(name, parts, bounds.end_ns))
                self._named.beyond(name, found[name].infinite)
        time.runs.book(desk.costs, growing=self.policy.budget.is_of_bytes)
        boot = f"{desk.boot}#{self._resets}" if self._resets else desk.boot
        booked = desk.booked(boot, bounds.start_ns)  # first: what a unit costs may be another then
        length_s = (bounds.end_ns - bounds.start_ns) / SECOND_NS
        counts = {name: rate_hz * length_s for name, rate_hz in self._rates.items()}
        counts |= {name: float(each.count) for name, each in found.items()}
        scores = {f"{name}.{score}": value for name, each in found.items() for score, value in each.scores.items()}
        looks: Mapping[str, Look] = {name: each.look for name, each in found.items() if each.look is not None}
        scores |= desk.fleet(looks)
        said = {EARLY: early or None, SHORTENED: time.shortened or None, LEFT: desk.left()}
        said |= {PLANNED: time.planned.share(bounds.start_ns, bounds.end_ns) or None}
        unit = Unit(
            start_ns=bounds.start_ns,
            end_ns=bounds.end_ns,
            boot=boot,
            scores=scores | {name: float(value) for name, value in said.items() if value is not None},
            gate=_gate(found),
            gates={name: each.gate for name, each in found.items()},
            estimate_bytes=desk.costs.of(counts),
            booked_bytes=booked,
        )
        time.shortened = False
        if not self._said_too_dear and (line := too_dear(self.policy.budget, unit.estimate_bytes)):
            log.warning("selection: %s", line)
            self._said_too_dear = True
        time.begin(bounds)
        self._final(desk.chooser.step(unit, looks))
        time.settle()
        self._waiting.bytes.decided(time.final_ns)

    def _shorten(self) -> None:
        """Decide what waits for a pre-roll; the next unit says that it could claim nothing of it."""
        final = self.desk.chooser.finish()
        self._time.shortened |= bool(final)
        self._final(final)

    def _final(self, final: list[Judged]) -> None:
        self.desk.decided(final)
        for each in final:
            self._time.decided(each, fired(each.unit, self.policy.campaigns), noted=self.desk.memory is not None)


class _AskedChannels:
    """The channels that conditions of campaigns name, which become scores of samples: a unit has the mean of each."""

    def __init__(self, policy: SelectionPolicy) -> None:
        self._columns = [column for each in policy.campaigns for column in each.columns]
        self._of: dict[str, tuple[tuple[str, ...], list[str]]] = {}

    def know(self, specs: Sequence[StreamSpec]) -> None:
        """These streams are there."""
        names = [*self._of, *(spec.name for spec in specs)]
        for spec in specs if self._columns else ():
            mine = {name for of, name in (split(column, names) for column in self._columns) if of == spec.name}
            asked = sorted(mine.intersection(known_channels(spec)))
            self._of[spec.name] = spec.channels, asked

    def told(self, block: Block) -> Block:
        """A block, with its channels that are asked for among its scores."""
        channels, asked = self._of.get(block.stream, ((), []))
        if not (more := [name for name in asked if name not in block.scores]):
            return block
        return replace(block, scores={**channel_values(block, channels, more), **block.scores})


class _TooMuch:
    """How much waits, and that it was too much is said once a while."""

    def __init__(self, most: int) -> None:
        self.bytes = WaitingBytes()
        self._most = most
        self._said: Counter[str] = Counter()

    @property
    def is_too_much(self) -> bool:
        return self.bytes.total > self._most

    def say(self, what: str) -> None:
        self._said[what] += 1
        if self._said[what] & (self._said[what] - 1) == 0:  # 1, 2, 4, 8, ...
            log.warning(
                "selection: more than max_waiting_bytes (%d MB) of undecided samples: %s (%d times so far)",
                self._most // 1_000_000,
                what,
                self._said[what],
            )


class _Time:
    """One time, up to a clock reset: how far it is seen, judged (`cursor_ns`) and final, and what was decided of it."""

    def __init__(self, unbooked: Stretches | None = None) -> None:
        self.seen_ns = self.cursor_ns = self.final_ns = -FOREVER_NS
        self.shortened = False
        self.waiting: deque[int] = deque()
        self.planned = PlannedTime()
        self.runs = Stretches(unbooked)

    def begin(self, bounds: Bounds) -> None:
        """A unit is about to be decided."""
        self.waiting.append(bounds.start_ns)
        self.cursor_ns = bounds.end_ns

    def decided(self, judged: Judged, fired: Fired, *, noted: bool) -> None:
        """The first that waited is final; its looks are `noted` if it is kept."""
        if self.waiting and self.waiting[0] == judged.unit.start_ns:
            self.waiting.popleft()
            looks, claim = (judged.looks, claim_of(judged)) if noted else ({}, None)
            self.runs.add(judged.decision, looks, claim, fired)

    def settle(self) -> None:
        """All before the first that waits is final."""
        self.final_ns = max(self.final_ns, self.waiting[0] if self.waiting else self.cursor_ns)

    def pass_over(self, until_ns: int) -> None:
        """What was not judged by then is in none, and no unit begins in it."""
        self.cursor_ns = max(self.cursor_ns, until_ns)
        self.settle()


def _gate(found: Mapping[str, Summary]) -> str:
    """The gate that closes most samples, if one does of each."""
    count = sum(each.count for each in found.values())
    closed = sum((each.closed for each in found.values()), Counter[str]())
    return closed.most_common(1)[0][0] if count and closed.total() == count else ""
