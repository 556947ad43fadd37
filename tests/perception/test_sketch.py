"""The sketch and its cover: whoever follows by deltas has the same, whatever is lost; what does not fit is refused."""

import zlib

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.perception import cover as module
from sensorium.perception.cover import Cover, CoverFile
from sensorium.perception.sketch import (
    FORMAT,
    Sketch,
    SketchDelta,
    SketchOf,
    SketchPosition,
    applied,
    coarse,
    unit_rows,
)

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
@given(
    seed=st.integers(0, 1 << 30),
    dimensions=st.sampled_from([1, 2, 3, 8, 64, 512, 2048]),
    spread=st.sampled_from([0.05, 0.5, 2.0]),
    heavy=st.booleans(),
)
def test_a_look_is_to_a_row_about_as_it_is_to_what_was_coarsened(
    seed: int, dimensions: int, spread: float, heavy: bool
) -> None:
    """Of vectors with and without a few numbers that are far larger than all others, and of what is near to them."""
    rng = np.random.default_rng(seed)
    seen = rng.standard_t(1.5, (20, dimensions)) if heavy else rng.normal(size=(20, dimensions))
    asked = seen + spread * np.linalg.norm(seen, axis=1, keepdims=True) / dimensions**0.5 * rng.normal(size=seen.shape)
    seen, asked = (
        np.rint(each * (127 / np.abs(each).max(axis=1, keepdims=True))).astype(np.int8) for each in (seen, asked)
    )
    rows = coarse(seen)
    assert rows.shape == (20, dimensions + 1)
    for row, look, there in zip(rows, asked, seen, strict=True):
        sketch = Sketch(SketchOf("m", "hall", dimensions), 1, row[None])
        (novelty,), (own,) = sketch.novelty(look[None]), sketch.novelty(there[None])
        a, b = look.astype(float), there.astype(float)
        true = 1.0 - float(a @ b) / float(np.linalg.norm(a) * np.linalg.norm(b))
        assert own <= 0.005
        assert 0.0 <= novelty <= 2.0
        assert abs(novelty - true) <= 0.01 + 0.2 * (2 * true) ** 0.5


def test_of_many_numbers_few_are_enough_and_of_few_none_is_left_out() -> None:
    rng = np.random.default_rng(5)
    many, few = (rng.normal(0, 30, (50, d)).clip(-127, 127).astype(np.int8) for d in (512, 4))
    assert np.abs(coarse(many)[:, :-1]).max() == 2
    assert np.abs(coarse(many, fine=True)[:, :-1]).max() == 15
    assert (np.abs(coarse(few)[:, :-1]).max(axis=1) == 15).all()
    assert len(zlib.compress(coarse(many).tobytes(), 9)) < 50 * 150


def test_of_looks_that_take_more_bytes_fewer_rows_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 300_000)
    rng = np.random.default_rng(5)
    noise, little = (Cover(SketchOf("m", "hall", 512), edition=1) for _ in range(2))
    for _ in range(5):
        some = rng.normal(0, 30, (500, 512))
        noise.take_in(some.clip(-127, 127).astype(np.int8))
        little.take_in((some * (rng.random(some.shape) < 0.1)).clip(-127, 127).astype(np.int8))
    assert (noise.sketch.edition > 1, little.sketch.edition, len(little.sketch)) == (True, 1, 2500)
    for cover in (noise, little):
        assert len(zlib.compress(cover.sketch.rows.tobytes(), 9)) < 300_000


def test_a_thousand_rows_tell_nearly_what_a_thousand_looks_do() -> None:
    rng = np.random.default_rng(6)
    places = rng.normal(0, 30, (1000, 512)).clip(-127, 127).astype(np.int8)
    asked = np.rint(places[::5] * 0.8 + rng.normal(0, 12, (200, 512))).clip(-127, 127).astype(np.int8)
    true = 1.0 - (unit_rows(asked) @ unit_rows(places).T).max(axis=1)
    found = Sketch(SketchOf("m", "hall", 512), 1, coarse(places)).novelty(asked)
    assert float(np.abs(found - true).max()) < 0.05


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
        assert float(Sketch(OF, 1, rows[:at]).novelty(rows[at : at + 1, :-1])[0]) > cover.radius - 0.02


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
        ({"format": FORMAT + 1}, "has format 3, this version knows 2"),
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
