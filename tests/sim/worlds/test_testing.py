"""The suite of worlds passes one that keeps the contract, and finds each promise that is broken."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sensorium.sim.worlds.config import WorldConfig
from sensorium.sim.worlds.playing import Played
from sensorium.sim.worlds.testing import WorldTests
from sensorium.sim.worlds.world import Action, Done, Observation, World
from tests.sim.worlds.tiny_world import STEP_NS, TinyConfig, TinyWorld


class TestTiny(WorldTests):
    def config(self) -> WorldConfig:
        return TinyConfig(truth=True)

    def check_truth(self, played: Played) -> None:
        assert np.abs(played.data("place")[:, 0] - played.data("bead")[:, 0]).max() < 0.06
        brightest = played.data("cam")[:, 0].argmax(-1)
        at = np.searchsorted(played.stamps("bead"), played.stamps("cam"))
        assert np.abs((brightest + 0.5) / 4 - 2 - played.data("bead")[at, 0]).max() <= 0.13


class Wrong(TinyWorld):
    """Breaks what its configuration's `breaks` says."""

    kept = 0.0

    def __init__(self, config: "WrongConfig") -> None:
        super().__init__(config)
        self._breaks = config.breaks
        self._asked = self._ends = 0
        if config.breaks == "version":
            self.version = "2"
        if config.breaks == "truth among the sensed":
            self.specs = replace(self.specs, sensed=(*self.specs.sensed, *self.specs.truth), truth=())

    def reset(self, seed: int, task: str) -> Observation:
        seed = {"unseeded": self._asked + id(self) % 1000003, "seed unheeded": 0}.get(self._breaks, seed)
        seen = super().reset(seed, task)
        if self._breaks == "leak":
            self._state[0] += 0.01 * self._asked
        if self._breaks == "leak behind its end":
            self._state[0] += 0.01 * self._ends
        if self._breaks == "process":
            self._state[0] += 1e-9 * (id(type(self)) % 1000003)
        return seen

    def step(self, action: Action) -> tuple[Observation, Done]:
        self._asked += 1
        if self._breaks == "late raise":
            self._rng.random()
        if self._breaks == "no raise" and not np.isfinite(action).all():
            action = np.zeros(1)
        if self._breaks == "goes on":
            self._done = ""
        if self._breaks == "unclipped":
            super().step(np.clip(action, -1, 1))
            self._state = self._state + action[0]
            return super().step(action)
        seen, done = super().step(action)
        self._ends += done != ""
        if self._breaks == "future":
            seen = replace(seen, sensed=tuple(replace(b, captured_ns=b.captured_ns + STEP_NS) for b in seen.sensed))
        if self._breaks == "slow":
            seen = replace(seen, sensed=tuple(block.take(slice(0, 1), 0) for block in seen.sensed))
        if self._breaks == "reused":
            for block in seen.truth:
                self._held = getattr(self, "_held", np.zeros((0, 2)))
                self._held = block.data if not len(self._held) else self._held
                self._held[0] = block.data[0]
        if self._breaks == "untrue":
            seen = replace(seen, truth=tuple(replace(b, content=b.data + 1) for b in seen.truth))
        return seen, done

    def scripted(self) -> Action:
        self._asked += 1
        if self._breaks == "script leaks behind its end":
            return self.specs.clipped(super().scripted() + 0.001 * self._ends)
        if self._breaks == "counts":
            self._state[1] += 0.01
        return np.array([9.0]) if self._breaks == "unbounded" else super().scripted()


class WrongConfig(TinyConfig):
    breaks: str = ""

    def make(self) -> World:
        return Wrong(self)


def suite(breaks: str) -> TestTiny:
    class Broken(TestTiny):
        def config(self) -> WorldConfig:
            return WrongConfig(truth=True, breaks=breaks)

    return Broken()


FINDS: dict[str, Callable[[Any], None]] = {
    "version": TestTiny.test_what_it_says_of_itself,
    "truth among the sensed": TestTiny.test_what_it_says_of_itself,
    "future": TestTiny.test_stamps_are_on_one_clock,
    "slow": TestTiny.test_each_stream_comes_at_its_rate,
    "unseeded": TestTiny.test_the_same_gives_the_same_bytes,
    "seed unheeded": TestTiny.test_the_same_gives_the_same_bytes,
    "process": TestTiny.test_another_process_gives_the_same_bytes,
    "leak": TestTiny.test_a_reset_leaks_nothing,
    "reused": TestTiny.test_what_came_out_is_not_written_to,
    "untrue": TestTiny.test_truth_agrees_with_the_sensors,
    "no raise": TestTiny.test_a_wrong_action_raises_and_nothing_has_happened,
    "late raise": TestTiny.test_a_wrong_action_raises_and_nothing_has_happened,
    "unclipped": TestTiny.test_an_action_beyond_its_bounds_is_one_on_them,
    "unbounded": TestTiny.test_its_own_motion_stays_within_bounds_and_to_ask_changes_nothing,
    "counts": TestTiny.test_its_own_motion_stays_within_bounds_and_to_ask_changes_nothing,
    "leak behind its end": TestTiny.test_after_its_end_it_can_only_be_reset,
    "script leaks behind its end": TestTiny.test_after_its_end_it_can_only_be_reset,
    "goes on": TestTiny.test_after_its_end_it_can_only_be_reset,
}


@pytest.mark.parametrize("breaks", FINDS)
def test_what_is_broken_is_found(breaks: str) -> None:
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        FINDS[breaks](suite(breaks))
