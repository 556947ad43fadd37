"""Gates close on what the scores say, and on nothing that they do not say."""

import numpy as np
import pytest

from sensorium.perception.gates import Gates


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ({"noise": [3.9, 4.1]}, ["", "noise"]),
        ({"exposure_mean": [0.01, 0.5, 0.99]}, ["exposure", "", "exposure"]),
        ({"exposure_clipped": [0.95, 0.2]}, ["exposure", ""]),
        ({"frozen": [0, 2, 3]}, ["", "", "frozen"]),
        (
            {"noise": [20, 20, 20], "frozen": [0, 5, 5], "exposure_mean": [0, 0, 0.5]},
            ["exposure", "exposure", "frozen"],
        ),
        ({"noise": [np.nan], "frozen": [np.nan], "exposure_mean": [np.nan]}, [""]),
        ({"sharpness": [0, 0]}, ["", ""]),
        ({}, []),
    ],
)
def test_the_cheapest_that_is_closed_is_named(scores: dict[str, list[float]], expected: list[str]) -> None:
    assert Gates().closed({name: np.array(values, np.float64) for name, values in scores.items()}) == expected


def test_limits_are_the_users() -> None:
    assert Gates(max_noise=0.1).closed({"noise": np.array([0.2])}) == ["noise"]
    with pytest.raises(ValueError, match="max_nose"):
        Gates.model_validate({"max_nose": 1})
