"""What is asked for in a way that cannot be is said in one line, whoever is asked: an episode, windows, batches."""

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sensorium
from sensorium.corpus.asked_for import names, stamp, whole
from sensorium.corpus.joined import JoinedStream, joined
from sensorium.errors import ConfigError

ODD: list[tuple[dict[str, Any], str]] = [
    ({"shrink": 2}, "shrink 2: expected, by stream"),
    ({"shrink": {"front": 0}}, "shrink .*expected, by stream"),
    ({"shrink": {"front": "2"}}, "shrink .*expected, by stream"),
    ({"shrink": ["front"]}, "shrink .*expected, by stream"),
    ({"shrink": {"front": 2.0}}, "shrink .*expected, by stream"),
    ({"grid": [10.0]}, r"grid \[10\.0\]: expected such as"),
    ({"grid": np.array([1.0, 2.0])}, "grid array.*expected such as"),
    ({"grid": {"front": None}}, "grid .*expected, by stream"),
    ({"grid": 10.0, "align": ["nearest"]}, "align .*expected such as"),
    ({"grid": 10.0, "align": {"front": 1}}, "align .*expected, by stream"),
    ({"streams": "front"}, "expected a list of names, such as ..front"),
    ({"streams": [1]}, "expected a list of names"),
    ({"streams": 5}, "expected a list of names"),
]
OUT: list[Any] = [np.zeros((2, 9)), [], ["front"], {"front": [1, 2]}, {1: np.zeros((2, 9))}, 5]
LENGTHS: list[Any] = ["1", None, [1.0], np.array([1.0, 2.0]), 1j, b"1"]


def refused(why: str, ask: Any) -> None:
    with pytest.raises(ConfigError, match=why) as raised:
        ask()
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(("how", "why"), ODD)
def test_how_to_read_is_looked_at(folders_path: Path, how: dict[str, Any], why: str) -> None:
    corpus: Any = sensorium.open(folders_path)
    asked = {"streams": ["front"], **how}
    refused(why, lambda: corpus.query()[0].window(0.0, 1.0, **asked))
    refused(why, lambda: corpus.windows(length_s=1.0, **asked))
    refused(why, lambda: next(iter(corpus.batches(length_s=1.0, **asked))))
    refused(why, lambda: corpus.at_utc(1_700_000_000 * 10**9, 1.0, **asked))


@pytest.mark.parametrize("out", OUT)
def test_memory_is_given_by_stream(folders_path: Path, out: Any) -> None:
    corpus = sensorium.open(folders_path)
    refused("out .*expected, by stream", lambda: corpus.query()[0].window(0.0, 1.0, ["front"], out=out))
    refused("out .*expected, by stream", lambda: corpus.windows(length_s=1.0, streams=["front"], out=out))


@pytest.mark.parametrize("grid", [None, 10.0])
def test_memory_that_cannot_be_written_is_said(folders_path: Path, grid: float | None) -> None:
    episode = sensorium.open(folders_path).query()[0]
    memory = np.zeros((10, 8, 8), np.uint8)
    memory.flags.writeable = False
    refused("writable", lambda: episode.window(0.0, 1.0, ["front"], grid=grid, out={"front": memory}))
    refused("out.* is uint8", lambda: episode.window(0.0, 1.0, ["front"], grid=grid, out={"front": np.zeros((), "u1")}))


@pytest.mark.parametrize("length", LENGTHS)
def test_what_is_no_length_is_said(folders_path: Path, length: Any) -> None:
    corpus = sensorium.open(folders_path)
    refused("expected a number of seconds", lambda: corpus.query()[0].window(length, 1.0))
    refused("expected a number of seconds", lambda: corpus.query()[0].window(0.0, length))
    refused("expected a number of seconds", lambda: corpus.at_utc(0, length))
    if length is not None:
        refused("expected a number of seconds", lambda: corpus.windows(length_s=length, streams=["front"]))
        refused("expected a number of", lambda: corpus.batches(length_s=1.0, stride_s=length, streams=["front"]))


