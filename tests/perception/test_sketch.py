"""The sketch and its cover: whoever follows by deltas has the same, whatever is lost; what does not fit is refused."""

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.perception.cover import Cover, CoverFile
from sensorium.perception.sketch import FORMAT, Sketch, SketchDelta, SketchOf, SketchPosition, applied, coarse

OF = SketchOf("maker/1", "hall", 8)
STEPS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 2), st.booleans(), st.integers(40, 400)), max_size=25)


def looks(rng: np.random.Generator, n: int) -> np.ndarray[tuple[int, int], np.dtype[np.int8]]:
    return rng.integers(-127, 128, (n, OF.dimensions)).astype(np.int8)


@settings(deadline=None)
@given(seed=st.integers(0, 1 << 30), steps=STEPS)
def test_followers_have_the_same_whatever_of_it_is_lost(seed: int, steps: list[tuple[int, int, bool, int]]) -> None:
    rng = np.random.default_rng(seed)
    cover = Cover(OF, edition=7, capacity=24)
    followers: list[Sketch | None] = [None, None, None]
    for new, who, lost, most_bytes in steps:
        cover.take_in(looks(rng, new))
        cover = Cover.of_file(msgspec.msgpack.decode(msgspec.msgpack.encode(cover.file()), type=CoverFile), 24)
        delta = cover.delta(position(followers[who]), most_bytes)
        if delta is not None and not lost:
            told = msgspec.convert(msgspec.to_builtins(delta, builtin_types=(bytes,)), SketchDelta)
            followers[who] = applied(followers[who], told)
            assert followers[who] is applied(followers[who], told)  # said twice, it changes nothing
    for follower in followers:
        while (delta := cover.delta(position(follower), 60)) is not None:
            follower = applied(follower, delta)
        if follower is not None:
            assert np.array_equal(follower.rows, cover.sketch.rows)
            assert follower.position == cover.sketch.position


def position(sketch: Sketch | None) -> SketchPosition:
    return SketchPosition() if sketch is None else sketch.position


@settings(deadline=None)
@given(seed=st.integers(0, 1 << 30), count=st.integers(1, 120))
def test_no_row_is_nearer_to_another_than_the_radius_and_no_look_is_far_from_all(seed: int, count: int) -> None:
    some = looks(np.random.default_rng(seed), count)
    cover = Cover(OF, edition=1, capacity=500)
    cover.take_in(some)
    novelty = cover.sketch.novelty(some)
    assert float(novelty.max()) <= cover.radius + 0.02  # the looks themselves are finer than rows
    rows = cover.sketch.rows
    for at in range(1, len(rows)):
        assert float(Sketch(OF, 1, rows[:at]).novelty(rows[at : at + 1])[0]) > cover.radius - 0.02


def test_a_sketch_that_is_full_coarsens_and_what_is_told_of_that_is_little() -> None:
    rng = np.random.default_rng(1)
    cover = Cover(OF, edition=1, capacity=64)
    while cover.sketch.edition == 1:
        before = Sketch(OF, 1, cover.sketch.rows.copy())
        cover.take_in(looks(rng, 1))
    delta = cover.delta(before.position, 1 << 20)
    assert delta is not None
    assert (delta.former, delta.at) == (1, len(delta.keep) // 2)
    assert delta.count - delta.at <= 1
    assert np.array_equal(applied(before, delta).rows, cover.sketch.rows)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"format": FORMAT + 1}, "has format 2, this version knows 1"),
        ({"edition": 2}, "it is of edition 2, and 3 is held"),
        ({"crc": 5}, "does not go with the rows that are held"),
        ({"data": b"rubbish"}, "its rows cannot be read"),
        ({"count": 1 << 20}, "are none"),
        ({"at": 9, "count": 10}, "it goes on from row 9 of edition 3; held is"),
        ({"former": 2, "keep": b"\0\0"}, "it thins edition 2; held is"),
        ({"by": "maker/2"}, "held is one of"),
        ({"count": 60}, "bytes of rows, expected"),
    ],
)
def test_what_does_not_fit_changes_nothing(change: dict[str, object], says: str) -> None:
    rng = np.random.default_rng(2)
    there = Sketch(OF, 3, coarse(looks(rng, 5)))
    held = Sketch(OF, 3, there.rows[:1].copy())
    delta = there.delta(held.position)
    assert delta is not None
    with pytest.raises(ValueError, match=says):
        applied(held, msgspec.structs.replace(delta, **change))
    assert held.position == Sketch(OF, 3, there.rows[:1].copy()).position
    assert applied(held, delta).position == there.position
