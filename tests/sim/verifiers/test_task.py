"""Task success: by each world's truth, the same as the world itself found, and unknown where the truth is not there."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from sensorium.corpus.testing import VerifierTests
from sensorium.corpus.verifier import Verdict, Verifier
from sensorium.drivers.stream import StreamSpec
from sensorium.sim.verifiers.task import Task
from sensorium.sim.worlds.cart import CartConfig
from sensorium.sim.worlds.config import WorldConfig
from sensorium.sim.worlds.lab.lab import SimLabConfig
from tests.sim.verifiers.recorded import Recorded, RecordedStream, record, stored, whole


def played(config: WorldConfig) -> Recorded:
    return record(config.model_copy(update={"truth": True, "pace": "fast"}), "world")


def judged_as(recorded: Recorded) -> Verdict:
    return Task().verify(recorded.episode)


def told(world: str, task: str, channels: tuple[str, ...], rows: list[list[float]], name: str = "task") -> Recorded:
    """A world's truth as it would be."""
    data = np.array(rows, np.float64)
    spec = StreamSpec(
        name=f"world.{name}", modality="truth", dtype="float64", shape=data.shape[1:], channels=channels, rate_hz=20.0
    )
    stream = RecordedStream(spec, np.arange(len(data)) * 50_000_000, data)
    return whole({spec.name: stream}, {"world": world, "task": task}, "terminated")


def test_a_cart_that_stands_and_one_that_falls() -> None:
    stands = judged_as(played(CartConfig(seed=1, limit_s=2.0)))
    assert (stands.passed, stands.score) == (True, 1.0)
    falls = played(CartConfig(seed=1, limit_s=2.0))
    pose = falls.streams["world.pose"]
    pose.data[30:, 2] = 0.5
    verdict = judged_as(falls)
    assert verdict.passed is False
    assert 0 < verdict.score < 1


def test_a_laboratorys_map_and_its_defects() -> None:
    recorded = played(SimLabConfig(seed=2, task="map", episode_s=30.0))
    verdict = judged_as(recorded)
    assert verdict.passed is (recorded.outcome == "terminated"), verdict
    assert verdict.components["mapped"] == pytest.approx(verdict.score)
    searched = played(SimLabConfig(seed=2, task="find-defects", episode_s=30.0))
    defects = judged_as(searched)
    assert defects.passed is (defects.components["found"] >= defects.components["defects"])
    searched.streams["world.progress"].data[-1, 1] = len(searched.streams["world.defects"])
    assert judged_as(searched).passed


ROVER = ("goal_x", "goal_y", "goal_z", "distance", "explored", "upright", "success")
ARM = ("goal_x", "goal_y", "goal_z", "distance", "success")
DRONE = ("goal_x", "goal_y", "goal_z", "distance", "done_stops", "held_s", "success")
PLANAR = ("goal_x", "goal_y", "distance_m", "reached", "cells")
TOLD: dict[str, tuple[Recorded, bool | None, float]] = {
    "rover there": (told("sim-rover", "reach", ROVER, [[0, 0, 0, 5, 1, 1, 0], [0, 0, 0, 0.4, 4, 1, 1]]), True, 1.0),
    "rover fallen": (told("sim-rover", "roam", ROVER, [[0, 0, 0, 5, 1, 1, 0], [0, 0, 0, 5, 4, 0.1, 0]]), False, 0.0),
    "arm half": (told("sim-arm", "reach", ARM, [[0, 0, 0, 0.4, 0], [0, 0, 0, 0.2, 0]]), False, 0.5),
    "drone": (told("sim-drone", "route", DRONE, [[0, 0, 0, 4, 0, 0, 0], [0, 0, 0, 0.1, 3, 0, 1]]), True, 1.0),
    "planar there": (told("sim-planar", "reach", PLANAR, [[0, 0, 2, 0, 1], [0, 0, 0.1, 1, 3]]), True, 1.0),
    "planar not": (told("sim-planar", "reach", PLANAR, [[0, 0, 2, 0, 1], [0, 0, 1.5, 0, 3]]), False, 0.25),
    "planar roams": (told("sim-planar", "roam", PLANAR, [[0, 0, 2, 0, 1], [0, 0, 1, 0, 12]]), True, 12.0),
    "planar stays": (told("sim-planar", "roam", PLANAR, [[0, 0, 2, 0, 1], [0, 0, 1, 0, 11]]), False, 11.0),
    "another's": (told("sim-theirs", "x", ("success",), [[0.0], [1.0]]), True, 1.0),
    "nothing said": (told("sim-theirs", "x", ("other",), [[0.0]]), None, 0.0),
    "no truth": (told("sim-rover", "reach", ROVER, [[0] * 7], "pose"), None, 0.0),
}


@pytest.mark.parametrize("which", TOLD)
def test_by_the_truth_of_each_world(which: str) -> None:
    recorded, passed, score = TOLD[which]
    verdict = judged_as(recorded)
    assert verdict.passed is passed, verdict
    assert verdict.score == pytest.approx(score)


def test_what_a_policy_saw_is_not_the_truth() -> None:
    recorded, *_ = TOLD["rover there"]
    seen = recorded.streams["world.task"]
    spec = msgspec.structs.replace(seen.spec, modality="rows")
    claims = whole({"world.task": RecordedStream(spec, seen.captured_ns, seen.data)}, recorded.labels)
    assert judged_as(claims).passed is None


def test_of_an_episode_that_was_cut_off_only_success_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Recorded, "row", {"reason": "interrupted"})
    assert judged_as(TOLD["rover there"][0]).passed is True
    assert judged_as(TOLD["arm half"][0]).passed is None


def test_without_labels_it_is_unknown() -> None:
    recorded, *_ = TOLD["rover there"]
    assert judged_as(whole(recorded.streams)).passed is None


@pytest.fixture(scope="module")
def judged(tmp_path_factory: Any) -> Path:
    short = played(CartConfig(seed=2, limit_s=1.0))
    return stored(tmp_path_factory.mktemp("task") / "store", short, TOLD["arm half"][0])


class TestTask(VerifierTests):
    @pytest.fixture(autouse=True)
    def _stored(self, judged: Path) -> None:
        self._path = judged

    def verifier(self) -> Verifier:
        return Task()

    def store(self) -> Path:
        return self._path
