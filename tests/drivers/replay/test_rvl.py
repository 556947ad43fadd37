"""Depth that was compressed as RVL comes back bit for bit, or is refused."""

import contextlib
import struct

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.drivers.replay.rvl import depth_of

Depth = npt.NDArray[np.uint16]


def rvl(depth: Depth) -> bytes:
    """As the paper's encoder writes it, number by number."""
    groups: list[int] = []

    def put(number: int) -> None:
        while True:
            number, group = number >> 3, number & 7
            groups.append(group | 8 * bool(number))
            if not number:
                return

    pixels, at, before = depth.ravel().tolist(), 0, 0
    while at < len(pixels):
        seen = next((place for place in range(at, len(pixels)) if pixels[place]), len(pixels))
        gone = next((place for place in range(seen, len(pixels)) if not pixels[place]), len(pixels))
        put(seen - at)
        put(gone - seen)
        for pixel in pixels[seen:gone]:
            step = pixel - before
            put((step << 1) ^ (step >> 31) if step >= 0 else -2 * step - 1)
            before = pixel
        at = gone
    groups += [0] * (-len(groups) % 8)
    words = [sum(group << 28 - 4 * n for n, group in enumerate(groups[i : i + 8])) for i in range(0, len(groups), 8)]
    return struct.pack("<II", depth.shape[1], depth.shape[0]) + struct.pack(f"<{len(words)}I", *words)


depths = st.tuples(st.integers(1, 6), st.integers(1, 6)).flatmap(
    lambda shape: st.lists(
        st.just(0) | st.integers(0, 65535), min_size=shape[0] * shape[1], max_size=shape[0] * shape[1]
    ).map(lambda pixels: np.array(pixels, np.uint16).reshape(shape))
)


@settings(max_examples=40)
@given(depths, st.data())
def test_it_comes_back_or_is_refused_where_it_is_cut(depth: Depth, data: st.DataObject) -> None:
    whole = rvl(depth)
    assert np.array_equal(depth_of(whole), depth)
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    if len(cut) < len(whole) - 4:  # the last word may be a part of the last number's zeros
        with pytest.raises(ValueError, match="depth"):
            depth_of(cut)


@settings(max_examples=60)
@given(st.binary(max_size=64))
def test_any_bytes_are_depth_or_refused(data: bytes) -> None:
    head = struct.pack("<II", 4, 3)
    with contextlib.suppress(ValueError):
        assert depth_of(head + data).shape == (3, 4)


@pytest.mark.parametrize("size", [(0, 3), (3, 0), (2**31, 2**31)])
def test_a_size_that_cannot_be_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="expected up to"):
        depth_of(struct.pack("<II", *size) + bytes(64))
