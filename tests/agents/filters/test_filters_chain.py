"""A chain runs filters in order, derives streams, accounts for every sample, and names mistakes by their place."""

from collections import Counter
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.agents.filters.chain import FilterChain, Filtered
from sensorium.agents.filters.crop import Crop
from sensorium.agents.filters.duplicate import Duplicate
from sensorium.agents.filters.exposure import Exposure
from sensorium.agents.filters.filter import FilterConfig
from sensorium.agents.filters.lowpass import Lowpass
from sensorium.agents.filters.rate import Rate
from sensorium.agents.filters.resize import Resize
from sensorium.agents.filters.sharpness import Sharpness
from sensorium.drivers.stream import Block, StreamSpec, loss_alone
from sensorium.errors import ConfigError

FRONT = StreamSpec(name="front", modality="image", dtype="uint8", shape=(24, 32), rate_hz=30)
IMU = StreamSpec(name="rig.imu0", modality="imu", dtype="float64", shape=(2,), rate_hz=200)
SPECS = (FRONT, IMU)


class Nothing(FilterConfig[None]):
    """Leaves nothing, as a filter may: None also where there was a loss."""

    kind: str = "nothing"

    def start(self, spec: StreamSpec) -> None:
        del spec

    def step(self, state: None, block: Block) -> tuple[None, Block | None]:
        return state, None


class Twice(FilterConfig[None]):
    kind: str = "twice"

    def start(self, spec: StreamSpec) -> None:
        del spec

    def step(self, state: None, block: Block) -> tuple[None, Block | None]:
        return state, block.take(np.arange(len(block)).repeat(2), 0)


class Forgetful(FilterConfig[None]):
    """Forgets the loss."""

    kind: str = "forgetful"

    def start(self, spec: StreamSpec) -> None:
        del spec

    def step(self, state: None, block: Block) -> tuple[None, Block | None]:
        return state, block.take(slice(None), 0)


def block_of(spec: StreamSpec, n: int, start: int = 0, lost_before: int = 0, seed: int = 0) -> Block:
    assert spec.rate_hz is not None
    period_ns = int(1e9 / spec.rate_hz)
    data = np.random.default_rng(seed).integers(0, 256, (n, *spec.shape)).astype(spec.dtype)
    return Block(spec.name, np.arange(start, start + n, dtype=np.int64) * period_ns, data, lost_before)


def left(result: Filtered) -> Block:
    """What a chain has made of a block; something."""
    assert result.block is not None
    return result.block


def test_without_filters_everything_passes_as_it_is() -> None:
    chain = FilterChain(SPECS, {})
    block = block_of(FRONT, 3, lost_before=2)
    (result,) = chain.step(block)
    assert chain.specs == SPECS
    assert (result.stream, result.block, result.dropped.filtered) == ("front", block, {})


def test_filters_run_in_the_order_they_stand_in() -> None:
    crop_first = FilterChain(SPECS, {"front": [Crop(width=16, height=12), Resize(size=(8, 6))]})
    assert crop_first.specs[0].shape == (6, 8)
    assert crop_first.specs[0].derived_from == ""
    (result,) = crop_first.step(block_of(FRONT, 2))
    left(result).check(crop_first.specs[0])
    with pytest.raises(ConfigError, match=r"filters\.front\[1\] \(crop\)"):
        FilterChain(SPECS, {"front": [Resize(size=(8, 6)), Crop(width=16, height=12)]})


def test_drops_are_counted_by_kind() -> None:
    chain = FilterChain(SPECS, {"front": [Rate(max_hz=15), Duplicate(max_distance=64), Rate(max_hz=1000)]})
    first, second = chain.step(block_of(FRONT, 10)), chain.step(block_of(FRONT, 10, start=10))
    assert [(result.stream, len(left(result)), result.dropped.filtered) for result in first] == [
        ("front", 1, {"rate": 5, "duplicate": 4})
    ]
    assert [(result.stream, result.block, result.dropped.filtered) for result in second] == [
        ("front", None, {"rate": 5, "duplicate": 5})
    ]


