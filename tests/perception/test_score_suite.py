"""Scores of other packages: the suite finds who breaks its promises; the filter tells them, and says who fails."""

import math
from typing import Any

import numpy as np
import pytest
from my_sensors.redness import Redness

from sensorium.agents.filters.scores import Cascade
from sensorium.drivers.stream import Block, StreamSpec
from sensorium.errors import ConfigError
from sensorium.perception.score import Picture, ScoreConfig
from sensorium.perception.testing import ScoreTests

CAM = StreamSpec(name="cam", modality="camera", dtype="uint8", shape=(12, 16, 3), color_order="BGR")


class Level(ScoreConfig):
    """The mean level; `broken` is a score that does not keep the contract."""

    kind: str = "level"
    broken: str = ""

    def start(self) -> list[int]:
        return []

    def score(self, state: list[int], picture: Picture) -> Any:
        state.append(1)
        match self.broken:
            case "remembers":
                return float(len(state))
            case "changes pictures":
                picture[:] = 0
            case "no number":
                return None
            case "coloured alone":
                return float(picture[:, :, 0].mean())
            case "raises":
                raise RuntimeError("no idea")
        return float(picture.mean())


class Suite(ScoreTests):
    """Not collected as such; driven below."""

    broken = ""

    def config(self) -> Level:
        return Level(broken=self.broken)


def drive(broken: str, test: str) -> None:
    suite: Any = Suite()
    suite.broken = broken
    if test == TESTS[1]:
        suite.test_a_number_a_picture((48, 64))
    elif test == TESTS[4]:
        suite.test_a_picture_of_nothing_raises_nothing(0)
    else:
        getattr(suite, test)()


TESTS = (
    "test_configuration",
    "test_a_number_a_picture",
    "test_it_depends_on_the_picture_alone",
    "test_a_picture_is_left_as_it_is",
    "test_a_picture_of_nothing_raises_nothing",
)


@pytest.mark.parametrize("test", TESTS)
def test_who_keeps_them_passes(test: str) -> None:
    drive("", test)


@pytest.mark.parametrize(
    ("broken", "test"),
    [
        ("remembers", TESTS[2]),
        ("changes pictures", TESTS[3]),
        ("no number", TESTS[1]),
        ("coloured alone", TESTS[1]),
        ("raises", TESTS[4]),
    ],
)
def test_who_breaks_a_promise_is_found(broken: str, test: str) -> None:
    with pytest.raises((AssertionError, ValueError, IndexError, RuntimeError)):
        drive(broken, test)


def frames(count: int) -> Block:
    data = np.stack([np.full((12, 16, 3), 10 * n, np.uint8) for n in range(count)])
    return Block("cam", np.arange(count), data)


def test_the_filter_tells_them_beside_its_own() -> None:
    scores = Cascade(also=(Level(), Redness()))
    _, left = scores.step(scores.start(CAM), frames(3))
    assert left.scores["level"].tolist() == [0, 10, 20]
    assert left.scores["redness"].tolist() == [0, 0, 0]
    assert "noise" in left.scores
    left.check(CAM)


def test_one_that_fails_costs_its_score_alone(caplog: pytest.LogCaptureFixture) -> None:
    scores = Cascade(also=(Level(broken="raises"), Redness()))
    _, left = scores.step(scores.start(CAM), frames(5))
    assert all(map(math.isnan, left.scores["level"].tolist()))
    assert left.scores["redness"].tolist() == [0] * 5
    said = [record.getMessage() for record in caplog.records if "'level'" in record.getMessage()]
    assert len(said) == 3, "1, 2, 4"
    assert "no idea" in said[0]


def test_names_that_are_taken_and_streams_without_pictures_are_refused() -> None:
    for also in ((Level(kind="noise"),), (Level(), Level(broken="x"))):
        with pytest.raises(ValueError, match="there is a score"):
            Cascade(also=also)
    rows = StreamSpec(name="imu", modality="imu", dtype="float64", shape=(6,), rate_hz=100)
    with pytest.raises(ConfigError, match="`also` scores those alone"):
        Cascade(also=(Level(),)).output(rows)
