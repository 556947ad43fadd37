"""The pole on a cart keeps what every world promises, stands as it is told, and falls when nobody cares."""

import numpy as np
import pytest

from sensorium.sim.worlds.cart import FALLEN_RAD, CartConfig
from sensorium.sim.worlds.playing import Played
from sensorium.sim.worlds.testing import WorldTests


class TestCart(WorldTests):
    def config(self) -> CartConfig:
        return CartConfig(kick_n=2.0, limit_s=0.4, truth=True)

    def check_truth(self, played: Played) -> None:
        assert np.abs(played.data("state") - played.data("pose")).max() < 0.01


@pytest.mark.parametrize("task", ["balance", "catch"])
def test_its_own_motion_keeps_it_upright_and_doing_nothing_does_not(task: str) -> None:
    config = CartConfig(limit_s=3.0)
    world = config.make()
    ends, angles = [], []
    for moves in (True, False):
        observation, done = world.reset(3, task), ""
        while not done:
            observation, done = world.step(world.scripted() if moves else np.zeros(1))
        ends.append(done)
        angles.append(abs(observation.truth[0].data[0, 2]))
    assert ends == ["truncated", "terminated"]
    assert angles[0] < FALLEN_RAD < angles[1]


def test_what_is_sensed_is_as_noisy_as_it_says() -> None:
    world = CartConfig(noise=0.5, limit_s=20.0).make()
    observation, off = world.reset(1, "balance"), []
    for _ in range(500):
        observation, _ = world.step(world.scripted())
        off.append(observation.sensed[0].data[0] - observation.truth[0].data[0])
    assert np.std(off, axis=0) == pytest.approx(np.full(4, 0.5), rel=0.15)
