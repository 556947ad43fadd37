"""What a loader is told is what its position says: whole numbers, streams that are there, an align that has a grid."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sensorium
from sensorium.errors import ConfigError


def told(path: Path, **asked: Any) -> Any:
    return sensorium.open(path).batches(**{"length_s": 0.5, "streams": ["front"], **asked})


@pytest.mark.parametrize("name", ["seed", "batch_size", "rank", "ranks"])
@pytest.mark.parametrize("number", [1.5, "1", None])
def test_what_is_no_whole_number_is_refused(folders_path: Path, name: str, number: Any) -> None:
    with pytest.raises(ConfigError, match=f"{name} .*whole number"):
        told(folders_path, **{name: number})


def test_a_position_is_told_in_plain_numbers(folders_path: Path) -> None:
    first = told(folders_path, seed=np.int64(3), batch_size=np.int32(2))
    first.seek(np.int64(0), np.int64(4))
    state = json.loads(json.dumps(first.state_dict()))
    second = told(folders_path, seed=99)
    second.load_state_dict(state)
    rest = [(each, float(at)) for batch in second for each, at in zip(batch.episodes, batch.start_s, strict=True)]
    whole = told(folders_path, seed=3)
    every = [(each, float(at)) for batch in whole for each, at in zip(batch.episodes, batch.start_s, strict=True)]
    assert rest == every[4:]


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"align": "linear"}, "grid says to what"),
        ({"align": {"front": "previous"}, "grid": {"wheel": 5.0}}, "grid not to what"),
        ({"where": {"mission = 'hall'": 1e30, "mission = 'kitchen'": 1}}, "ratios of whole numbers"),
    ],
)
def test_what_would_not_be_done_is_refused_at_once(folders_path: Path, asked: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        told(folders_path, **asked)


@pytest.mark.parametrize("prefetch", [0, 2])
def test_a_stream_to_shrink_that_is_not_there_is_said(folders_path: Path, prefetch: int) -> None:
    with pytest.raises(ConfigError, match=r"no episode has a stream 'fron', did you mean 'front'"):
        told(folders_path, shrink={"fron": 2}, prefetch=prefetch)


def test_workers_and_threads_that_cannot_be_are_refused(folders_path: Path) -> None:
    loader = told(folders_path)
    for asked in ({"workers": 1.5}, {"workers": "2"}, {"workers": None}, {"workers": -1}):
        with pytest.raises(ConfigError, match=r"workers .*expected a whole number"):
            loader.torch(**asked)
    for asked in ({"threads": 0}, {"threads": 0.0}, {"threads": 0.5}, {"threads": "2"}, {"threads": -1}):
        with pytest.raises(ConfigError, match=r"threads .*expected a whole number"):
            loader.torch(**asked)
    for tasks in (1.5, "2", None, -2):
        with pytest.raises(ConfigError, match=r"tasks .*expected a whole number"):
            loader.ray_dataset(tasks)
