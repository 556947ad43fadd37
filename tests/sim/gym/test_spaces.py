"""Spaces taken apart and put together: any of them, and any value of them, comes back to the last bit."""

from typing import Any

import msgspec
import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.drivers.stream import StreamSpec
from sensorium.sim.gym.layout import EnvNature, layout_of
from sensorium.sim.gym.spaces import FILL, Leaf, Unfit, from_plain, leaves, part, to_plain, together

SIDES = st.lists(st.integers(1, 4), max_size=3).map(tuple)
KEYS = st.sampled_from(["a", "b c", "é", "d.e", "__f"])


@st.composite
def boxes(draw: st.DrawFn) -> spaces.Space[Any]:
    shape = draw(SIDES)
    dtype = np.dtype(draw(st.sampled_from(["uint8", "int16", "int64", "uint64", "float16", "float32", "float64"])))
    if dtype.kind == "f":
        low: Any = np.full(shape, draw(st.sampled_from([-np.inf, -1.5, 0.0])), dtype)
        high: Any = np.full(shape, draw(st.sampled_from([np.inf, 1.25, 3.0])), dtype)
        if low.size and draw(st.booleans()):
            low.flat[0] = -2.0
    else:
        limits: Any = np.iinfo(dtype.name)
        least, most = max(limits.min, -(2**40)), min(limits.max, 2**40)  # of more Gymnasium draws none
        low, high = np.full(shape, least, dtype), np.full(shape, most, dtype)
        if low.size:
            low.flat[0] = draw(st.integers(least, 5))
    return spaces.Box(low, high, shape, dtype)


SIMPLE = st.one_of(
    boxes(),
    st.builds(lambda n, start: spaces.Discrete(n, start=start), st.integers(1, 9), st.integers(-5, 5)),
    st.builds(lambda n: spaces.MultiDiscrete(np.array(n)), st.lists(st.integers(1, 5), min_size=1, max_size=3)),
    st.builds(spaces.MultiBinary, st.integers(1, 4)),
    st.builds(lambda n: spaces.MultiBinary(n), st.lists(st.integers(1, 3), min_size=2, max_size=2)),
    st.builds(lambda n: spaces.Text(n, charset="ab é\U0001f600"), st.integers(1, 6)),
)
SPACES = st.recursive(
    SIMPLE,
    lambda inner: st.one_of(
        st.dictionaries(KEYS, inner, min_size=1, max_size=3).map(lambda parts: spaces.Dict(parts, sort_keys=False)),
        st.lists(inner, min_size=1, max_size=3).map(spaces.Tuple),
    ),
    max_leaves=6,
)


def bits(value: Any) -> Any:
    """What a value is, to the last bit."""
    if isinstance(value, dict):
        return {key: bits(each) for key, each in value.items()}
    if isinstance(value, tuple):
        return tuple(map(bits, value))
    return value if isinstance(value, str) else (np.asarray(value).shape, np.asarray(value, np.float64).tobytes())


@settings(max_examples=60, deadline=None)
@given(space=SPACES, seed=st.integers(0, 2**31))
def test_a_space_and_its_values_come_back(space: spaces.Space[Any], seed: int) -> None:
    assert from_plain(msgspec.json.decode(msgspec.json.encode(to_plain(space)))) == space
    found = leaves(space, "observation")
    assert len({leaf.name for leaf in found}) == len(found)
    for leaf in found:
        StreamSpec(name=f"env.{leaf.name}", modality="m", dtype=leaf.dtype, shape=leaf.shape)
    space.seed(seed)
    value = space.sample()
    stored = {leaf.path: leaf.array(part(value, leaf.path)) for leaf in found}
    assert all(stored[leaf.path].shape == leaf.shape and stored[leaf.path].dtype == leaf.dtype for leaf in found)
    assert bits(together(space, {leaf.path: leaf.value(stored[leaf.path]) for leaf in found})) == bits(value)


def test_bounds_that_differ_are_kept_few_or_many() -> None:
    for size in (3, 500):
        low = np.linspace(-1, 0, size).astype(np.float32)
        space = spaces.Box(low, np.full(size, np.inf, np.float32), dtype=np.float32)
        plain = to_plain(space)
        assert from_plain(plain) == space
        assert plain["high"] == "inf"
        assert len(msgspec.json.encode(plain)) < 3000


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (np.zeros(3), "x has the shape [3], expected [2]"),
        ([1, [2]], "x is no array"),
        ("ab", "x is str (<U2), expected numbers"),
        ([1.0, np.nan], "x is not a number (NaN)"),
        (np.array([1e-9, 1e300]), "x is float64, which float32 cannot hold without loss"),
        (np.array([1 + 2j, 0]), "x is ndarray (complex128), expected numbers"),
        (None, "x is NoneType (object), expected numbers"),
    ],
)
def test_what_is_no_value_of_a_stream_is_said(value: Any, why: str) -> None:
    with pytest.raises(Unfit) as said:
        Leaf("x", (), (2,), "float32").array(value)
    assert why in str(said.value)


def test_a_text_is_letters_and_nothing_behind_them() -> None:
    leaf = Leaf("said", (), (4,), "uint32", text=True)
    assert leaf.array("aé").tolist() == [97, 233, FILL, FILL]
    for wrong in ("abcde", 3, b"ab"):
        with pytest.raises(Unfit, match="expected a text of up to 4 letters"):
            leaf.array(wrong)


def test_what_is_stored_is_a_copy() -> None:
    value = np.zeros(2, np.float32)
    stored = Leaf("x", (), (2,), "float32").array(value)
    value[0] = 1
    assert stored.tolist() == [0, 0]


def test_streams_say_what_they_are_pictures_of() -> None:
    space = spaces.Dict(
        {
            "rgb": spaces.Box(0, 255, (20, 16, 3), np.uint8),
            "gray": spaces.Box(0, 255, (20, 16), np.uint8),
            "stack": spaces.Box(0, 255, (4, 84, 84), np.uint8),
            "grid": spaces.Box(0, 10, (7, 7, 3), np.uint8),
            "depth": spaces.Box(0, 1, (20, 16), np.float32),
        }
    )
    specs = layout_of(EnvNature(space, spaces.Discrete(2), 50_000_000, {}), {}, {}).specs("env")
    found = {spec.name.removeprefix("env.observation."): spec for spec in specs}
    assert {name: found[name].modality for name in space.spaces} == {
        "rgb": "image",
        "gray": "image",
        "stack": "observation",
        "grid": "observation",
        "depth": "observation",
    }
    assert (found["rgb"].color_order, found["gray"].color_order) == ("RGB", "")
    assert {spec.rate_hz for spec in specs if "final_obs" not in spec.name} == {20.0}


def test_infos_whose_names_would_be_one_stream_are_not_mixed() -> None:
    nature = EnvNature(spaces.Discrete(2), spaces.Discrete(2), 1, {})
    made = layout_of(nature, {"info": {"a b": 1.0, "a_b": 2, "deep": {"x": True}}}, {"info": {"a b": 1, "late": [1]}})
    assert {path: leaf.name for path, leaf in made.infos.items()} == {
        ("a b",): "info.a_b",
        ("deep", "x"): "info.deep.x",
    }
    assert made.infos["a b",].dtype == "float64"
