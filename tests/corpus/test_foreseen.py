"""What windows and batches would meet on their way is said when they are asked for: as an error, or in one line."""

import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sensorium
from sensorium.episode.documents import Encoding
from sensorium.errors import ConfigError
from sensorium.ingest.store import Store
from tests.forms import arrived

JPEG = {"pic": Encoding(codec="jpeg")}


def put(store: Store, make_episode: Any, number: int) -> None:
    """0: of mission `a`, a camera as JPEG, a wheel and a door. 1: of `b`, a lossless camera, a wheel that has no rate.
    2: of `c`, a smaller camera, a wheel. Of 2 s at 10 Hz each."""
    arrays: dict[str, Any] = {"pic": np.zeros((20, 4 if number == 2 else 8, 8), np.uint8), "wheel": np.arange(20.0)}
    if not number:
        arrays["door"] = np.arange(20) > 9
    rated = ("pic",) if number == 1 else ("pic", "wheel")
    made = make_episode(
        arrays,
        step_ns=100_000_000,
        start_ns=10**9,
        ordinal=number,
        mission="abc"[number],
        specs={name: {"rate_hz": 10.0} for name in rated},
        encodings={} if number else JPEG,
    )
    store.commit(arrived(store, made), device="rig-1", identity="k")


@pytest.fixture(scope="module")
def path(make_episode: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made: Path = tmp_path_factory.mktemp("foreseen")
    with Store.open(made, small_bytes=0) as store:
        for number in range(3):
            put(store, make_episode, number)
    return made


def asked(path: Path, **how: Any) -> list[Any]:
    """Windows and batches that nobody has taken."""
    corpus: Any = sensorium.open(path)
    given = {"length_s": 0.5, "streams": ["pic", "wheel"], **how}
    if "out" in given:
        return [corpus.windows(**given)]
    return [corpus.batches(**given), corpus.windows(**given), corpus.windows(across=True, **given)]


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"shrink": {"pik": 2}}, "no episode has a stream 'pik', did you mean 'pic'"),
    ({"grid": {"pik": 10.0}}, "no episode has a stream 'pik'"),
    ({"grid": "weel"}, "no episode has a stream 'weel', did you mean 'wheel'"),
    ({"grid": {"pic": "weel"}}, "no episode has a stream 'weel'"),
    ({"grid": 10.0, "align": {"dor": "previous"}}, "no episode has a stream 'dor', did you mean 'door'"),
    ({"grid": 10.0, "align": "linar"}, "align 'linar', did you mean 'linear'"),
    ({"grid": 10.0, "align": {"door": "linar"}}, "align 'linar' of 'door', did you mean 'linear'"),
    ({"align": "previous"}, "grid says to what"),
    ({"grid": 0.0}, "expected a rate in Hz above 0"),
    ({"grid": {"wheel": float("nan")}}, "expected a rate in Hz above 0"),
    ({"grid": 1e9}, "moments, at most"),
    ({"grid": 10.0, "align": "linear"}, "of 'pic': between .* there is nothing"),
    ({"grid": 10.0, "align": {"wheel": "linear"}, "where": "mission = 'b'"}, "of 'wheel': it has no rate"),
    ({"grid": 10.0, "align": {"wheel": "linear"}, "where": {"mission = 'b'": 1}}, "of 'wheel': it has no rate"),
    ({"shrink": {"pic": 3}}, "shrink 3: .* can be divided by 1"),
    ({"shrink": {"wheel": 2}}, "shrink 2: lossless can be divided by 1"),
    ({"shrink": {"pic": 2}, "where": "mission <> 'a'"}, "shrink 2: lossless can be divided by 1"),
    ({"out": {"pik": np.zeros((1, 5, 8, 8), np.uint8)}}, "no episode has a stream 'pik'"),
    ({"out": {"pic": np.zeros((1, 5, 8, 9), np.uint8)}}, r"out is uint8 \[0, 8, 9\], expected"),
    ({"out": {"wheel": np.zeros((1, 5), np.float32)}}, "out is float32"),
    ({"out": {"wheel": np.zeros(1)}}, "expected an array"),
    ({"out": {"wheel": np.zeros((0, 5))}}, "a row a window"),
]


@pytest.mark.parametrize(("how", "why"), WRONG)
def test_what_no_episode_can_give_is_an_error_at_once(path: Path, how: dict[str, Any], why: str) -> None:
    corpus: Any = sensorium.open(path)
    given = {"length_s": 0.5, "streams": ["pic", "wheel"], **how}
    several = isinstance(given.get("where"), dict)
    calls = [corpus.batches] if "out" not in how else []
    for call in calls if several else [*calls, corpus.windows]:
        with pytest.raises(ConfigError, match=why) as raised:
            call(**given)
        assert "\n" not in str(raised.value)
    if not several:
        with pytest.raises(ConfigError, match=why):
            corpus.windows(across=True, **given)


