"""The conformance suite of the filter contract, for whoever writes a filter.

    class TestMyFilter(FilterTests):
        spec = StreamSpec(name="dut", modality="imu", dtype="float64", shape=(6,), rate_hz=100)
        drops = True

        def config(self):
            return MyFilter(limit=3)

Override `recording` where random samples give the filter no work. Needs pytest and hypothesis.
"""

import pickle
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, ClassVar

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sensorium.agents.filters.chain import FilterChain
from sensorium.agents.filters.filter import FilterConfig
from sensorium.drivers.stream import Block, Samples, StreamSpec
from sensorium.errors import ConfigError

SAMPLES = 40
LOST, LOST_AT = 4, 23
"""So many samples are missing just before that sample of the recording."""

# a suite is inherited, and Hypothesis tells those who run it from different classes
_CUTS = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.differing_executors])


class FilterTests:
    """Tests of any filter. Those of its effect are its author's."""

    spec: ClassVar[StreamSpec]
    """A stream that the filter takes."""
    refused: ClassVar[Sequence[StreamSpec]] = ()
    """Streams that it cannot work on."""
    drops: ClassVar[bool] = False
    """Whether it drops some samples of the recording, or all of it passes."""

    def config(self) -> FilterConfig[Any]:
        """The configuration to test."""
        raise NotImplementedError(f"{type(self).__name__} must override config()")

    def recording(self) -> Samples:
        """`SAMPLES` samples of the stream, [40, *spec.shape]; by default random, the same each time."""
        random = np.random.default_rng(7)
        if np.dtype(self.spec.dtype).kind == "f":
            return (random.normal(size=(SAMPLES, *self.spec.shape)) * 100).astype(self.spec.dtype)
        return random.integers(0, 100, (SAMPLES, *self.spec.shape)).astype(self.spec.dtype)

    def test_output(self) -> None:
        """The spec of what it makes is a spec, of the same stream, and that of what it is fed is left as it was."""
        before = pickle.dumps(self.spec)
        made = self.config().output(self.spec)
        assert made.name == self.spec.name, "the chain gives a derived stream its name"
        assert pickle.dumps(self.spec) == before, "output changed the spec that it was given"

    def test_configuration(self) -> None:
        config = self.config()
        assert type(config).model_validate(config.model_dump(mode="json")) == config
        assert type(config).model_fields["kind"].default == config.kind
        with pytest.raises((ValueError, ConfigError)):
            type(config).model_validate({**config.model_dump(), "no_such_option": 1})

    def test_refuses(self) -> None:
        """Streams that it cannot work on are refused before the first block, in one line."""
        if not self.refused:
            pytest.skip("no stream is `refused`")
        for spec in self.refused:
            with pytest.raises(ConfigError) as caught:
                _begin(self.config(), spec)
            assert "\n" not in str(caught.value)

    def test_has_work(self) -> None:
        """The recording is one that the filter has something to do with, or these tests would show nothing."""
        left = self._left([self._block()])
        kept = sum(len(block) for block in left)
        assert 0 < kept < SAMPLES if self.drops else kept == SAMPLES, f"{kept} of {SAMPLES} samples are left"

    def test_samples_left_are_samples_fed(self) -> None:
        """Without `into` nothing is made up: stamps, the sensor's own and scores stay with their samples."""
        if self.config().into is not None:
            pytest.skip("what it makes is a derived stream")
        fed = self._block()
        place = {int(stamp): row for row, stamp in enumerate(fed.captured_ns)}
        for left in self._left([fed]):
            rows = [place[int(stamp)] for stamp in left.captured_ns]
            assert rows == sorted(set(rows))
            assert left.sensor_ns is not None
            assert left.sensor_ns.tolist() == [3 * row for row in rows]
            assert left.scores["before"].tolist() == [float(row) for row in rows]

    def test_scores_that_are_set_are_those_that_it_tells_of(self) -> None:
        """Where it says which scores it `annotates`, these are all: others would be refused in conditions."""
        said = self.config().scores_of(self.spec)
        if said is None:
            pytest.skip("it does not say which")
        assert not {name for left in self._left([self._block()]) for name in left.scores} - {*said, "before"}

    def test_the_block_is_not_changed(self) -> None:
        state, _ = _begin(self.config(), self._fed)
        for block in self._cut([11]):
            before, scores = _content(block), dict(block.scores)
            for array in (block.captured_ns, block.data, block.sensor_ns, *block.scores.values()):
                if array is not None:
                    array.flags.writeable = False
            state, _ = self.config().step(state, block)
            assert _same(_content(block), before), "step changed the block that it was given"
            assert block.scores.keys() == scores.keys()

    def test_a_step_is_pure(self) -> None:
        """The same state and block give the same answer twice; the state is a value that can be kept and sent."""
        state, _ = _begin(self.config(), self._fed)
        for block in self._cut([3, 11, 30]):
            before = pickle.dumps(state)
            first_state, first = self.config().step(state, block)
            assert pickle.dumps(state) == before, "step changed the state that it was given"
            again_state, again = self.config().step(pickle.loads(before), block)
            assert pickle.dumps(first_state) == pickle.dumps(again_state)
            assert (first is None) == (again is None)
            if first is not None and again is not None:
                assert _same(_content(first), _content(again))
            state = first_state

    @_CUTS
    @given(borders=st.lists(st.integers(0, SAMPLES) | st.just(LOST_AT), max_size=6))
    def test_cuts_do_not_matter(self, borders: list[int]) -> None:
        """However the samples come in blocks, empty ones among them, the same is left, and the same loss."""
        whole, parts = self._left(self._cut([])), self._left(self._cut(borders))
        expected, found = _joined(whole), _joined(parts)
        assert found.keys() == expected.keys()
        for name, values in expected.items():
            assert np.array_equal(values, found[name], equal_nan=values.dtype.kind == "f"), name
        assert sum(block.lost_before for block in parts) == sum(block.lost_before for block in whole)

    @_CUTS
    @given(borders=st.lists(st.integers(0, SAMPLES) | st.just(LOST_AT), max_size=6))
    def test_every_sample_is_left_or_dropped_and_a_loss_is_handed_on(self, borders: list[int]) -> None:
        config = self.config()
        state, _ = _begin(config, self._fed)
        for block in self._cut(borders):
            state, made = config.step(state, block)
            if made is not None and config.into is None:
                assert made.lost_before == block.lost_before, "a filter drops samples, never a loss"
        chain = FilterChain([self._fed], {self.spec.name: [config]})
        captured, left, dropped, lost = 0, 0, 0, 0
        for block in self._cut(borders):
            result = chain.step(block)[-1]
            captured += result.captured
            dropped += result.dropped.captured
            if result.block is not None:
                left += len(result.block)
                lost += result.block.lost_before
        assert captured == left + dropped + lost
        if config.into is None:
            assert captured == SAMPLES + LOST
            assert lost == LOST

    def test_a_loss_alone(self) -> None:
        """A block without samples reports a loss, at any time; nothing is left of it but that."""
        none = self._block().take(slice(0, 0), 5)
        before = sum(map(len, self._left([self._block()])))
        assert sum(map(len, self._left([none, none]))) == 0
        assert sum(map(len, self._left([self._block(), none]))) == before

    @property
    def _fed(self) -> StreamSpec:
        """The stream as it is fed: with the sensor's own counter, which stays with its samples."""
        return msgspec.structs.replace(self.spec, has_sensor_ns=True)

    def _block(self) -> Block:
        """The recording as one block, with jitter in its stamps."""
        random = np.random.default_rng(11)
        period_ns = round(1e9 / (self.spec.rate_hz or 30.0))
        stamps = np.cumsum(random.integers(period_ns // 3, period_ns * 2, SAMPLES))
        scores = {"before": np.arange(SAMPLES, dtype=np.float64)}
        own = np.arange(SAMPLES) * 3
        return Block(self.spec.name, stamps, self.recording(), 0, own, scores)

    def _cut(self, borders: Iterable[int]) -> list[Block]:
        """The recording between the borders and the loss, which stands alone if that is a border too."""
        block, parts, lost_before = self._block(), [], LOST
        for start, stop in pairwise([0, *sorted([*borders, LOST_AT]), SAMPLES]):
            parts.append(block.take(slice(start, stop), lost_before if start == LOST_AT else 0))
            lost_before = 0 if start == LOST_AT else lost_before
        return parts

    def _left(self, blocks: Iterable[Block]) -> list[Block]:
        """What is left of blocks fed one after the other, each checked against the spec that the filter promises."""
        config = self.config()
        state, promised = _begin(config, self._fed)
        left = []
        for block in blocks:
            state, made = config.step(state, block)
            if made is not None:
                made.check(promised)
                left.append(made)
        return left


def _begin(config: FilterConfig[Any], spec: StreamSpec) -> tuple[Any, StreamSpec]:
    """The first state, and the spec of what will be left."""
    promised = config.output(spec)
    return config.start(spec), promised


def _content(block: Block) -> dict[str, Any]:
    own = {} if block.sensor_ns is None else {"sensor_ns": block.sensor_ns.copy()}
    scores: dict[str, Any] = {f"scores.{name}": values.copy() for name, values in block.scores.items()}
    if block.described is not None:
        seen = block.described
        rows = block.captured_ns[seen.rows]
        scores |= {
            "described.at_ns": rows,
            "described.vectors": seen.vectors.copy(),
            "described.hashes": seen.hashes.copy(),
        }
    loss = np.array([block.lost_before])
    return {"captured_ns": block.captured_ns.copy(), "data": block.data.copy(), "loss": loss, **own, **scores}


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(
        np.array_equal(values, other[name], equal_nan=values.dtype.kind == "f") for name, values in one.items()
    )


def _joined(blocks: Sequence[Block]) -> dict[str, Any]:
    contents = [_content(block) for block in blocks]
    names = set().union(*contents) - {"loss"}
    return {name: np.concatenate([content[name] for content in contents if name in content]) for name in names}
