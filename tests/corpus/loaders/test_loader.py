"""Batches of a store: the windows that are there, each once an epoch; resumed exactly; what cannot be read, told."""

import gc
import itertools
import json
import pickle
import shutil
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sensorium
from sensorium.corpus.loaders.batch import Batch, collate
from sensorium.corpus.loaders.loader import Loader
from sensorium.errors import ConfigError, Corrupt
from sensorium.ingest.store import Store
from tests.corpus.forking import forked

LENGTH_S = 0.375
USUAL: dict[str, Any] = {"length_s": LENGTH_S, "streams": ["front", "wheel"], "batch_size": 3, "seed": 1}


def made(path: Path, where: Any = "", **more: Any) -> Loader:
    return sensorium.open(path).batches(where, **(USUAL | more))


def windows(batches: Iterable[Batch]) -> list[tuple[str, float]]:
    return [each for batch in batches for each in zip(batch.episodes, batch.start_s.tolist(), strict=True)]


@pytest.fixture
def own_path(folders_path: Path, tmp_path: Path) -> Path:
    """One to damage or to add to."""
    shutil.copytree(folders_path, tmp_path / "store")
    return tmp_path / "store"


@pytest.fixture(autouse=True)
def _no_thread_left() -> Iterator[None]:
    yield
    gc.collect()
    assert not [each.name for each in threading.enumerate() if each.name.startswith(("load-window", "shard-read"))]


@pytest.mark.parametrize("how", [{}, {"prefetch": 0}, {"threads": 1}, {"prefetch": 5, "threads": 3}])
def test_a_batch_has_what_windows_have(corpus_path: Path, how: dict[str, Any]) -> None:
    corpus = sensorium.open(corpus_path)
    seen = []
    lengths = set()
    for batch in made(corpus_path, **how):
        for row, (episode, start_s) in enumerate(windows([batch])):
            seen.append((episode, start_s))
            truth = corpus.episode(episode).window(start_s, LENGTH_S, ["front", "wheel"])
            for name, samples in truth.items():
                stack, count = batch[name], len(samples.data)
                lengths.add((name, count))
                np.testing.assert_array_equal(stack.data[row, :count], samples.data)
                np.testing.assert_array_equal(stack.captured_ns[row, :count], samples.captured_ns)
                assert stack.present[row].tolist() == [True] * count + [False] * (stack.data.shape[1] - count)
                assert not stack.data[row, count:].any()
                assert not stack.captured_ns[row, count:].any()
    assert sorted(seen) == [(episode.id, n * LENGTH_S) for episode in corpus.query("has('wheel')") for n in range(5)]
    assert {("front", 3), ("front", 4), ("wheel", 0)} <= lengths, "windows differ in length"


def test_batches_that_are_kept_stay_as_they_were(folders_path: Path) -> None:
    """Their memory serves again only when they are let go."""
    kept = list(made(folders_path))
    fresh = [batch["front"].data.copy() for batch in made(folders_path)]
    for batch, data in zip(kept, fresh, strict=True):
        np.testing.assert_array_equal(batch["front"].data, data)


def test_the_order_is_of_seed_and_epoch(folders_path: Path) -> None:
    loader = made(folders_path)
    first, second = windows(loader), windows(loader)
    assert first != second
    assert sorted(first) == sorted(second)
    assert (loader.epoch, loader.position, loader.windows) == (2, 0, 20)
    assert repr(loader) == "<Loader of 20 windows, epoch 2, position 0>"
    assert windows(made(folders_path)) == first
    assert windows(made(folders_path, batch_size=7)) == first
    assert windows(made(folders_path, seed=2)) != first
    loader.seek(0, 6)
    assert len(loader) == 5
    assert windows(loader) == first[6:]
    with pytest.raises(ConfigError, match="an epoch has 20 windows"):
        loader.seek(0, 21)