@pytest.mark.parametrize(
    "how",
    [
        {"shrink": {"pic": 2}, "where": "mission = 'a'"},
        {"grid": 10.0, "align": {"wheel": "linear", "pic": "previous", "door": "linear"}, "where": "mission <> 'b'"},
        {"out": {"pic": np.zeros((2, 5, 8, 8), np.uint8), "door": np.zeros((2, 5))}, "where": "mission <> 'c'"},
        {"out": {"pic": np.zeros((1, 5, 4, 4), np.uint8)}, "shrink": {"pic": 2}, "where": "mission = 'a'"},
        {"grid": "door", "streams": ["wheel"]},
    ],
)
def test_what_can_be_read_is_read_without_a_word(
    path: Path, how: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    for each in asked(path, **how):
        assert len([*each]) > 0
    assert not caplog.records


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    found = [record.getMessage() for record in caplog.records]
    assert {record.levelno for record in caplog.records} <= {logging.WARNING}
    assert not [line for line in found if "\n" in line]
    caplog.clear()
    return found


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"shrink": {"pic": 2}}, "shrink 2: lossless can be divided by 1"),
        ({"grid": 10.0, "align": {"wheel": "linear"}}, "of 'wheel': it has no rate"),
        ({"out": {"pic": np.zeros((1, 5, 8, 8), np.uint8)}}, "out is uint8"),
    ],
)
def test_what_some_cannot_give_is_one_line(
    path: Path, how: dict[str, Any], why: str, caplog: pytest.LogCaptureFixture
) -> None:
    for each in asked(path, **how):
        with pytest.raises(ConfigError, match=why):
            list(each)
    said = lines(caplog)
    assert len(said) == (1 if "out" in how else 3)
    assert all(why in line and "of other episodes it can be" in line for line in said)


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"where": "mission = 'd'"}, "no window: no episode of \"mission = 'd'\" matches that has pic and wheel"),
        ({"length_s": 2.5}, "no window of 2.5 s: the longest that matches lasts 2 s"),
        ({"where": "mission = 'b'", "grid": "door"}, "no episode .* matches that has pic and wheel and door"),
    ],
)
def test_where_there_is_no_window_a_line_says_why(
    path: Path, how: dict[str, Any], why: str, caplog: pytest.LogCaptureFixture
) -> None:
    for each in asked(path, **how):
        assert list(each) == []
    said = lines(caplog)
    assert len(said) == 3
    for line in said:
        assert re.search(why, line), line
    assert list(sensorium.open(path).windows("mission = 'd'", streams=["pic"], around="x", after_s=1.0)) == []
    assert len(lines(caplog)) == 1


def test_a_rank_without_a_batch_is_told(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    corpus = sensorium.open(path)
    how: dict[str, Any] = {"where": "mission = 'a'", "length_s": 0.5, "streams": ["wheel"]}
    assert len(corpus.batches(**how, batch_size=5, drop_last=True)) == 0
    assert lines(caplog) == ["no batch for rank 0: 4 windows, 5 in a step of which drop_last takes whole steps alone"]
    assert len(corpus.batches(**how, rank=4, ranks=5)) == 0
    assert lines(caplog) == ["no batch for rank 4: 4 windows, 5 in a step"]
    assert len(corpus.batches(**how, batch_size=4, drop_last=True)) == 1
    assert lines(caplog) == []


def test_an_empty_part_of_a_mix_is_named(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ConfigError, match="query 1 of 2 finds no window"):
        asked(path, where={"mission = 'a'": 1, "mission = 'd'": 1})
    assert "mission = 'd'" in lines(caplog)[0]


def test_shapes_that_cannot_be_in_one_batch_are_told(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    corpus = sensorium.open(path)
    how: dict[str, Any] = {"length_s": 0.5, "streams": ["wheel", "pic"]}
    corpus.batches(**how)
    corpus.batches("mission <> 'c'", batch_size=2, **how)
    assert lines(caplog) == []
    corpus.batches({"mission = 'a'": 1, "mission = 'c'": 1}, batch_size=2, **how)
    (line,) = lines(caplog)
    assert "'pic' is uint8 [4, 8] and uint8 [8, 8]: narrow the condition" in line
    assert "wheel" not in line


def test_a_position_is_taken_up_whatever_was_committed_since(
    make_episode: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What cannot be read so is not among its episodes."""
    how: dict[str, Any] = {"length_s": 0.5, "streams": ["pic"], "shrink": {"pic": 2}, "batch_size": 2}
    with Store.open(tmp_path, small_bytes=0) as store:
        put(store, make_episode, 0)
        state = sensorium.open(tmp_path).batches(**how).state_dict()
        put(store, make_episode, 2)
    again = sensorium.open(tmp_path).batches(**how)
    assert len(lines(caplog)) == 2
    again.load_state_dict(state)
    assert [batch["pic"].data.shape for batch in again] == [(2, 5, 4, 4)] * 2
    assert state["position"] == 0
    with pytest.raises(ConfigError, match="after 5: an epoch has 4 windows"):
        again.state_dict(after=5)


def test_an_episode_that_is_damaged_says_so_in_its_turn(make_episode: Any, tmp_path: Path) -> None:
    with Store.open(tmp_path, small_bytes=0) as store:
        put(store, make_episode, 0)
    corpus = sensorium.open(tmp_path)
    (corpus.query()[0].folder / "zarr.json").unlink()
    loader = corpus.batches(length_s=0.5, streams=["pic"], shrink={"pic": 3}, damaged="skip")
    assert list(loader) == []
    assert loader.skipped == 4
