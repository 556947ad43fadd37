"""The same windows as tensors: the same order with any number of workers, resumed exactly, and none left behind."""

import gc
import json
import multiprocessing
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sensorium
from sensorium.corpus.loaders.loader import Loader
from sensorium.errors import ConfigError, Corrupt

torch = pytest.importorskip("torch", reason="torch is not installed: make torch")

pytestmark = pytest.mark.timeout(900)  # each worker imports torch, for which a busy machine takes its time

LENGTH_S = 0.375


def made(path: Path, **more: Any) -> Loader:
    usual: dict[str, Any] = {"length_s": LENGTH_S, "streams": ["front", "wheel"], "batch_size": 3, "seed": 1}
    return sensorium.open(path).batches(**(usual | more))


def windows(batches: Iterable[dict[str, Any]]) -> list[tuple[str, float]]:
    return [each for batch in batches for each in zip(batch["episode"], batch["start_s"].tolist(), strict=True)]


def same(batches: Iterable[dict[str, Any]], loader: Loader) -> None:
    """They are the loader's, to the bit."""
    for batch, truth in zip(batches, loader, strict=True):
        assert windows([batch]) == list(zip(truth.episodes, truth.start_s.tolist(), strict=True))
        assert batch["after"] == truth.after
        for name, stack in truth.streams.items():
            for part, array in stack._asdict().items():
                assert isinstance(batch[name][part], torch.Tensor)
                np.testing.assert_array_equal(batch[name][part].numpy(), array)


def test_without_workers_they_are_the_loaders(corpus_path: Path) -> None:
    loader = made(corpus_path)
    same(loader.torch(), made(corpus_path))
    assert (loader.epoch, loader.position) == (1, 0)


def test_two_spawned_workers_give_the_same_and_are_resumed(folders_path: Path) -> None:
    loader = made(folders_path)
    batches = iter(loader.torch(workers=2))
    taken = [next(batches) for _ in range(3)]
    assert all(batch["front"]["data"].is_shared() for batch in taken), "it was decoded where this process reads it"
    state = json.loads(json.dumps(loader.state_dict()))
    assert (state["epoch"], state["position"]) == (0, 9), "not how far the workers are"
    batches.close()  # type: ignore[attr-defined]
    gc.collect()
    assert multiprocessing.active_children() == []
    resumed = made(folders_path, batch_size=2)
    resumed.load_state_dict(state)
    rest = list(resumed.torch(workers=1))
    whole = made(folders_path)
    assert windows(taken + rest) == [
        each for batch in whole for each in zip(batch.episodes, batch.start_s.tolist(), strict=True)
    ]
    same(taken, _first(made(folders_path), 3))
    assert multiprocessing.active_children() == []


def _first(loader: Loader, count: int) -> Any:
    batches = iter(loader)
    return [next(batches) for _ in range(count)]


@pytest.mark.parametrize("workers", [0, 1])
def test_what_is_damaged_is_raised_or_skipped_and_counted(folders_path: Path, tmp_path: Path, workers: int) -> None:
    shutil.copytree(folders_path, tmp_path / "store")
    bad = sensorium.open(tmp_path / "store").query("has('wheel')")[1]
    shutil.rmtree(bad.path)
    skipping = made(tmp_path / "store", damaged="skip", batch_size=1)
    assert len(list(skipping.torch(workers=workers))) == 15
    assert (skipping.skipped, {each.episode for each in skipping.last_skipped}) == (5, {bad.id})
    raising = made(tmp_path / "store")
    seen: list[tuple[str, float]] = []
    with pytest.raises(Corrupt, match=bad.id) as raised:
        seen.extend(each for batch in raising.torch(workers=workers) for each in windows([batch]))
    assert "\n" not in str(raised.value)
    assert raising.position == len(seen)


def test_a_dataset_by_position_has_the_loaders_order(folders_path: Path) -> None:
    loader = made(folders_path)
    items = loader.torch_dataset()
    assert len(items) == 20
    batches = torch.utils.data.DataLoader(items, batch_size=3, collate_fn=items.collate)
    assert windows(batches) == windows(made(folders_path).torch())
    same(
        [{**batch, "after": min(20, 3 * (number + 1))} for number, batch in enumerate(batches)],
        made(folders_path),
    )
    with pytest.raises(IndexError, match="20 windows"):
        items[20]


def test_an_iterable_dataset_says_where_it_is(folders_path: Path) -> None:
    loader = made(folders_path)
    found = list(torch.utils.data.DataLoader(loader.torch_iterable(), batch_size=None))
    assert windows(found) == windows(made(folders_path).torch())
    resumed = made(folders_path)
    resumed.load_state_dict(loader.state_dict(after=found[1]["after"]))
    assert windows(resumed.torch()) == windows(found[2:])


def test_workers_that_cannot_be_say_so(folders_path: Path) -> None:
    with pytest.raises(ConfigError, match="workers -1"):
        made(folders_path).torch(workers=-1)