def test_ranks_share_an_epoch(folders_path: Path) -> None:
    whole = windows(made(folders_path))
    by_rank = [list(made(folders_path, rank=rank, ranks=3, batch_size=2)) for rank in range(3)]
    assert sorted(windows(batch for rank in by_rank for batch in rank)) == sorted(whole)
    steps = ([batch for batch in step if batch is not None] for step in itertools.zip_longest(*by_rank))
    assert [each for step in steps for each in windows(step)] == whole, "together they go through the order"
    assert {len(batch) for batch in made(folders_path, rank=1, ranks=3, batch_size=2, drop_last=True)} == {2}


@pytest.mark.parametrize("taken", [0, 1, 3, 4])
def test_a_position_is_taken_up_by_other_ranks(folders_path: Path, taken: int) -> None:
    whole = windows(made(folders_path))
    states, seen = [], []
    for rank in range(2):
        loader = made(folders_path, rank=rank, ranks=2, batch_size=2)
        batches = iter(loader)
        seen += windows(next(batches) for _ in range(taken))
        states.append(json.loads(json.dumps(loader.state_dict())))
        del batches
    assert states[0] == states[1]
    rest = []
    for rank in range(3):
        loader = made(folders_path, seed=99, rank=rank, ranks=3, batch_size=1)
        loader.load_state_dict(states[0])
        assert loader.position == 4 * taken
        rest += windows(loader)
        assert loader.epoch == 1
    assert sorted(seen + rest) == sorted(whole)


def test_what_is_broken_off_goes_on(folders_path: Path) -> None:
    loader = made(folders_path)
    whole = windows(made(folders_path))
    seen = []
    for batch in loader:
        seen += windows([batch])
        if len(seen) == 6:
            break
    assert seen + windows(loader) == whole


def test_new_commits_change_nothing_until_asked(own_path: Path, make_episode: Any) -> None:
    whole = windows(made(own_path))
    loader = made(own_path)
    batches = iter(loader)
    seen = windows([next(batches)])
    state = loader.state_dict()
    arrays = {"front": np.zeros((20, 8, 8), np.uint8), "wheel": np.arange(15, dtype=np.int32)}
    added = make_episode(arrays, ordinal=9, step_ns=100_000_000, start_ns=10**9)
    with Store.open(own_path, small_bytes=0) as store:
        assembly = store.begin(added.episode)
        assembly.append(added.data)
        store.commit(assembly, device="rig-1", identity="k")
    assert seen + windows(batches) == whole
    resumed = made(own_path)
    assert resumed.windows == 25
    named = resumed.snapshot
    resumed.load_state_dict(state)
    assert resumed.snapshot == loader.snapshot != named
    assert seen + windows(resumed) == whole
    resumed.refresh()
    assert (resumed.windows, resumed.epoch, resumed.snapshot) == (25, 1, named)
    assert str(added.episode) in {episode for episode, _ in windows(resumed)}


def test_several_queries_have_their_quotas(folders_path: Path) -> None:
    quotas = {"mission = 'hall' and has('wheel')": 3, "mission = 'kitchen'": 1}
    loader = made(folders_path, quotas, batch_size=4)
    missions = {episode.id: str(episode.row["mission"]) for episode in sensorium.open(folders_path).query()}
    counts: dict[str, int] = {}
    for batch in loader:
        assert np.bincount(batch.queries, minlength=2).tolist() in ([3, 1], [2, 1])
        for episode, query in zip(batch.episodes, batch.queries, strict=True):
            assert missions[episode] == ["hall", "kitchen"][query]
            counts[missions[episode]] = counts.get(missions[episode], 0) + 1
    assert loader.windows == sum(counts.values())
    assert counts["kitchen"] == 10
    assert counts["hall"] in (28, 29, 30), "all of the other, three times"
    assert made(folders_path, quotas, exhausted="end").windows in (13, 14)
    with pytest.raises(ConfigError, match="query 1 of 2 finds no window"):
        made(folders_path, {"": 1, "device = 'nobody'": 1})