def test_lengths_of_any_kind_of_number(folders_path: Path) -> None:
    episode: Any = sensorium.open(folders_path).query()[0]
    for length in (1, np.float32(1), np.int64(1), np.array(1.0)):
        assert len(episode.window(0, length)["front"].data) == 10
    start = episode.start_ns
    assert len(episode.samples(float(start), np.int64(start + 10**9))["front"].data) == 10
    for odd in ("1", 1.5, None, float("nan")):
        refused("_ns .*expected a whole number", lambda odd=odd: episode.samples(start, odd))


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"seed": -1}, "seed -1: expected a whole number, at least 0"),
        ({"seed": None}, "seed None: expected a whole number"),
        ({"seed": 1.5}, "seed 1.5: expected a whole number"),
        ({"batch_size": 2.5}, "batch_size 2.5: expected a whole number"),
        ({"batch_size": 0}, "batch_size 0: expected a whole number, at least 1"),
        ({"stride_s": 1e-9}, "5e.09 windows, expected at most"),
        ({"stride_s": 1e-9, "across": True}, "windows, expected at most"),
        ({"streams": []}, "expected a list of names"),
        ({"around": ["grasp"], "length_s": None, "after_s": 1.0}, "around .*expected text"),
    ],
)
def test_what_cannot_be_windows_is_said_at_once(folders_path: Path, how: dict[str, Any], why: str) -> None:
    corpus = sensorium.open(folders_path)
    refused(why, lambda: corpus.windows(**{"length_s": 1.0, "streams": ["front"], **how}))


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"stride_s": 1e-9}, "windows, expected at most"),
        ({"where": 5}, "expected a condition"),
        ({"where": {"": "x"}}, "quotas .*expected a number above 0"),
        ({"exhausted": 3}, "exhausted 3: expected text"),
        ({"damaged": None}, "damaged None: expected text"),
        ({"prefetch": 1.5}, "prefetch 1.5: expected a whole number"),
        ({"threads": 0}, "threads 0: expected a whole number, at least 1"),
        ({"streams": []}, "expected a list of names"),
    ],
)
def test_what_cannot_be_batches_is_said_at_once(folders_path: Path, how: dict[str, Any], why: str) -> None:
    corpus = sensorium.open(folders_path)
    refused(why, lambda: corpus.batches(**{"length_s": 1.0, "streams": ["front"], **how}))


@pytest.mark.parametrize("odd", [1.7, "1", None])
def test_a_position_is_a_whole_number(folders_path: Path, odd: Any) -> None:
    loader = sensorium.open(folders_path).batches(length_s=0.5, streams=["front"])
    for name in ("position", "epoch", "skipped", "seed"):
        state = loader.state_dict() | {name: odd}
        refused(f"not a loader's position: {name} .*whole number", lambda state=state: loader.load_state_dict(state))
    refused("position .*whole number", lambda: loader.seek(0, odd))
    if odd is not None:
        refused("after .*whole number", lambda: loader.state_dict(odd))
    assert loader.position == 0


def test_samples_by_number_of_any_kind_of_list(folders_path: Path) -> None:
    corpus: Any = sensorium.open(folders_path)
    episode = corpus.query("has('wheel')")[0]
    (run,) = joined([episode], [], 1)
    for stream in (episode.streams["wheel"], JoinedStream([each.streams["wheel"] for each in run.episodes], "here")):
        take: Any = stream.take
        assert take([1, 1, 4]).tolist() == [1, 1, 4]
        assert take((4, 1)).tolist() == [4, 1]
        assert take(np.array([3], np.uint8)).tolist() == [3]
        assert take([]).shape == (0,)
        for odd in ([0.5], [True], ["a"], 3, [[1]], [[1], [1, 2]]):
            refused("expected", functools.partial(take, odd))
        for beyond in ([-1], [3, 15]):
            refused("it has 15", functools.partial(take, beyond))
    pictures: Any = episode.streams["front"]
    refused("start 0.5: expected a whole number", lambda: pictures.read(0.5, 2))
    refused("out .*expected an array of numpy", lambda: pictures.read(0, 2, out=[1]))
    refused("cells 'mission': expected a list of names", lambda: corpus.cells("mission"))
    refused("NaT.*expected a time", lambda: corpus.at_utc(np.datetime64("NaT"), 1.0))
    np.testing.assert_array_equal(pictures.take([7, 2, 7]), pictures[:][[7, 2, 7]])


def test_numbers_and_names() -> None:
    assert whole("k", np.int32(4)) == stamp("at", 4.0) == 4
    assert names("streams", {"front": 1}) == ["front"]
    refused("^k 0: expected a whole number, at least 1$", lambda: whole("k", 0, 1))
