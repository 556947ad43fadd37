"""The example of rollouts: from a world to accepted episodes to batches."""

import importlib.util
import shutil
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import sensorium
from sensorium.sim.rollouts.task_file import load_task_file
from tests.sim.rollouts.building import rolled

EXAMPLE = Path(__file__).parents[3] / "examples" / "rollouts"


def module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def test_from_world_to_batches(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "example"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("corpus", "spool", "__pycache__"))
    small = ("group=2", "workers=1", "budget.rollouts=0", "worlds.calm.limit_s=0.5", "worlds.rough.limit_s=0.5")
    rolled(load_task_file(folder / "rollouts.yaml", small))
    corpus = sensorium.open(folder / "corpus")
    made = module(folder / "batches.py")
    batches = list(made.batches(corpus))
    states, actions, advantages = batches[0]
    assert (states.shape[1], actions.shape[1], len(advantages)) == (4, 1, len(states))
    total = sum(len(batch[0]) for batch in batches)
    assert total == sum(int(episode.labels["steps"]) for episode in corpus.query(made.ACCEPTED))
    again = list(made.batches(corpus))
    assert all(np.array_equal(one[0], other[0]) for one, other in zip(batches, again, strict=True))
    made.main(str(folder / "corpus"))
    assert "accepted episodes" in capsys.readouterr().out
