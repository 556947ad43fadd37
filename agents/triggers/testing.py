"""The conformance suite of the trigger contract, for whoever writes a trigger.

    class TestMyTrigger(TriggerTests):
        specs = (StreamSpec(name="imu", modality="imu", dtype="float64", shape=(6,), rate_hz=100),)
        expected = ((1_000_000_000, 3_000_000_001),)

        def config(self):
            return MyTriggerConfig(kind="mine", limit=3)

        def recording(self):
            return (Block("imu", stamps, data),)

Needs pytest and hypothesis.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple, get_args

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sensorium.agents.triggers.config import TriggerConfig
from sensorium.agents.triggers.trigger import FOREVER_NS, Command, EpisodeSpan, Trigger
from sensorium.drivers.marks import EpisodeBegin, EpisodeEnd, Mark
from sensorium.drivers.stream import Block, StreamSpec
from sensorium.errors import ConfigError

# a suite is inherited, and Hypothesis tells those who run it from different classes
_DELIVERIES = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.differing_executors])


class Word(NamedTuple):
    """A person's word at a stamp: every sample before it was delivered, none from it on."""

    at_ns: int
    name: Command
    outcome: str = ""


Fed = Block | tuple[str, Mark]


class TriggerTests:
    """Tests of any trigger."""

    specs: ClassVar[Sequence[StreamSpec]]
    """The streams of the device."""
    refused: ClassVar[Sequence[Sequence[StreamSpec]]] = ()
    """Streams that it cannot start with."""
    words: ClassVar[Sequence[Word]] = ()
    """What it is told meanwhile, if it is one that takes words."""
    marks: ClassVar[Sequence[tuple[str, Mark]]] = ()
    """What sensors mark meanwhile, by their names, in the order of the stamps, if it is a trigger that heeds marks."""
    expected: ClassVar[Sequence[tuple[int, int]]]
    """The spans [start_ns, end_ns) that it makes of the recording."""

    def config(self) -> TriggerConfig:
        """The configuration to test."""
        raise NotImplementedError(f"{type(self).__name__} must override config()")

    def recording(self) -> Sequence[Block]:
        """One block for each stream, with all its samples."""
        raise NotImplementedError(f"{type(self).__name__} must override recording()")

    def test_configuration(self) -> None:
        config = self.config()
        assert type(config).model_validate(config.model_dump(mode="json")) == config
        with pytest.raises((ValueError, ConfigError)):
            type(config).model_validate({**config.model_dump(), "no_such_option": 1})

    def test_refuses(self) -> None:
        """Streams that it cannot start with are refused before the first block, in one line."""
        if not self.refused:
            pytest.skip("no streams are `refused`")
        for specs in self.refused:
            with pytest.raises(ConfigError) as caught:
                self.config().start(specs)
            assert "\n" not in str(caught.value)

    def test_cuts_the_recording(self) -> None:
        assert tuple(self._told([]).spans()) == tuple(self.expected)

    @_DELIVERIES
    @given(data=st.data())
    def test_delivery_does_not_matter(self, data: st.DataObject) -> None:
        """However samples come in blocks, and those of the streams one after the other: the same decisions."""
        assert self._told(self._delivery(data)).decisions() == self._told([]).decisions()

    @_DELIVERIES
    @given(data=st.data())
    def test_spans_are_disjoint_and_hold_what_is_placed_in_them(self, data: st.DataObject) -> None:
        """Also when streams end and are back."""
        told = self._told(self._delivery(data), ends=data.draw(st.lists(st.integers(0, 40), max_size=4), "ends"))
        spans = told.spans()
        assert all(start < end for start, end in spans), "a span without time"
        assert all(first[1] <= second[0] for first, second in pairwise(spans)), "spans overlap"
        for stream, stamp, span in told.placed:
            inside = None if span is None else (span.start_ns, span.end_ns)
            holding = next((known for known in spans if known[0] <= stamp < known[1]), None)
            assert inside == holding, f"stamp {stamp} of {stream!r} was placed in {inside}, and {holding} holds it"

    def test_blocks_are_not_changed(self) -> None:
        trigger = self._start()
        for block in self.recording():
            for array in (block.captured_ns, block.data, *block.scores.values()):
                array.flags.writeable = False
            before = block.data.copy(), block.captured_ns.copy(), dict(block.scores)
            trigger.observe(block)
            assert np.array_equal(block.data, before[0])
            assert np.array_equal(block.captured_ns, before[1])
            assert block.scores == before[2]

    def test_commands(self) -> None:
        """One that takes no words says so, and goes on as if none had come."""
        if self.words:
            assert all(self._start().command(word.name, word.outcome, word.at_ns) for word in self.words)
            return
        names = get_args(Command)

        def tell(number: int, block: Block, trigger: Trigger) -> None:
            name = names[number % len(names)]
            assert not trigger.command(name, "success", int(block.captured_ns[-1])), f"takes {name!r}"

        assert self._told([], meanwhile=tell).decisions() == self._told([]).decisions()

    def test_marks(self) -> None:
        """One that does not heed marks says so, and goes on as if none had come."""
        if self.marks:
            assert all(self._start().mark(sensor, mark) for sensor, mark in self.marks)
            return

        def tell(number: int, block: Block, trigger: Trigger) -> None:
            at_ns = int(block.captured_ns[0])
            mark = EpisodeEnd(at_ns, "success") if number % 2 else EpisodeBegin(at_ns)
            assert not trigger.mark(block.stream.partition(".")[0], mark), "heeds marks"

        assert self._told([], meanwhile=tell).decisions() == self._told([]).decisions()

    def test_reset(self) -> None:
        """After it every span is closed, and what was seen before changes nothing of what comes."""
        told = self._told([], end=False)
        told.trigger.reset()
        assert all(span.closed for _, _, span in told.placed if span is not None)
        assert self._told([], trigger=told.trigger).decisions() == self._told([]).decisions()

    def _start(self) -> Trigger:
        return self.config().start(self.specs)

    def _delivery(self, data: st.DataObject) -> list[Fed]:
        """The recording in any cuts and any order that keeps each stream's own, a word before what is behind it; and
        marks at any time before the samples of their sensor at or behind them."""
        parts: dict[str, deque[Block]] = {}
        for block in self.recording():
            borders = data.draw(st.lists(st.integers(0, len(block)), max_size=5), f"borders of {block.stream}")
            words = [int(np.searchsorted(block.captured_ns, word.at_ns)) for word in self.words]
            cuts = sorted({0, *borders, *words, len(block)})
            parts[block.stream] = deque(block.between(*cut) for cut in pairwise(cuts))
        delivery: list[Block] = []
        for until_ns in [*(word.at_ns for word in self.words), FOREVER_NS]:
            feeds = {stream: deque(_before(waiting, until_ns)) for stream, waiting in parts.items()}
            order = data.draw(st.permutations([stream for stream, feed in feeds.items() for _ in feed]), "order")
            delivery += [feeds[stream].popleft() for stream in order]
        early = data.draw(st.lists(st.integers(0, len(delivery)), min_size=len(self.marks), max_size=len(self.marks)))
        return _with_marks(delivery, self.marks, early)

    def _told(
        self,
        delivery: Sequence[Fed],
        *,
        ends: Sequence[int] = (),
        end: bool = True,
        trigger: Trigger | None = None,
        meanwhile: Callable[[int, Block, Trigger], None] = lambda *_: None,
    ) -> "_Listener":
        """What a trigger says of a delivery (none: in the order of stamps, one by one) and of the words in it."""
        told = _Listener(self._start() if trigger is None else trigger)
        words = deque(self.words)
        for number, block in enumerate(delivery or _with_marks(_one_by_one(self.recording()), self.marks)):
            if not isinstance(block, Block):
                told.trigger.mark(*block)
                continue
            while words and words[0].at_ns <= block.captured_ns[0]:
                word = words.popleft()
                told.trigger.command(word.name, word.outcome, word.at_ns)
            meanwhile(number, block, told.trigger)
            told.deliver(block)
            if number in ends:
                told.end([block.stream])
        for word in words:
            told.trigger.command(word.name, word.outcome, word.at_ns)
        if end:
            told.end(spec.name for spec in self.specs)
        return told


