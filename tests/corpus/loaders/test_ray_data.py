"""The same windows for Ray Data: its tasks share an epoch, each window once."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sensorium
from sensorium.corpus.loaders.loader import Loader
from sensorium.errors import ConfigError

pytest.importorskip("pyarrow", reason="pyarrow is not installed: make torch")
pytest.importorskip("pandas", reason="pandas is not installed: make torch")
pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own


def made(path: Path, **more: Any) -> Loader:
    usual: dict[str, Any] = {"length_s": 0.35, "streams": ["front", "wheel"], "batch_size": 3, "seed": 1}
    return sensorium.open(path).batches(**(usual | more))


def expected(loader: Loader) -> list[tuple[str, float]]:
    return [each for batch in loader for each in zip(batch.episodes, batch.start_s.tolist(), strict=True)]


@pytest.mark.parametrize("tasks", [-1, 1, 3, 100])
def test_tasks_share_the_rest_of_an_epoch(folders_path: Path, tasks: int) -> None:
    from ray.data.block import BlockAccessor

    from sensorium.corpus.loaders.ray_source import WindowSource

    loader = made(folders_path)
    next(iter(loader))
    read = WindowSource(loader._work, 0, loader.position).get_read_tasks(tasks)
    assert len(read) <= max(tasks, 6)
    assert sum(task.metadata.num_rows for task in read) == 17
    blocks = [BlockAccessor.for_block(block).to_numpy() for task in read for block in task()]
    found = [each for block in blocks for each in zip(block["episode"], block["start_s"].tolist(), strict=True)]
    assert found == expected(loader), "in its order, one task after the other"
    loader.seek(0, 3)
    for block, batch in zip(blocks, loader, strict=True):
        np.testing.assert_array_equal(block["front"], batch["front"].data)
        np.testing.assert_array_equal(block["wheel.present"], batch["wheel"].present)


def test_what_a_task_leaves_out_is_logged(folders_path: Path, tmp_path: Path, caplog: Any) -> None:
    from ray.data.block import BlockAccessor

    from sensorium.corpus.loaders.ray_source import WindowSource

    shutil.copytree(folders_path, tmp_path / "store")
    loader = made(tmp_path / "store", damaged="skip")
    gone = sensorium.open(tmp_path / "store").query("has('wheel')")[1]
    (shutil.rmtree if gone.path.is_dir() else Path.unlink)(gone.path)
    tasks = WindowSource(loader._work, 0, 0).get_read_tasks(2)
    rows = sum(BlockAccessor.for_block(block).num_rows() for task in tasks for block in task())
    assert rows == loader.windows - 5
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 5
    assert all(f"left out: {gone.id} at " in each for each in told)


@pytest.mark.slow
@pytest.mark.timeout(900)  # it takes half a minute; on a busy machine many times that
def test_ray_reads_it(folders_path: Path) -> None:
    import ray

    loader = made(folders_path)
    ray.init(num_cpus=2, include_dashboard=False, logging_level="ERROR", object_store_memory=100 << 20)
    try:
        ray.data.DataContext.get_current().execution_options.preserve_order = True
        rows = list(loader.ray_dataset(tasks=2).iter_rows())
        assert [(row["episode"], row["start_s"]) for row in rows] == expected(made(folders_path))
        assert rows[0]["front"].shape[1:] == (8, 8)
    finally:
        ray.shutdown()


def test_without_it_that_is_said(folders_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "ray.data", None)
    monkeypatch.delitem(sys.modules, "sensorium.corpus.loaders.ray_source", raising=False)
    with pytest.raises(ConfigError, match=r"install sensorium\[ray-data\]"):
        made(folders_path).ray_dataset()