def test_a_grid_and_a_shrink_reach_the_reader(folders_path: Path) -> None:
    corpus = sensorium.open(folders_path)
    for batch in made(folders_path, grid="front", align={"wheel": "previous"}):
        for row, (episode, start_s) in enumerate(windows([batch])):
            truth = corpus.episode(episode).window(
                start_s, LENGTH_S, ["front", "wheel"], grid="front", align={"wheel": "previous"}
            )["wheel"]
            assert truth.present is not None
            count = len(truth.data)
            np.testing.assert_array_equal(batch["wheel"].data[row, :count], truth.data)
            np.testing.assert_array_equal(batch["wheel"].present[row, :count], truth.present)
            assert not batch["wheel"].present[row, count:].any()
    with pytest.raises(ConfigError, match="shrink 2"):
        made(folders_path, shrink={"front": 2})


def damage(store: Path, which: int, how: str) -> str:
    """An episode made unreadable: its id."""
    episode = sensorium.open(store).query("has('wheel')")[which]
    if how == "gone":
        shutil.rmtree(episode.path)
    elif how == "deleted":
        (store / "commits" / episode.path.parent.name / f"{episode.id}.json").unlink()
        shutil.rmtree(episode.path)
        for path in store.glob("catalog.sqlite*"):
            path.unlink()
        Store.open(store).close()
    else:
        shards = sorted((episode.path / "front" / "data").rglob("c*"))
        raw = bytearray(shards[0].read_bytes())
        raw[20] ^= 255
        shards[0].write_bytes(raw)
    return episode.id


@pytest.mark.parametrize("how", ["gone", "deleted", "flipped"])
def test_what_is_damaged_is_skipped_and_counted_or_raised(own_path: Path, how: str) -> None:
    whole = windows(made(own_path))
    skipping, raising = made(own_path, damaged="skip"), made(own_path)
    bad = damage(own_path, 1, how)
    found = windows(skipping)
    lost = [each for each in whole if each not in found]
    assert found == [each for each in whole if each in found], "the others in their order"
    assert {episode for episode, _ in lost} == {bad}
    assert len(lost) == (5 if how != "flipped" else len(lost)) > 0
    assert skipping.skipped == len(lost)
    assert [(each.episode, each.start_s) for each in skipping.last_skipped] == lost
    assert all(each.why for each in skipping.last_skipped)
    assert skipping.state_dict()["skipped"] == len(lost)
    seen: list[tuple[str, float]] = []
    with pytest.raises(Corrupt, match=bad):
        seen.extend(each for batch in raising for each in windows([batch]))
    assert raising.position == len(seen), "it is before the step that could not be read"
    go_on = made(own_path, damaged="skip")
    go_on.load_state_dict(raising.state_dict())
    assert seen + windows(go_on) == found


def test_a_batch_of_which_nothing_can_be_read_is_left_out(own_path: Path) -> None:
    damage(own_path, 1, "gone")
    loader = made(own_path, batch_size=1, damaged="skip")
    assert len(list(loader)) == 15
    assert (loader.skipped, loader.epoch) == (5, 1)


