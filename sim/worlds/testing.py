"""The conformance suite of the world contract, for whoever writes a world.

    class TestMyWorld(WorldTests):
        def config(self):
            return MyWorldConfig(size=(64, 48), truth=True)

        def check_truth(self, played):
            assert np.abs(played.data("place") - played.data("body")[:, :1]).max() < 0.1

Use a configuration that is quick to step, with all its streams. Needs pytest.
"""

import multiprocessing
import zlib
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import pytest

from sensorium.drivers.clock import SECOND_NS
from sensorium.drivers.controls import CONTROL, Value
from sensorium.drivers.marks import SourceNote
from sensorium.drivers.stream import Block, check_name
from sensorium.errors import ConfigError
from sensorium.sim.worlds.config import WorldConfig, make_world
from sensorium.sim.worlds.playing import Acts, Played, by_script, steps
from sensorium.sim.worlds.world import Action, Observation, World

SPAWN_S = 120.0


class WorldTests:
    """Tests of any world. Each plays `length` steps of each task from a reset with `seed`, by random actions."""

    length: int = 12
    seed: int = 1
    other_seed: int = 2
    early_ns: int = 0
    """How far before its step a stamp may be, and `late_ns` how far behind: clocks that drift, stamps that are off."""
    late_ns: int = 0
    rate_tolerance: float = 0.02
    """How far off a stream may be from its rate, as a share, beside one sample."""
    most_steps: int = 2000
    """In which some task is done; else what is after that is not looked at."""
    asked_steps: int = 400
    """In so many what `asks` has is done, or was found to be too much."""

    def config(self) -> WorldConfig:
        """The configuration to test; with `truth`, so that those streams are there."""
        raise NotImplementedError(f"{type(self).__name__} must override config()")

    def check_truth(self, played: Played) -> None:
        """Assert that what was sensed and what was true agree, in its own motion."""
        raise NotImplementedError(f"{type(self).__name__} must override check_truth()")

    def test_what_it_says_of_itself(self) -> None:
        """Names, modalities, bounds and versions are such as every host can take."""
        config = self.config()
        assert config.kind.startswith("sim-"), f"kind {config.kind!r}: a world's begins with 'sim-'"
        assert type(config).model_validate(config.model_dump(mode="json")) == config
        with self._world() as world:
            specs = world.specs
            assert world.version == config.version != "", "World.version is not that of its configuration"
            assert world.tasks, "no tasks"
            assert all(name and sentence for name, sentence in world.tasks.items()), world.tasks
            streams = (*specs.sensed, *specs.truth, specs.action)
            names = [check_name(spec.name) for spec in streams]
            assert len(set(names)) == len(names), f"streams share a name: {names}"
            assert specs.sensed, "it senses nothing"
            assert all(spec.modality != "truth" for spec in (*specs.sensed, specs.action))
            assert all(spec.modality == "truth" for spec in specs.truth), [spec.modality for spec in specs.truth]
            assert (specs.action.dtype, len(specs.action.shape)) == ("float64", 1), specs.action
            for bound in (specs.low, specs.high):
                assert bound.shape == specs.action.shape, f"a bound of {bound.shape}, actions of {specs.action.shape}"
                assert bound.dtype == np.float64
                assert np.isfinite(bound).all()
            assert (specs.low < specs.high).all()
            assert specs.step_ns > 0
            rate_hz = pytest.approx(SECOND_NS / specs.step_ns, rel=1e-6) if specs.steady else None
            assert specs.action.rate_hz == rate_hz, "the rate of actions is not that of steps"

    def test_stamps_are_on_one_clock(self) -> None:
        """It stands at 0 at the reset; what comes out of a step was captured in it; blocks fit their specs."""
        with self._world() as world:
            sensed = {spec.name: spec for spec in world.specs.sensed}
            truth = {spec.name: spec for spec in world.specs.truth}
            for task in world.tasks:
                last: dict[str, int] = {}
                before_ns = -1
                components: set[str] = set()
                for count, step in enumerate(steps(world, self.seed, task, self._random(world), self.length)):
                    seen = step.observation
                    if world.specs.steady:
                        assert seen.now_ns == count * world.specs.step_ns, f"step {count} ends at {seen.now_ns} ns"
                    assert not count or seen.now_ns >= before_ns + world.specs.step_ns, "a step shorter than the least"
                    first_ns, before_ns = before_ns - self.early_ns, seen.now_ns
                    for blocks, specs in ((seen.sensed, sensed), (seen.truth, truth)):
                        for block in blocks:
                            block.check(specs[block.stream])
                            if not len(block):
                                assert block.lost_before, "an empty block that reports no loss"
                                continue
                            at_ns, until_ns = int(block.captured_ns[0]), int(block.captured_ns[-1])
                            assert at_ns >= last.get(block.stream, at_ns), f"{block.stream}: stamps step back"
                            assert first_ns < at_ns, f"{block.stream}: {at_ns} ns, before the step that it came out of"
                            assert until_ns <= seen.now_ns + self.late_ns, f"{block.stream}: {until_ns} ns, behind it"
                            last[block.stream] = until_ns
                    assert all(np.isfinite(value) for value in seen.rewards.values()), seen.rewards
                    components = components or set(seen.rewards)
                    assert not count or set(seen.rewards) == components, "components of the reward come and go"

    def test_each_stream_comes_at_its_rate(self) -> None:
        """What came and what is said to be missing are as many as the rate says."""
        with self._world() as world:
            played = Played.of(steps(world, self.seed, self._task(world), self._random(world), self.length))
            for spec in (*world.specs.sensed, *world.specs.truth):
                if spec.rate_hz is not None:
                    expected = spec.rate_hz * played.now_ns / SECOND_NS + 1
                    rows = sum(map(len, played.blocks.get(spec.name, ())))
                    tolerance = 1 + self.rate_tolerance * expected
                    assert rows + played.lost(spec.name) == pytest.approx(expected, abs=tolerance), spec.name

    def test_the_same_gives_the_same_bytes(self) -> None:
        """Of every task, in another world of the same configuration; and another seed gives others."""
        with self._world() as world, self._world() as other:
            for task in world.tasks:
                assert self._digests(world, self.seed, task) == self._digests(other, self.seed, task)
            task = self._task(world)
            assert self._digests(world, self.seed, task) != self._digests(other, self.other_seed, task)

    def test_another_process_gives_the_same_bytes(self) -> None:
        with self._world() as world:
            task = self._task(world)
            here = self._digests(world, self.seed, task)
        context = multiprocessing.get_context("spawn")
        mine, theirs = context.Pipe(duplex=False)
        arguments = (theirs, self.config(), self.seed, task, self.length)
        process = context.Process(target=_played_elsewhere, args=arguments, daemon=True)
        process.start()
        theirs.close()
        try:
            assert mine.poll(SPAWN_S), f"another process did not play it in {SPAWN_S:.0f} s"
            assert mine.recv() == here
        finally:
            process.join(10.0)
            process.kill()
            mine.close()

    def test_a_reset_leaks_nothing(self) -> None:
        """After any other run, of any task, it is as in a new world."""
        with self._world() as world, self._world() as new:
            task = self._task(world)
            for other in (*world.tasks, task):
                Played.of(steps(world, self.other_seed, other, by_script, self.length // 2))
            assert self._digests(world, self.seed, task) == self._digests(new, self.seed, task)

    def test_what_came_out_is_not_written_to(self) -> None:
        """As bytes were when they came out, so they are after further steps and another reset."""
        with self._world() as world:
            blocks: list[Block] = []
            came: list[int] = []
            for seed in (self.seed, self.other_seed):
                for step in steps(world, seed, self._task(world), self._random(world), self.length):
                    blocks += (*step.observation.sensed, *step.observation.truth)
                    came += [_checksum(block) for block in blocks[len(came) :]]
            assert [_checksum(block) for block in blocks] == came, "a block changed after it came out"

    def test_truth_agrees_with_the_sensors(self) -> None:
        with self._world() as world:
            self.check_truth(Played.of(steps(world, self.seed, self._task(world), by_script, 4 * self.length)))

    def test_a_wrong_action_raises_and_nothing_has_happened(self) -> None:
        with self._world() as world:
            low = world.specs.low
            wrong = [np.append(low, 0.0), low[:-1], low[None], np.full_like(low, np.nan), np.full_like(low, np.inf)]
            random = self._random(world)

            def after_wrong_ones(observation: Observation, world: World) -> Action:
                for action in wrong:
                    with pytest.raises(ValueError):  # noqa: PT011 (what it says is the world's own)
                        world.step(action)
                return random(observation, world)

            task = self._task(world)
            played = Played.of(steps(world, self.seed, task, after_wrong_ones, self.length))
            assert played.digests() == self._digests(world, self.seed, task)

    def test_an_action_beyond_its_bounds_is_one_on_them(self) -> None:
        with self._world() as world:
            task, specs = self._task(world), world.specs
            beyond, on = (
                Played.of(steps(world, self.seed, task, _always(row), self.length)).digests()
                for row in (specs.high + 10 * (specs.high - specs.low), specs.high)
            )
            assert beyond == on

    def test_its_own_motion_stays_within_bounds_and_to_ask_changes_nothing(self) -> None:
        with self._world() as world:

            def asked_twice(_: Observation, world: World) -> Action:
                first, second = world.scripted(), world.scripted()
                assert first.shape == world.specs.action.shape
                assert first.dtype == np.float64
                assert (first == second).all(), f"asked twice it is {first} and {second}"
                assert (world.specs.low <= first).all(), f"{first} is below {world.specs.low}"
                assert (first <= world.specs.high).all(), f"{first} is above {world.specs.high}"
                return first

            for task in world.tasks:
                asked, plain = (
                    Played.of(steps(world, self.seed, task, policy, self.length)) for policy in (asked_twice, by_script)
                )
                assert asked.digests() == plain.digests()

    def test_a_task_that_there_is_not(self) -> None:
        with self._world() as world, pytest.raises(ConfigError) as refused:
            world.reset(self.seed, "no such task")
        assert "\n" not in str(refused.value)

    def test_after_its_end_it_can_only_be_reset(self) -> None:
        with self._world() as world:
            for task in world.tasks:
                *_, last = steps(world, self.seed, task, by_script, self.most_steps)
                if last.done:
                    with pytest.raises(RuntimeError):
                        world.step(world.specs.low)
                    assert world.reset(self.seed, task).now_ns == 0
                    world.step(world.specs.low)
                    with self._world() as new:
                        assert self._digests(world, self.seed, task) == self._digests(new, self.seed, task), "it leaks"
                        again, other = (
                            Played.of(steps(each, self.seed, task, by_script, self.length)).digests()
                            for each in (world, new)
                        )
                        assert again == other, "its own motion leaks"
                    return
        pytest.skip(f"no task is done within {self.most_steps} steps of its own motion")

    def test_what_it_can_be_asked_is_sound(self) -> None:
        """Names, ranges and costs; what is outside is refused, and nothing has happened."""
        with self._world() as world:
            controls = world.controls
            names = [check_name(control.name) for control in controls]
            assert len(set(names)) == len(names), f"controls share a name: {names}"
            for control in controls:
                numbers = (control.low, control.high, control.cell, control.cost_s, control.cost_s_per_unit)
                assert np.isfinite(numbers).all(), control
                assert control.choices or control.low < control.high, control
                assert min(numbers[2:]) >= 0, control
            task = self._task(world)
            wrong: list[dict[str, Any]] = [{"no such control": 1.0}]
            for control in controls:
                values = (
                    ["", None, 0.5] if control.choices else [control.high + 1, control.low - 1, np.nan, np.inf, "x"]
                )
                wrong += [{control.name: value} for value in values]

            def after_wrong_asks(_: Observation, world: World) -> Action:
                for asked in wrong:
                    with pytest.raises(ValueError):  # noqa: PT011 (what it says is the world's own)
                        world.ask("wrong", asked)
                return world.scripted()

            played = Played.of(steps(world, self.seed, task, after_wrong_asks, self.length))
            assert played.digests() == Played.of(steps(world, self.seed, task, by_script, self.length)).digests()

    def test_what_it_was_asked_is_told_and_the_same_asks_give_the_same(self) -> None:
        """What became of it is told once, over a time that has passed; taken back, it goes on as it would by itself."""
        with self._world() as world, self._world() as other:
            if not world.controls:
                pytest.skip("it has no controls")
            task = self._task(world)
            world.reset(self.seed, task)
            asked = self.asks(world)
            first, told = self._asked_to(world, task, asked)
            assert (first, told) == self._asked_to(other, task, asked)
            assert [note.name for note in told] == [f"p{number}" for number in range(len(asked))], told
            assert first != Played.of(steps(world, self.seed, task, by_script, self.asked_steps)).digests()
            for note in told:
                note.check()
                assert note.kind == CONTROL
                assert set(note.value) == {"asked", "did", "why"}, note.value
                assert note.end_ns is not None
                assert note.start_ns <= note.end_ns

    def asks(self, world: World) -> list[dict[str, Value]]:
        """What to ask, one after the other, as soon as the one before was told of: by default within each range."""
        made = []
        for share in (0.6, 0.45):
            within: dict[str, Value] = {
                control.name: control.choices[0]
                if control.choices
                else control.low + share * (control.high - control.low)
                for control in world.controls
            }
            made.append(within)
        return made

    def _asked_to(
        self, world: World, task: str, asked: list[dict[str, Value]]
    ) -> tuple[dict[str, str], list[SourceNote]]:
        """What came of asking, after a step, for one thing after the other; each when that before was told of."""
        told: list[SourceNote] = []
        count = 0

        def act(observation: Observation, world: World) -> Action:
            nonlocal count
            told.extend(observation.told)
            if count == len(told) and count < len(asked):
                world.ask(f"p{count}", asked[count])
                count += 1
            elif len(told) == len(asked):
                world.ask("", {})
            return world.scripted()

        played = Played.of(steps(world, self.seed, task, act, self.asked_steps))
        return played.digests(), told

    def test_close_twice(self) -> None:
        world = make_world(self.config())
        world.reset(self.seed, self._task(world))
        world.close()
        world.close()

    def _world(self) -> "_Closing":
        return _Closing(self.config())

    @staticmethod
    def _task(world: World) -> str:
        return next(iter(world.tasks))

    @staticmethod
    def _random(world: World) -> Acts:
        return random_actions(world, 0)

    def _digests(self, world: World, seed: int, task: str) -> dict[str, str]:
        return _digests(world, seed, task, self.length)


class _Closing:
    """Closes the world that it made."""

    def __init__(self, config: WorldConfig) -> None:
        self._world = make_world(config)

    def __enter__(self) -> World:
        return self._world

    def __exit__(self, *_: object) -> None:
        self._world.close()


def random_actions(world: World, seed: int) -> Acts:
    """Uniform within the bounds, drawn anew by whoever asks for them."""
    rng = np.random.default_rng(seed)
    return lambda _, __: rng.uniform(world.specs.low, world.specs.high)


def _always(action: Action) -> Acts:
    return lambda _, __: action


def _checksum(block: Block) -> int:
    content = block.data.tobytes() if block.media is None else b"".join(block.media.items)
    return zlib.crc32(content, zlib.crc32(block.captured_ns.tobytes()))


def _digests(world: World, seed: int, task: str, length: int) -> dict[str, str]:
    return Played.of(steps(world, seed, task, random_actions(world, 0), length)).digests()


def _played_elsewhere(answer: Connection, config: WorldConfig, seed: int, task: str, length: int) -> None:
    world = make_world(config)
    answer.send(_digests(world, seed, task, length))
    world.close()
