"""A mask has every pixel that its shape touches, in pixels or shares, and one that does not fit is refused."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from sensorium.errors import ConfigError
from sensorium.perception.masks import Mask, marked, region_of

HEIGHT, WIDTH = 37, 61


def drawn(mask: Mask) -> Any:
    return marked([region_of(mask, HEIGHT, WIDTH)], HEIGHT, WIDTH)


shares = st.floats(0, 1)


@given(x=shares, y=shares, u=shares, v=shares, by_share=st.booleans())
def test_a_rectangle_has_every_pixel_that_it_touches_and_no_other(
    x: float, y: float, u: float, v: float, by_share: bool
) -> None:
    wide, high = max((1 - x) * u, 0.001), max((1 - y) * v, 0.001)
    x, y = min(x, 1 - wide), min(y, 1 - high)
    scale = (1.0, 1.0) if by_share else (float(WIDTH), float(HEIGHT))
    rectangle = (x * scale[0], y * scale[1], wide * scale[0], high * scale[1])
    found = drawn(Mask(rectangle=rectangle, unit="share" if by_share else "px"))
    left, right = x * WIDTH, (x + wide) * WIDTH
    top, bottom = y * HEIGHT, (y + high) * HEIGHT
    reach = 1e-6
    for row in range(HEIGHT):
        for column in range(WIDTH):
            inside = column + 1 > left + reach and column < right - reach
            inside = inside and row + 1 > top + reach and row < bottom - reach
            near = column + 1 > left - reach and column < right + reach
            near = near and row + 1 > top - reach and row < bottom + reach
            assert near >= found[row, column] >= inside


@given(corners=st.lists(st.tuples(shares, shares), min_size=3, max_size=6), seed=st.integers(0, 99))
@example(corners=[(0.0, 1.0), (0.0, 0.5), (1.0, 1.0)], seed=0)
@example(corners=[(1.0, 0.0), (1.0, 0.5), (1.0, 1.0)], seed=0)
@example(corners=[(0.0, 0.0), (0.0, 0.5), (0.0, 1.0)], seed=0)
@example(corners=[(0.0, 1.0), (0.0, 1.0), (0.0, 1.0)], seed=0)
def test_a_polygon_has_every_pixel_in_which_it_has_a_point(corners: list[tuple[float, float]], seed: int) -> None:
    try:
        found = drawn(Mask(polygon=tuple(corners), unit="share"))
    except ConfigError:
        pytest.fail("it lies within the picture")
    weights = np.random.default_rng(seed).dirichlet(np.ones(3), 200)
    for first in range(1, len(corners) - 1):  # its triangles, if it does not cross itself; of a triangle all of it
        if len(corners) > 3:
            break
        points = weights @ np.array([corners[0], corners[first], corners[first + 1]]) * (WIDTH, HEIGHT)
        columns, rows = np.minimum(points.astype(int), (WIDTH - 1, HEIGHT - 1)).T
        assert found[rows, columns].all()
    for (x, y), (u, v) in zip(corners, corners[1:] + corners[:1], strict=True):
        for along in np.linspace(0, 1, 50):
            column = min(int((x + (u - x) * along) * WIDTH), WIDTH - 1)
            row = min(int((y + (v - y) * along) * HEIGHT), HEIGHT - 1)
            assert found[row, column], "its edge"


def test_an_image_masks_what_is_not_black(tmp_path: Path) -> None:
    picture = np.zeros((HEIGHT, WIDTH), np.uint8)
    picture[3:5, 7:9] = 1
    cv2.imwrite(str(tmp_path / "gray.png"), picture)
    cv2.imwrite(str(tmp_path / "colour.png"), np.stack([picture, picture * 0, picture * 0], axis=2))
    cv2.imwrite(str(tmp_path / "deep.png"), picture.astype(np.uint16))
    for name in ("gray", "colour", "deep"):
        assert np.array_equal(drawn(Mask(image=tmp_path / f"{name}.png")), picture > 0)


def test_an_image_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "large.png"), np.ones((HEIGHT, WIDTH + 1), np.uint8))
    cv2.imwrite(str(tmp_path / "clear.png"), np.ones((HEIGHT, WIDTH, 4), np.uint8))
    cv2.imwrite(str(tmp_path / "empty.png"), np.zeros((HEIGHT, WIDTH), np.uint8))
    photo = cv2.imencode(".jpg", np.full((HEIGHT, WIDTH), 255, np.uint8))[1].tobytes()
    (tmp_path / "photo.png").write_bytes(photo)
    (tmp_path / "torn.png").write_bytes((tmp_path / "large.png").read_bytes()[:20])
    for name, says in (
        ("large", "is 62x37, the pictures are 61x37"),
        ("clear", "has transparency"),
        ("empty", "masks no pixel"),
        ("torn", "is no PNG that can be read whole"),
        ("photo", "is no PNG that can be read whole"),
        ("none", "No such file"),
    ):
        with pytest.raises(ConfigError, match=says):
            region_of(Mask(image=tmp_path / f"{name}.png"), HEIGHT, WIDTH)


@pytest.mark.parametrize(
    "mask",
    [
        Mask(rectangle=(50, 0, 12, 1)),
        Mask(rectangle=(-1, 0, 12, 1)),
        Mask(rectangle=(0, 30, 2, 8)),
        Mask(polygon=((0, 0), (62, 3), (3, 3))),
        Mask(rectangle=(0.5, 0.5, 0.6, 0.1), unit="share"),
    ],
)
def test_what_reaches_out_of_the_picture_is_refused(mask: Mask) -> None:
    with pytest.raises(ConfigError, match=r"expected within the 61x37 pictures"):
        region_of(mask, HEIGHT, WIDTH)


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"rectangle": [0, 0, 0, 1]},
        {"rectangle": [0, 0, float("nan"), 1]},
        {"rectangle": [0, 0, 1]},
        {"polygon": [[0, 0], [1, 1]]},
        {"rectangle": [0, 0, 1, 1], "polygon": [[0, 0], [1, 1], [1, 0]]},
        {"circle": [1, 2, 3]},
    ],
)
def test_what_is_no_shape_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Mask.model_validate(wrong)
