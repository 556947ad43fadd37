"""A thread of a campaign of rollouts dies: it ends with the reason, and the next start goes on."""

from pathlib import Path

import pytest

from sensorium.errors import SensoriumError
from sensorium.sim.rollouts import judging, player, policies, worker
from sensorium.sim.rollouts.report import report_of
from tests.sim.rollouts.building import ACTS, rolled, task_file
from tests.spine.killing import SAID, injected, kills


@kills("worker")
def test_a_worker_that_fails_again_and_again_ends_the_campaign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = task_file(tmp_path, group=2)
    with monkeypatch.context() as patch:
        patch.setattr(worker, "PAUSE_S", 0.0)
        patch.setattr(worker.Worker, "_serve", injected)
        with pytest.raises(SensoriumError, match=f"thread worker, which makes rollouts, died of {SAID}"):
            rolled(file)
    rolled(file)
    assert report_of(tmp_path / "store")["cells"][0]["n"] == 2


@kills("judge-")
def test_a_judge_that_dies_ends_the_campaign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = task_file(tmp_path, group=2, verifier=f"{ACTS}:Upright")
    with monkeypatch.context() as patch:
        patch.setattr(judging, "judged_apart", injected)
        with pytest.raises(SensoriumError, match=f"thread judge-upright, which has a verifier judge, died of {SAID}"):
            rolled(file)
    rolled(file)
    assert report_of(tmp_path / "store")["cells"][0]["accepted"] == 2


@kills("bounded")
def test_what_runs_bounded_and_dies_is_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(policies, "code_of_policy", injected)
        said = f"thread bounded, which runs somebody else's code, died of {SAID}"
        with pytest.raises(SensoriumError, match=said):
            task_file(tmp_path, policies=[f"{ACTS}:holds"])
    assert task_file(tmp_path, policies=[f"{ACTS}:holds"]).policies


@kills("player-")
def test_a_player_that_dies_again_and_again_ends_the_campaign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = task_file(tmp_path, group=2, policies=[f"{ACTS}:holds"])
    with monkeypatch.context() as patch:
        patch.setattr(worker, "PAUSE_S", 0.0)
        patch.setattr(player.Player, "_run", injected)
        with pytest.raises(SensoriumError, match=f"thread player-world, which plays rollouts, died of {SAID}"):
            rolled(file)
    rolled(file)
    assert report_of(tmp_path / "store")["cells"][0]["n"] == 2