class _Listener:
    """A trigger that is told of blocks as a recorder does, and what it said of every stamp."""

    def __init__(self, trigger: Trigger) -> None:
        self.trigger = trigger
        self.placed: list[tuple[str, int, EpisodeSpan | None]] = []
        self._waiting: dict[str, deque[int]] = {}

    def deliver(self, block: Block) -> None:
        self.trigger.observe(block)
        self._waiting.setdefault(block.stream, deque()).extend(block.captured_ns.tolist())
        self.trigger.passed(block.stream, int(block.captured_ns[-1]))
        self._ask()

    def end(self, streams: Iterable[str]) -> None:
        for stream in streams:
            self.trigger.ended(stream)
        self._ask()

    def spans(self) -> list[tuple[int, int]]:
        """Of every span that something was placed in, in their order."""
        return sorted({(span.start_ns, span.end_ns) for _, _, span in self.placed if span is not None})

    def decisions(self) -> set[tuple[Any, ...]]:
        """By stream and stamp, all that is known of its span in the end."""
        return {
            (
                stream,
                stamp,
                span.start_ns,
                span.end_ns,
                span.event,
                span.outcome,
                span.discard,
                tuple(span.labels.items()),
                span.base_ns,
            )
            for stream, stamp, span in self.placed
            if span is not None
        }

    def _ask(self) -> None:
        for stream, waiting in self._waiting.items():
            while waiting:
                placement = self.trigger.place(waiting[0])
                if not placement.decided:
                    break
                assert placement.until_ns > waiting[0], "a decision that does not reach the stamp asked for"
                while waiting and waiting[0] < placement.until_ns:
                    self.placed.append((stream, waiting.popleft(), placement.span))


def _before(waiting: deque[Block], until_ns: int) -> Iterator[Block]:
    while waiting and waiting[0].captured_ns[0] < until_ns:
        yield waiting.popleft()


def _with_marks(blocks: Sequence[Block], marks: Sequence[tuple[str, Mark]], early: Sequence[int] = ()) -> list[Fed]:
    """Each mark just before the first block that holds a sample of its sensor at or behind it, or so much earlier."""
    before: list[list[tuple[str, Mark]]] = [[] for _ in range(len(blocks) + 1)]
    place = len(blocks)
    for number, (sensor, mark) in reversed(list(enumerate(marks))):
        of_it = (row for row, block in enumerate(blocks) if _is_of(block.stream, sensor))
        latest = next((row for row in of_it if blocks[row].captured_ns[-1] >= mark.at_ns), len(blocks))
        place = min(place, latest)
        place -= min(place, early[number]) if early else 0
        before[place].insert(0, (sensor, mark))
    delivery: list[Fed] = []
    for place, here in enumerate(before):
        delivery += [*here, *blocks[place : place + 1]]
    return delivery


def _is_of(stream: str, sensor: str) -> bool:
    return stream == sensor or stream.startswith(f"{sensor}.")


def _one_by_one(blocks: Sequence[Block]) -> list[Block]:
    single = [block.between(row, row + 1) for block in blocks for row in range(len(block))]
    return sorted(single, key=lambda block: int(block.captured_ns[0]))