def test_derived_streams_come_after_the_given_and_have_filters_of_their_own() -> None:
    filters: dict[str, list[FilterConfig[Any]]] = {
        "front": [Resize(size=(16, 12), into="front.small"), Rate(max_hz=10)],
        "front.small": [Rate(max_hz=15), Crop(width=4, height=4, into="front.tiny")],
        "rig.imu0": [Lowpass(cutoff_hz=10, decimate=4, into="imu.slow")],
    }
    chain = FilterChain(SPECS, filters)
    assert [(spec.name, spec.shape, spec.rate_hz, spec.derived_from) for spec in chain.specs] == [
        ("front", (24, 32), 10, ""),
        ("rig.imu0", (2,), 200, ""),
        ("front.small", (12, 16), 15, "front"),
        ("imu.slow", (2,), 50, "rig.imu0"),
        ("front.tiny", (4, 4), 15, "front.small"),
    ]
    specs = {spec.name: spec for spec in chain.specs}
    results = chain.step(block_of(FRONT, 12)) + chain.step(block_of(IMU, 8))
    for result in results:
        left(result).check(specs[result.stream])
    assert [(result.stream, len(left(result)), result.dropped.filtered) for result in results] == [
        ("front", 4, {"rate": 8}),
        ("front.small", 6, {"rate": 6}),
        ("front.tiny", 6, {}),
        ("rig.imu0", 8, {}),
        ("imu.slow", 2, {}),
    ]


def test_a_loss_survives_filters_that_leave_nothing_or_forget_it() -> None:
    configs: list[FilterConfig[Any]] = [Nothing(), Forgetful(), Exposure(max_mean=0.0)]
    for config in configs:
        chain = FilterChain(SPECS, {"front": [config, Resize(size=(4, 4))]})
        (result,) = chain.step(block_of(FRONT, 3, lost_before=7))
        left(result).check(chain.specs[0])
        assert left(result).lost_before == 7
        assert len(left(result)) + sum(result.dropped.filtered.values()) == 3


def test_a_loss_survives_into_a_derived_stream() -> None:
    chain = FilterChain([FRONT], {"front": [Resize(size=(4, 4)), Nothing(into="none")]})
    alone = Block("front", np.arange(0), np.empty((0, 24, 32), np.uint8), 5)
    for result in chain.step(alone):
        assert (len(left(result)), left(result).lost_before, result.dropped.filtered) == (0, 5, {})
        left(result).check({made.name: made for made in chain.specs}[result.stream])


def test_a_loss_has_its_stamp_behind_whatever_filter() -> None:
    """Behind one that leaves nothing, one that forgets the loss, and in a stream of another that makes a new block."""
    slow = Lowpass(cutoff_hz=20, decimate=2, into="slow")
    filters: list[FilterConfig[Any]] = [Nothing(into="none"), Forgetful(), slow, Nothing()]
    chain = FilterChain(SPECS, {"rig.imu0": filters})
    for made in chain.step(loss_alone(IMU, 8, 77)):
        assert made.block is not None
        assert made.block.lost_before
        assert made.block.lost_at_ns == 77, made.stream


