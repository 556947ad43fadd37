"""The suite of the encoder contract passes one that keeps it, and fails one that does not."""

from typing import Any

import numpy as np
import pytest

from sensorium.perception.encoder import EncoderConfig, Pictures
from sensorium.perception.testing import EncoderTests


class Means(EncoderConfig):
    """Mean colours of the quarters; `broken` is a model that does not keep the contract."""

    kind: str = "means"
    broken: str = ""

    def open(self) -> "MeansEncoder":
        return MeansEncoder(self.broken)


class MeansEncoder:
    name, version, preprocessing = "means", "1", "none"

    def __init__(self, broken: str) -> None:
        self._broken = broken
        self.weights_hash = "" if broken == "nameless" else "of nothing"
        self._calls = 0

    def embed(self, pictures: Pictures) -> Any:
        self._calls += 1
        height, width = pictures.shape[1] // 2, pictures.shape[2] // 2
        quarters = [pictures[:, :height, :width], pictures[:, height:, width:], pictures[:, :height, width:]]
        found = np.concatenate([quarter.mean(axis=(1, 2)) for quarter in quarters], axis=1).astype(np.float32)
        match self._broken:
            case "of two sizes":
                return found if pictures.shape[1] < 100 else found[:, :4]
            case "double":
                return found.astype(np.float64)
            case "not a number":
                return found / found.sum(axis=1, keepdims=True)
            case "all the same":
                return np.ones_like(found)
            case "of the batch":
                return found - found.mean(axis=0)
            case "remembers":
                return found + 100 * self._calls
            case "changes pictures":
                pictures[:] = 0
            case "changes its name":
                self.name = "other"
        return found


class Suite(EncoderTests):
    """Not collected as such; driven below."""

    broken = ""

    def config(self) -> Means:
        return Means(broken=self.broken)


def run(broken: str, check: str) -> None:
    suite = Suite()
    suite.broken = broken
    for size in ((48, 64), (120, 160)) if check == "test_a_vector_a_picture" else [()]:
        arguments: Any = {"size": size, "count": 2} if size else {"level": 0} if "nothing" in check else {}
        getattr(suite, check)(**arguments)


@pytest.mark.parametrize("check", [name for name in dir(Suite) if name.startswith("test_")])
def test_a_good_encoder_passes(check: str) -> None:
    run("", check)


@pytest.mark.parametrize(
    ("broken", "check"),
    [
        ("nameless", "test_it_says_which_it_is"),
        ("changes its name", "test_it_says_which_it_is"),
        ("of two sizes", "test_a_vector_a_picture"),
        ("double", "test_a_vector_a_picture"),
        ("not a number", "test_a_picture_of_nothing_has_a_vector"),
        ("all the same", "test_pictures_that_differ_have_vectors_that_differ"),
        ("of the batch", "test_a_vector_depends_on_its_picture_alone"),
        ("remembers", "test_a_vector_depends_on_its_picture_alone"),
        ("changes pictures", "test_pictures_are_left_as_they_are"),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value")
def test_a_broken_promise_fails_its_test(broken: str, check: str) -> None:
    with pytest.raises((AssertionError, ValueError)):
        run(broken, check)
