"""The detector contract: what is no answer is told, and the suite fails for a detector that does not keep it."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensorium.perception.detector import DetectorConfig, found, which
from sensorium.perception.encoder import Pictures
from sensorium.perception.testing import DetectorTests
from tests.perception.bright import RED, Bright

VALUES = np.array([-1, -0.005, 0, 0.5, 1, 7.99, 8, 8.5, 19.5, 20, 20.005, 21, np.nan, np.inf, -np.inf], np.float32)


@given(seed=st.integers(0, 2**32), count=st.integers(0, 2))
def test_what_passes_is_boxes_within_the_picture(seed: int, count: int) -> None:
    boxes = np.random.default_rng(seed).choice(VALUES[:12] if seed % 3 else VALUES, (count, 5))
    x0, y0, x1, y1, score = boxes.T
    near = 0.01
    good = (x0 >= -near) & (x0 < x1) & (x1 <= 20 + near) & (y0 >= -near) & (y0 < y1) & (y1 <= 8 + near)
    if (good & (score >= 0) & (score <= 1)).all():
        assert np.array_equal(found([boxes], np.zeros((1, 8, 20, 3), np.uint8))[0], boxes)
    else:
        with pytest.raises(ValueError, match="is none within 20x8 pixels"):
            found([boxes], np.zeros((1, 8, 20, 3), np.uint8))


class TestBright(DetectorTests):
    def config(self) -> Bright:
        return Bright()

    def sample(self) -> Pictures:
        return sample()


def sample() -> Pictures:
    picture = np.full((48, 64, 3), 120, np.uint8)
    picture[20:30, 30:44] = RED
    return picture


# ---- the suite itself


class Broken(DetectorConfig):
    kind: str = "broken"
    broken: str = ""

    def open(self) -> "BrokenDetector":
        return BrokenDetector(self.broken)


class BrokenDetector:
    """As it should be, but for one thing."""

    version, weights_hash = "1", "none"

    def __init__(self, broken: str) -> None:
        self._broken = broken
        self._good = Bright().open()
        self._calls = 0
        self.name = "" if broken == "nameless" else "broken"

    def detect(self, pictures: Pictures) -> Any:
        self._calls += 1
        if self._broken == "renamed":
            self.name = f"broken {self._calls}"
        if self._broken == "writes":
            pictures[:] = 0
        made: list[Any] = [each.copy() for each in self._good.detect(pictures)]
        height, width = pictures.shape[1:3]
        match self._broken:
            case "batch" if len(pictures) > 1:
                made = made[:1] * len(pictures)
            case "shares":
                made = [each / (width, height, width, height, 1) for each in made]
            case "float64":
                return [each.astype(np.float64) for each in made]
            case "tuple of sizes":
                made = [np.concatenate([each[:, :2], each[:, 2:4] - each[:, :2], each[:, 4:]], axis=1) for each in made]
            case "blind":
                made = [each[:0] for each in made]
            case "everything":
                made = [np.array([[0, 0, width, height, 1]], np.float32) for _ in made]
            case "beyond":
                made = [each + np.array([0, 0, 3 if len(each) and each[0, 2] == width else 0, 0, 0]) for each in made]
        return made


class Suite(DetectorTests):
    """Not collected as such; driven below."""

    broken = ""

    def config(self) -> Broken:
        return Broken(broken=self.broken)

    def sample(self) -> Pictures:
        return sample()


@pytest.mark.parametrize(
    ("broken", "check", "args"),
    [
        ("nameless", "test_it_says_which_it_is", ()),
        ("renamed", "test_it_says_which_it_is", ()),
        ("writes", "test_pictures_are_left_as_they_are", ()),
        ("batch", "test_what_is_found_depends_on_the_picture_alone", ()),
        ("shares", "test_boxes_are_in_pixels_of_the_picture", ()),
        ("float64", "test_what_is_there_is_found", None),
        ("tuple of sizes", "test_boxes_are_in_pixels_of_the_picture", ()),
        ("blind", "test_what_is_there_is_found", ()),
        ("everything", "test_in_a_picture_of_nothing_there_is_nothing", (128,)),
        ("beyond", "test_what_is_cut_by_the_edge_gives_boxes_within", ()),
    ],
)
def test_a_broken_promise_fails_its_test(broken: str, check: str, args: tuple[Any, ...] | None) -> None:
    suite = Suite()
    if args is None:  # floats of another size are no harm
        suite.broken = broken
        getattr(suite, check)()
        return
    getattr(suite, check)(*args)
    suite.broken = broken
    with pytest.raises((AssertionError, ValueError)):
        getattr(suite, check)(*args)


def test_what_does_not_say_which_it_is_is_told() -> None:
    with pytest.raises(ValueError, match="expected three texts"):
        which(Broken(broken="nameless").open())
