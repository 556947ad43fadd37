"""What is obscured cannot be told any more, and what is beside it is left as it was."""

from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensorium.perception.masks import Region
from sensorium.perception.obscuring import CELLS, SMALLEST_CELL, Fill, obscure

FILLS = get_args(Fill)


def noise(shape: tuple[int, ...], dtype: str = "uint8", seed: int = 1) -> Any:
    return np.random.default_rng(seed).integers(0, 256, shape).astype(dtype)


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
@given(edges=st.tuples(*[st.integers(0, 60)] * 4), channels=st.sampled_from([(), (1,), (3,), (4,)]), some=st.booleans())
def test_only_what_is_marked_is_written(
    fill: Fill, dtype: str, edges: tuple[int, int, int, int], channels: tuple[int, ...], some: bool
) -> None:
    (top, bottom), (left, right) = sorted(edges[:2]), sorted(edges[2:])
    picture = noise((60, 60, *channels), dtype)
    before = picture.copy()
    marked = noise((bottom - top, right - left)) > 100 if some else None
    obscure(picture, Region(top, bottom, left, right, marked), fill)
    outside = np.ones((60, 60), np.bool_)
    outside[top:bottom, left:right] = False if marked is None else ~marked
    assert np.array_equal(picture[outside], before[outside])
    if fill == "black":
        assert not picture[~outside].any()


@pytest.mark.parametrize("fill", ["blur", "pixelate"])
@given(height=st.integers(1, 200), width=st.integers(1, 200))
def test_no_more_is_left_than_a_few_means(fill: Fill, height: int, width: int) -> None:
    """Whatever differs within a mean, the result is the same: nothing of it can be computed back."""
    cell = max(SMALLEST_CELL, -(-max(height, width) // CELLS))
    one = noise((height, width), "float64")
    other = one.copy()
    rows, columns = max(1, height // cell), max(1, width // cell)
    assert rows <= CELLS
    assert columns <= CELLS
    if height % rows or width % columns:
        return  # means of parts of pixels: not the same numbers, as many of them
    high, wide = height // rows, width // columns
    for row in range(rows):
        for column in range(columns):
            part = other[row * high : (row + 1) * high, column * wide : (column + 1) * wide]
            part[...] = np.random.default_rng(row).permutation(part.ravel()).reshape(part.shape)
    for picture in (one, other):
        obscure(picture, Region(0, height, 0, width), fill)
    assert np.allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("fill", ["blur", "pixelate"])
def test_a_pattern_is_not_to_be_told_from_others(fill: Fill) -> None:
    """Of a hundred patterns, the one that was there is no nearer than chance has it."""
    patterns = [noise((64, 64), "uint8", seed) for seed in range(100)]
    ranks = []
    for number, pattern in enumerate(patterns):
        picture = pattern.copy()
        obscure(picture, Region(0, 64, 0, 64), fill)
        detail = picture.astype(float) - picture.mean()
        likeness = [abs(float((detail * (other - other.mean())).sum())) for other in patterns]
        ranks.append(sorted(likeness, reverse=True).index(likeness[number]))
        assert picture.std() < 12, "of 74"
    assert np.corrcoef(patterns[0].ravel(), picture.ravel())[0, 1] < 0.1
