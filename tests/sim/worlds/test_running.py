"""A world that runs by itself is a driver like any other, and its episodes are told apart by where their time began."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sensorium.drivers.controls import CONTROL, Control, Value
from sensorium.drivers.driver import Delivery, DriverConfig
from sensorium.drivers.marks import EpisodeBegin, EpisodeEnd, Label, SourceNote
from sensorium.drivers.stream import Block
from sensorium.drivers.testing import DriverTests
from sensorium.errors import ConfigError, SensoriumError
from sensorium.sim.worlds.asking import Asking
from sensorium.sim.worlds.running import MOST_FAILED, RESETS_FAILED, Course, Running, next_base_ns
from sensorium.sim.worlds.world import Action, Done, Observation
from tests.sim.worlds.tiny_world import STEP_NS, TinyConfig, TinyWorld

S = 1_000_000_000


def play(**options: Any) -> list[Delivery]:
    driver = TinyConfig(**{"pace": "fast", "task": "wander", **options}).open("w", Path())
    delivered: list[Delivery] = []
    while (got := driver.read(1.0)) is not None:
        delivered.extend(got)
    driver.close()
    return delivered


class TestConformance(DriverTests):
    expected_rows = {"place": 101, "cam": 11, "action": 20}
    expected_lost = {}
    labels: Mapping[str, Label] = {
        "world": "sim-tiny",
        "task": "wander",
        "seed": 3,
        "policy": "scripted",
        "world_version": "1",
    }
    expected_marks = (EpisodeBegin(0, labels, 0), EpisodeEnd(S + 1, "truncated", passed=True))

    def config(self, tmp_path: Path) -> DriverConfig:
        return TinyConfig(task="wander", seed=3, duration_s=1.0, pace=5.0)


class TestConformanceEndless(DriverTests):
    reads = 40

    def config(self, tmp_path: Path) -> DriverConfig:
        return TinyConfig(truth=True, start_ns=-5, episode_s=0.2, pace="fast")


def test_each_reset_has_the_next_seed_and_a_base_of_whole_seconds_with_one_between() -> None:
    marks = [each for each in play(seed=7, episode_s=0.5, duration_s=5.0) if not isinstance(each, Block)]
    begins = [each for each in marks if isinstance(each, EpisodeBegin)]
    assert [(each.at_ns, each.base_ns, each.labels["seed"]) for each in begins] == [
        (0, 0, 7), (2 * S, 2 * S, 8), (4 * S, 4 * S, 9),
    ]  # fmt: skip
    ends = [each for each in marks if isinstance(each, EpisodeEnd)]
    assert [(each.at_ns, each.outcome) for each in ends] == [
        (base_ns + S // 2 + 1, "truncated") for base_ns in (0, 2 * S, 4 * S)
    ]


def test_where_the_task_is_done_the_world_begins_anew() -> None:
    marks = [each for each in play(task="", duration_s=20.0) if not isinstance(each, Block)]
    assert [each.outcome for each in marks if isinstance(each, EpisodeEnd)][:2] == ["terminated", "terminated"]
    assert {each.labels["task"] for each in marks if isinstance(each, EpisodeBegin)} == {"centre"}


def test_an_action_is_stamped_with_when_it_began_to_act() -> None:
    delivered = play(episode_s=0.5, duration_s=0.5, start_ns=7)
    actions = [each for each in delivered if isinstance(each, Block) and each.stream == "w.action"]
    stamps = np.concatenate([each.captured_ns for each in actions])
    assert stamps.tolist() == [7 + k * STEP_NS for k in range(10)]
    assert all(np.abs(each.data).max() <= 2.0 for each in actions)


def test_truth_comes_out_where_it_is_asked_for() -> None:
    def streams(truth: bool) -> set[str]:
        return {each.stream for each in play(duration_s=0.2, truth=truth) if isinstance(each, Block)}

    assert streams(truth=True) - streams(truth=False) == {"w.bead"}


def test_a_reset_gives_what_the_same_reset_gave_elsewhere() -> None:
    """The second of one run is the first of another, stamp for stamp less the base."""

    def episode(delivered: list[Delivery], number: int) -> list[tuple[str, list[int], bytes]]:
        base_ns = [each.base_ns for each in delivered if isinstance(each, EpisodeBegin)][number] or 0
        blocks = [each for each in delivered if isinstance(each, Block)]
        mine = [each for each in blocks if base_ns <= each.captured_ns[0] < base_ns + 2 * S]
        return [(each.stream, (each.captured_ns - base_ns).tolist(), each.data.tobytes()) for each in mine]

    assert episode(play(seed=1, episode_s=0.5, duration_s=3.0), 1) == episode(
        play(seed=2, episode_s=0.5, duration_s=3.0), 0
    )


@pytest.mark.parametrize(("end_ns", "base_ns"), [(1, 2 * S), (S, 2 * S), (S + 1, 3 * S), (-5 * S, -4 * S)])
def test_the_next_base(end_ns: int, base_ns: int) -> None:
    assert next_base_ns(end_ns) == base_ns


def test_a_task_that_there_is_not() -> None:
    with pytest.raises(ConfigError, match="no task 'fly'"):
        play(task="fly")


def test_a_typo_of_a_task_is_said_before_anything_runs() -> None:
    with pytest.raises(ConfigError, match=r"sim-tiny: no task 'wandr', did you mean 'wander'.*expected one of centre"):
        TinyConfig(task="wandr").open("w", Path())


class Idle(TinyWorld):
    """There is nothing to do in it."""

    tasks: Mapping[str, str] = {}


def test_a_world_without_tasks_is_refused_with_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TinyConfig, "make", lambda config: Idle(config))
    with pytest.raises(ConfigError, match=r"^sim-tiny: has no tasks: `World.tasks` must name one"):
        TinyConfig().open("w", Path())


def resets(raises: Callable[[int], bool], **options: Any) -> list[Delivery]:
    """What comes of a world whose reset raises with some seeds."""
    reset = TinyWorld.reset

    def broken(world: TinyWorld, seed: int, task: str) -> Observation:
        if raises(seed):
            raise ArithmeticError(f"no ground\nof seed {seed}")
        return reset(world, seed, task)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TinyWorld, "reset", broken)
        return play(**options)


def test_a_reset_that_raises_is_said_counted_and_the_next_seed_follows(caplog: pytest.LogCaptureFixture) -> None:
    delivered = resets(lambda seed: seed in (0, 2, 3), episode_s=0.5, duration_s=5.0)
    begins = [each for each in delivered if isinstance(each, EpisodeBegin)]
    said = [(each.base_ns, each.labels["seed"], each.labels.get(RESETS_FAILED)) for each in begins]
    assert said == [(0, 1, 1), (2 * S, 4, 2), (4 * S, 5, None)]
    notes = [each for each in delivered if isinstance(each, SourceNote)]
    assert [(each.name, each.start_ns, each.value["seed"]) for each in notes] == [
        ("reset_failed", 0, 0), ("reset_failed", 2 * S, 2), ("reset_failed", 2 * S, 3),
    ]  # fmt: skip
    assert notes[0].value["why"] == "ArithmeticError: no ground of seed 0"
    assert caplog.records[0].getMessage() == (
        "sim-tiny: its reset with seed 0 raised: ArithmeticError: no ground of seed 0"
    )


def test_where_every_reset_raises_the_sensor_has_failed(caplog: pytest.LogCaptureFixture) -> None:
    says = r"^sim-tiny: 20 resets in a row raised, the last with seed 26: ArithmeticError: no ground of seed 26; "
    with pytest.raises(SensoriumError, match=says):
        resets(lambda _: True, seed=7, duration_s=5.0)
    assert len(caplog.records) == MOST_FAILED


def test_rows_of_many_steps_come_in_few_blocks_and_none_is_lost_or_late() -> None:
    """Where nobody waits they span a quarter of a second, else what a live driver would; the samples are the same."""

    def rows(pace: Any) -> list[Block]:
        delivered = play(task="wander", duration_s=2.0, truth=True, pace=pace)
        return [each for each in delivered if isinstance(each, Block)]

    fast, paced = rows("fast"), rows(1e6)
    for stream, most in {"w.place": 9, "w.bead": 9, "w.action": 9, "w.cam": 21}.items():
        of_fast, of_paced = ([each for each in blocks if each.stream == stream] for blocks in (fast, paced))
        assert len(of_fast) <= most < len(of_paced) + (stream == "w.cam")
        for field in ("captured_ns", "data"):
            one, other = (np.concatenate([getattr(each, field) for each in blocks]) for blocks in (of_fast, of_paced))
            assert np.array_equal(one, other)
    assert max(int(each.captured_ns[-1] - each.captured_ns[0]) for each in paced) <= 50_000_000


class BrokenWorld(TinyWorld):
    """It goes wrong after three steps."""

    breaks: Callable[[Observation], Observation]

    def step(self, action: Action) -> tuple[Observation, Done]:
        observation, done = super().step(action)
        return (observation, done) if observation.now_ns <= 3 * STEP_NS else (self.breaks(observation), done)


def play_broken(breaks: Callable[[Observation], Observation]) -> tuple[list[Delivery], Exception | None]:
    """What came of a run of half a second, and the error by which it ended."""
    world = BrokenWorld(TinyConfig())
    world.breaks = breaks
    driver = Running(world, "w", Course("sim-broken", 3, "wander", 0, 0.5, None, True), "fast")
    delivered: list[Delivery] = []
    try:
        while (got := driver.read(1.0)) is not None:
            delivered.extend(got)
    except ArithmeticError as error:
        return delivered, error
    finally:
        driver.close()
    return delivered, None


def exploded(observation: Observation) -> Observation:
    raise ArithmeticError(f"the physics exploded at {observation.now_ns} ns")


def test_where_a_world_raises_all_that_came_before_is_delivered_and_the_episode_failed_with_the_reason() -> None:
    delivered, error = play_broken(exploded)
    rows = {name: sum(len(each) for each in blocks_of(delivered, name)) for name in ("place", "bead", "cam", "action")}
    assert rows == {"place": 16, "bead": 16, "cam": 2, "action": 4}
    assert str(error) == "the physics exploded at 200000000 ns"
    note, end = delivered[-2:]
    assert isinstance(note, SourceNote)
    assert (note.name, note.start_ns) == ("failed", 3 * STEP_NS)
    assert note.value == {
        "who": "us",
        "why": "ArithmeticError: the physics exploded at 200000000 ns",
        "world": "sim-broken",
        "seed": 3,
    }
    assert end == EpisodeEnd(3 * STEP_NS + 1, "failed", passed=True)


def wide(observation: Observation) -> Observation:
    place, *others = observation.sensed
    return replace(observation, sensed=(Block("place", place.captured_ns, np.repeat(place.data, 2, axis=1)), *others))


def early(observation: Observation) -> Observation:
    place, *others = observation.sensed
    return replace(observation, sensed=(Block("place", place.captured_ns - S, place.data), *others))


@pytest.mark.parametrize("breaks", [wide, early])
def test_rows_that_a_world_must_not_give_do_not_take_with_them_those_that_are_right(
    breaks: Callable[[Observation], Observation],
) -> None:
    delivered, error = play_broken(breaks)
    assert error is None
    places = [each for each in blocks_of(delivered, "place") if (np.diff(each.captured_ns) >= 0).all()]
    right = [each for each in places if each.data.shape[1] == 1 and each.captured_ns[0] >= 0]
    assert np.concatenate([each.captured_ns for each in right])[:16].tolist() == [n * S // 100 for n in range(16)]
    assert sum(map(len, blocks_of(delivered, "bead"))) == 51


def blocks_of(delivered: list[Delivery], stream: str) -> list[Block]:
    return [each for each in delivered if isinstance(each, Block) and each.stream == f"w.{stream}"]


class AskedWorld(TinyWorld):
    """Its bead can be asked to be pushed; half a second later it says that it was."""

    controls = (Control(name="push", plan="viewpoint", low=-1, high=1),)

    def __init__(self, config: TinyConfig) -> None:
        super().__init__(config)
        self.asking = Asking(self.controls)
        self.asked: list[tuple[str, int]] = []

    def ask(self, name: str, asked: Mapping[str, Value]) -> None:
        self.asked.append((name, self._now_ns))
        self.asking.ask(name, asked, self._now_ns)

    def step(self, action: Action) -> tuple[Observation, Done]:
        seen, done = super().step(action)
        if seen.now_ns >= self.asking.begun_ns + S // 2:
            self.asking.settle(seen.now_ns, {"push": 1.0})
        return replace(seen, told=self.asking.told()), done


def asked_world(**options: Any) -> tuple[Running, AskedWorld]:
    world = AskedWorld(TinyConfig())
    said = {"seed": 3, "task": "wander", "start_ns": 0, "duration_s": 4.0, "episode_s": 1.0, "truth": False, **options}
    return Running(world, "w", Course("sim-tiny", **said), "fast"), world


def test_what_is_asked_is_begun_by_who_reads_and_told_on_the_host_s_clock() -> None:
    driver, world = asked_world(start_ns=5 * S)
    assert [control.name for control in driver.controls] == ["push"]
    for wrong in ({"push": 2.0}, {"pull": 1.0}):
        with pytest.raises(ValueError, match="pu"):
            driver.ask("wrong", wrong)
    driver.ask("p", {"push": 0.5})
    assert world.asked == [], "nobody has read yet"
    delivered: list[Delivery] = []
    while not any(isinstance(each, SourceNote) for each in delivered):
        delivered += driver.read(1.0) or ()
    assert world.asked == [("p", 0)]
    note = delivered[-1]
    assert note == SourceNote(
        CONTROL, "p", {"asked": {"push": 0.5}, "did": {"push": 1.0}, "why": ""}, start_ns=5 * S, end_ns=5 * S + S // 2
    )
    before = [each for each in delivered if isinstance(each, Block)]
    assert all(block.captured_ns[-1] <= 5 * S + S // 2 for block in before), "samples behind it come behind it"
    driver.close()


def test_what_a_reset_takes_back_is_told() -> None:
    driver, _ = asked_world(episode_s=0.3, duration_s=0.3)
    driver.ask("p", {"push": 0.5})
    notes = []
    while (got := driver.read(1.0)) is not None:
        notes += [each for each in got if isinstance(each, SourceNote)]
    (note,) = notes
    assert note.value == {
        "asked": {"push": 0.5},
        "did": {},
        "why": "the world came to its end before it had taken effect",
    }
    driver.close()