def test_a_filter_that_makes_samples_must_derive_a_stream() -> None:
    with pytest.raises(ValueError, match="'twice' made 6 of 3 samples without `into`"):
        FilterChain(SPECS, {"front": [Twice()]}).step(block_of(FRONT, 3))
    assert len(left(FilterChain(SPECS, {"front": [Twice(into="more")]}).step(block_of(FRONT, 3))[1])) == 6


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"frnt": []}, r"filters\.frnt: no stream 'frnt', did you mean 'front'\? \(there are: front, rig\.imu0\)"),
        ({"imu0": [Rate(max_hz=1)]}, r"filters\.imu0: .*did you mean 'rig\.imu0'\?"),
        ({"rig.imu0": [Sharpness()]}, r"filters\.rig\.imu0\[0\] \(sharpness\): stream 'rig\.imu0'.*expected pictures"),
        ({"front": [Rate(max_hz=1), Lowpass(cutoff_hz=1)]}, r"filters\.front\[1\] \(lowpass\): .*expected rows"),
        ({"front": [Rate(max_hz=1, into="rig.imu0")]}, r"filters\.front\[0\]\.into: .*'rig\.imu0' already"),
        ({"front": [Rate(max_hz=1, into="a"), Rate(max_hz=1, into="a")]}, r"filters\.front\[1\]\.into"),
        ({"front": [Rate(max_hz=1, into="../a")]}, r"filters\.front\[0\] \(rate\): .*'\.\./a'"),
        ({"front": [Rate(max_hz=1, into="a")], "b": [Rate(max_hz=1)]}, r"filters\.b: no stream"),
    ],
)
def test_mistakes_are_named_by_their_place_in_one_line(
    filters: dict[str, list[FilterConfig[Any]]], message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        FilterChain(SPECS, filters)
    assert "\n" not in str(caught.value)


IN_PLACE = [
    Rate(max_hz=11),
    Duplicate(max_distance=30),
    Exposure(min_mean=0.495),
    Sharpness(window=10),
    Resize(size=(18, 16)),
    Crop(width=16, height=15),
    Nothing(),
    Forgetful(),
]


@given(
    picked=st.lists(st.sampled_from(IN_PLACE), max_size=4),
    picked_after=st.lists(st.sampled_from(IN_PLACE[:4]), max_size=3),
    derive_at=st.integers(0, 4),
    blocks=st.lists(st.tuples(st.integers(0, 5), st.sampled_from([0, 0, 3])), max_size=12),
)
@settings(max_examples=100, deadline=None)
def test_the_account_of_every_stream_balances(
    picked: list[FilterConfig[Any]],
    picked_after: list[FilterConfig[Any]],
    derive_at: int,
    blocks: list[tuple[int, int]],
) -> None:
    chosen = [*picked[:derive_at], Resize(size=(12, 10), into="small"), *picked[derive_at:]]
    try:
        chain = FilterChain(SPECS, {"front": chosen, "small": picked_after})
    except ConfigError:
        return  # a crop that no longer fits
    captured: Counter[str] = Counter()
    out: Counter[str] = Counter()
    lost: Counter[str] = Counter()
    filtered: dict[str, Counter[str]] = {"front": Counter(), "small": Counter()}
    specs = {spec.name: spec for spec in chain.specs}
    start = 0
    for number, (n, lost_before) in enumerate(blocks):
        for result in chain.step(block_of(FRONT, n, start, lost_before, seed=number)):
            filtered[result.stream].update(result.dropped.filtered)
            captured[result.stream] += result.captured
            if result.block is not None:
                result.block.check(specs[result.stream])
                out[result.stream] += len(result.block)
                lost[result.stream] += result.block.lost_before
        start += n
    given_loss = sum(lost_before for _, lost_before in blocks)
    fed = sum(n + lost_before for n, lost_before in blocks)
    assert captured["front"] == fed == out["front"] + filtered["front"].total() + lost["front"]
    assert lost["front"] == given_loss
    # the derived stream is made of what the filters before it left, none of which it may lose
    before: Counter[str] = Counter()
    prefix = FilterChain(SPECS, {"front": picked[:derive_at]})
    start = 0
    for number, (n, lost_before) in enumerate(blocks):
        for result in prefix.step(block_of(FRONT, n, start, lost_before, seed=number)):
            before["made"] += 0 if result.block is None else len(result.block)
        start += n
    assert before["made"] == out["small"] + filtered["small"].total()
    assert captured["small"] == before["made"] + given_loss
    assert lost["small"] == given_loss


def test_streams_do_not_share_state() -> None:
    def config() -> list[FilterConfig[Any]]:
        return [Rate(max_hz=15)]

    other = msgspec.structs.replace(FRONT, name="back")
    together = FilterChain([FRONT, other], {"front": config(), "back": config()})
    alone = FilterChain([other], {"back": config()})
    together.step(block_of(FRONT, 7))
    made, expected = together.step(block_of(other, 9)), alone.step(block_of(other, 9))
    assert left(made[0]).captured_ns.tolist() == left(expected[0]).captured_ns.tolist()