def test_a_position_of_other_windows_or_another_corpus_is_refused(
    folders_path: Path, make_episode: Any, tmp_path: Path
) -> None:
    state = made(folders_path).state_dict()
    for more in ({"length_s": 0.3}, {"streams": ["front"]}, {"stride_s": 0.1}, {"where": "ordinal > 0"}):
        loader = made(folders_path, **more)
        before = loader.state_dict()
        with pytest.raises(ConfigError, match="a position of other windows"):
            loader.load_state_dict(state)
        assert loader.state_dict() == before
    other = make_episode(
        {"front": np.zeros((20, 8, 8), np.uint8), "wheel": np.arange(15, dtype=np.int32)}, step_ns=100_000_000
    )
    with Store.open(tmp_path / "other", small_bytes=0) as store:
        assembly = store.begin(other.episode)
        assembly.append(other.data)
        store.commit(assembly, device="rig-1", identity="k")
    with pytest.raises(ConfigError, match="a position of another corpus"):
        made(tmp_path / "other").load_state_dict(state)


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"position": 21},
        {"position": -1},
        {"epoch": -1},
        {"position": "x"},
        {"snapshot": "0" * 32},
        {"episodes": []},
        {"episodes": ["AAAA"]},
        {"episodes": None},
        {"seed": None},
    ],
)
def test_what_is_no_position_says_so(folders_path: Path, change: dict[str, Any]) -> None:
    loader = made(folders_path)
    with pytest.raises(ConfigError) as raised:
        loader.load_state_dict(loader.state_dict() | change)
    assert "\n" not in str(raised.value)
    with pytest.raises(ConfigError, match="not a loader's position"):
        loader.load_state_dict({"epoch": 1})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"streams": ["front", "weel"]}, "did you mean 'wheel'"),
        ({"streams": "front"}, "expected a list"),
        ({"streams": []}, "expected a list"),
        ({"length_s": 0}, "more than 0"),
        ({"length_s": float("nan")}, "a number of seconds"),
        ({"stride_s": 0.0}, "more than 0"),
        ({"batch_size": 0}, "1 or more"),
        ({"rank": 2, "ranks": 2}, "a rank from 0 to 1"),
        ({"exhausted": "repeats"}, "did you mean 'repeat'"),
        ({"damaged": "ignore"}, "raise or skip"),
        ({"prefetch": -1}, "at least 0"),
        ({"threads": 0}, "at least 1"),
        ({"where": "misson = 'a'"}, "did you mean"),
        ({"where": {}}, "expected a condition"),
        ({"where": {"": 0}}, "above 0"),
    ],
)
def test_what_cannot_be_asked_says_so(folders_path: Path, change: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        made(folders_path, **change)


def test_no_window_is_no_batch(folders_path: Path) -> None:
    loader = made(folders_path, "device = 'nobody'")
    assert list(loader) == []
    assert (len(loader), loader.windows, loader.epoch) == (0, 0, 1)


def test_streams_of_other_shapes_are_not_stacked(own_path: Path, make_episode: Any) -> None:
    other = make_episode({"front": np.zeros((20, 4, 8), np.uint8)}, step_ns=100_000_000, start_ns=10**9, ordinal=9)
    with Store.open(own_path, small_bytes=0) as store:
        assembly = store.begin(other.episode)
        assembly.append(other.data)
        store.commit(assembly, device="rig-1", identity="k")
    for how in ({}, {"grid": 10.0}):
        with pytest.raises(ConfigError, match="cannot be in one batch"):
            list(made(own_path, streams=["front"], batch_size=50, **how))


def test_windows_are_collated_as_they_are(folders_path: Path) -> None:
    corpus = sensorium.open(folders_path)
    batch = next(corpus.windows(length_s=LENGTH_S, streams=["front"], batch_size=6))
    stack = collate([window.samples for window in batch])["front"]
    assert stack.present.sum(axis=1).tolist() == [len(window.samples["front"].data) for window in batch]
    assert collate([]) == {}


def test_a_loader_goes_to_another_process(folders_path: Path) -> None:
    loader = made(folders_path)
    next(iter(loader))
    sent = pickle.loads(pickle.dumps(loader))
    assert windows(sent) == windows(loader)


def _whole(path: Path, prefetch: int) -> list[tuple[str, float]]:
    return windows(made(path, prefetch=prefetch))


def test_after_a_fork_it_is_right(folders_path: Path) -> None:
    assert forked(_whole, folders_path, 2) == windows(made(folders_path))


def test_one_that_was_begun_before_a_fork_says_so(folders_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    batches = iter(made(folders_path))
    next(batches)
    monkeypatch.setattr("sensorium.corpus.loaders.work.os.getpid", lambda: 1)
    with pytest.raises(ConfigError, match="before a fork"):
        next(batches)
