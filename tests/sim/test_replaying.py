"""An episode of a world comes out the same again; where one byte of it does not, that is found, and said where."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sensorium
from sensorium.corpus.episode import Episode
from sensorium.drivers.stream import Block
from sensorium.errors import ConfigError, SensoriumError
from sensorium.sim.replaying import replay
from sensorium.sim.worlds.planar import SimPlanarConfig
from sensorium.sim.worlds.planar_world import PlanarWorld
from sensorium.sim.worlds.world import Action, Done, Observation
from tests.drivers.marking_source import MarkingSource
from tests.sim.world_stores import Acted, collecting

Collect = Callable[..., list[Episode]]


@pytest.fixture
def collect(tmp_path: Path) -> Iterator[Collect]:
    with collecting(tmp_path) as collects:
        yield collects


def planar(**options: Any) -> SimPlanarConfig:
    return SimPlanarConfig(**{"size": (32, 24), "truth": True, "pace": "fast", **options})


def test_what_was_acted_comes_out_the_same_again(collect: Collect) -> None:
    noisy = planar(imu_errors={"preset": "bmi088"}, pixel_noise=2.0, jitter_s=0.001, camera_offset_s=0.02)
    (episode,) = collect({"world": Acted(world=noisy)})
    again = replay(episode)
    assert again.differences == []
    assert again.is_same
    assert (again.world, again.task, again.seed, again.policy, again.actions) == ("sim-planar", "roam", 4, "random", 20)
    streams = {"world.action": 20, "world.reward": 20, "world.imu": 201, "world.truth": 201, "world.task": 21}
    assert again.same == {**streams, "world.cam": 31}
    assert again.skipped == {}


def test_every_reset_of_a_world_that_runs_by_itself_comes_out_the_same(collect: Collect) -> None:
    first, *others = collect({"sim": planar(task="reach", episode_s=0.5, duration_s=5.0)})
    assert len(others) == 2
    for seed, episode in enumerate([first, *others]):
        again = replay(episode)
        assert again.is_same, again.differences
        assert (again.seed, again.actions) == (seed, 10)


def test_an_episode_in_which_the_world_raised_fails_the_same_again(
    collect: Collect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = PlanarWorld.step
    breaks_ns = 200_000_000

    def breaking(world: PlanarWorld, action: Action) -> tuple[Observation, Done]:
        observation, done = step(world, action)
        if observation.now_ns > breaks_ns:
            raise ArithmeticError("the physics exploded")
        return observation, done

    monkeypatch.setattr(PlanarWorld, "step", breaking)
    with pytest.raises(SensoriumError, match="physics exploded"):
        collect({"sim": planar(task="roam", duration_s=5.0)})
    (episode,) = sensorium.open(tmp_path / "store").query()
    assert episode.outcome == "failed"
    (note,) = (each for each in episode.attributes["notes"] if each["name"] == "failed")
    assert note["value"]["why"] == "ArithmeticError: the physics exploded"
    assert len(episode.streams["sim.action"]) == 5
    assert replay(episode).is_same
    breaks_ns = 100_000_000
    again = replay(episode)
    assert not again.is_same
    assert "(outcome)" not in {each.stream for each in again.differences}
    breaks_ns = 5_000_000_000
    assert replay(episode).is_same


def test_what_did_not_raise_then_and_does_now_is_not_the_same(
    collect: Collect, monkeypatch: pytest.MonkeyPatch
) -> None:
    (episode,) = collect({"sim": planar(task="roam", duration_s=0.5)})

    def breaking(_: PlanarWorld, action: Action) -> tuple[Observation, Done]:
        raise ArithmeticError(f"cannot do {action.shape}")

    monkeypatch.setattr(PlanarWorld, "step", breaking)
    again = replay(episode)
    said = {each.stream: each.what for each in again.differences}
    assert said["(outcome)"] == "made again, the world raises ArithmeticError: cannot do (4,)"


def test_what_ran_without_a_reset_comes_out_the_same_from_its_start(collect: Collect) -> None:
    """Also where it was pulled in between, samples were dropped, and filters left some out."""
    sim = planar(duration_s=2.5, camera_drop=0.2, jitter_s=0.002, disconnects=[{"at_s": 0.5, "for_s": 0.5}])
    parts = {"trigger": {"kind": "interval", "length_s": 1}, "filters": {"sim.imu": [{"kind": "rate", "max_hz": 50}]}}
    episodes = collect({"sim": sim}, **parts)
    assert len(episodes) >= 3
    for episode in episodes:
        assert episode.base_ns is None
        again = replay(episode)
        assert again.is_same, again.differences
        assert again.same == {name: len(stream) for name, stream in episode.streams.items()}


@pytest.mark.parametrize("stream", ["cam", "imu", "task", "reward"])
def test_one_bit_that_is_not_the_same_is_found_and_said_where(collect: Collect, stream: str) -> None:
    seen = 0

    def spoil(block: Block) -> list[Block]:
        nonlocal seen
        seen += len(block) if block.stream == f"world.{stream}" else 0
        if block.stream != f"world.{stream}" or not 7 < seen <= 7 + len(block):
            return [block]
        data = block.data.copy()
        data.view(np.uint8).reshape(-1)[0] ^= 1
        return [replace(block, content=data)]

    (episode,) = collect({"world": Acted(world=planar(), spoil=spoil)})
    again = replay(episode)
    assert not again.is_same
    (found, *_) = again.differences
    assert found.stream == f"world.{stream}"
    stamps = episode.streams[found.stream].captured_ns
    assert found.at_s == pytest.approx((stamps[found.row] - 5_000_000_000) / 1e9)
    assert "values differ, first at [0" in found.what


def test_another_action_than_the_one_that_acted_is_found_by_what_it_does(collect: Collect) -> None:
    def spoil(block: Block) -> list[Block]:
        other = block.stream == "world.action" and int(block.captured_ns[0]) == 5_500_000_000
        return [replace(block, content=-block.data) if other else block]

    (episode,) = collect({"world": Acted(world=planar(), spoil=spoil)})
    first = replay(episode).differences[0]
    assert first.stream in ("world.truth", "world.imu")
    assert 0.5 < first.at_s <= 0.505


def test_a_sample_that_is_not_there_or_stamped_otherwise_is_found(collect: Collect) -> None:
    def spoil(block: Block) -> list[Block]:
        if block.stream == "world.imu" and int(block.captured_ns[0]) > 5_500_000_000:
            return []
        if block.stream == "world.cam" and int(block.captured_ns[0]) > 5_700_000_000:
            return [replace(block, captured_ns=block.captured_ns + 1)]
        return [block]

    (episode,) = collect({"world": Acted(world=planar(), spoil=spoil)})
    imu, cam = replay(episode).differences
    assert (imu.stream, imu.row, imu.what) == ("world.imu", 101, "made again there are more samples")
    assert (cam.stream, cam.row) == ("world.cam", 22)
    assert cam.what == "stamped 733333334 ns, made again 733333333 ns"


def test_another_seed_or_task_or_end_is_not_the_same(collect: Collect) -> None:
    def of(**labels: Any) -> Any:
        return replay(collect({"world": Acted(world=planar(), labels=labels)}, spool={"path": f"spool{labels}"})[-1])

    assert of(seed=5).differences[0].at_s == 0.0
    assert of(task="reach").differences != []
    assert of().is_same


def test_another_version_of_the_world_is_said(collect: Collect, monkeypatch: pytest.MonkeyPatch) -> None:
    (episode,) = collect({"world": Acted(world=planar(), length=3)})
    monkeypatch.setattr(SimPlanarConfig, "version", "1b")
    monkeypatch.setattr(PlanarWorld, "version", "1b")
    (found,) = replay(episode).differences
    assert found.what == "it was made by version 1 of the world, 1b is installed"


def test_what_is_not_stored_byte_for_byte_is_not_compared_and_said(collect: Collect) -> None:
    sensors = {"world": Acted(world=planar(), length=5)}
    (episode,) = collect(sensors, encodings={"world.cam": {"codec": "jpeg"}})
    again = replay(episode)
    assert again.is_same
    assert again.skipped == {"world.cam": "stored as jpeg, not byte for byte"}


def test_what_cannot_be_made_again_is_refused(collect: Collect) -> None:
    first, *_ = collect({"arm": MarkingSource()})
    with pytest.raises(ConfigError, match="nothing in it was sensed in a world"):
        replay(first)


def test_a_sample_that_is_not_made_again_is_missing(collect: Collect) -> None:
    def spoil(block: Block) -> list[Block]:
        last = block.stream == "world.task" and int(block.captured_ns[-1]) == 6_000_000_000
        return [block, replace(block, captured_ns=block.captured_ns)] if last else [block]

    (episode,) = collect({"world": Acted(world=planar(), spoil=spoil)})
    (found,) = replay(episode).differences
    assert (found.stream, found.row, found.at_s) == ("world.task", 21, 1.0)
    assert found.what == "made again the last sample is missing"
