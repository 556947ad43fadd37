"""The lidar: rays that are not cast would have met nothing, and a revolution is its sectors, one after the other."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

mujoco = pytest.importorskip("mujoco", reason="MuJoCo is not installed: pip install 'sensorium[sim]'")

from sensorium.sim.worlds.mujoco.lidar import Caster, Lidar  # noqa: E402
from sensorium.sim.worlds.mujoco.rover_config import RoverConfig  # noqa: E402
from sensorium.sim.worlds.mujoco.rover_scene import SEEN, RoverScene, rover_scene  # noqa: E402
from sensorium.sim.worlds.mujoco.terrain import TerrainRays  # noqa: E402

MOST_M = 30.0


@pytest.fixture(scope="module")
def grown() -> tuple[RoverScene, Any]:
    scene = rover_scene(RoverConfig(), 5)
    data = mujoco.MjData(scene.model)
    mujoco.mj_forward(scene.model, data)
    return scene, data


def turned(rng: np.random.Generator, most: float) -> np.ndarray:
    """A rotation [3, 3] by any yaw, then leant by up to `most`, rad."""
    rotation = np.empty(9)
    quaternion = np.empty(4)
    lean = rng.uniform(-most, most, 2)
    mujoco.mju_euler2Quat(quaternion, np.array([rng.uniform(-np.pi, np.pi), *lean]), "zxy")
    mujoco.mju_quat2Mat(rotation, quaternion)
    return rotation.reshape(3, 3)


def fan_of(
    caster: Caster,
    data: Any,
    place: np.ndarray,
    axes: np.ndarray,
    azimuth: np.ndarray,
    elevation: np.ndarray,
    met: np.ndarray,
) -> np.ndarray:
    """`near_fans` of one fan, from one place."""
    cuts = np.array([len(azimuth)])
    return caster.near_fans(caster.places(data)[None], place[None], axes[None], azimuth, elevation, cuts, met)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 9999),
    lean=st.floats(0, 1.5),
    inside=st.booleans(),
    wide=st.floats(0.1, 1.5),
    blocked=st.booleans(),
)
def test_a_ray_that_is_not_cast_meets_nothing_before_what_it_met(
    grown: tuple[RoverScene, Any], seed: int, lean: float, inside: bool, wide: float, blocked: bool
) -> None:
    scene, data = grown
    rng = np.random.default_rng(seed)
    place = np.array([*rng.uniform(-8, 8, 2), rng.uniform(0, 1.5)])
    if inside:  # the sphere around a rock
        geom = int(rng.choice(np.flatnonzero(scene.model.geom_group == SEEN)))
        place = data.geom_xpos[geom] + rng.uniform(-1, 1, 3) * scene.model.geom_rbound[geom] / 1.8
    azimuth, elevation = np.sort(rng.uniform(-np.pi, np.pi, 90)), np.linspace(-wide, wide, 9)
    climb, turn = np.meshgrid(elevation, azimuth)
    axes = turned(rng, lean)
    fan = np.stack([np.cos(climb) * np.cos(turn), np.cos(climb) * np.sin(turn), np.sin(climb)]).reshape(3, -1)
    rays = (axes @ fan).astype(np.float32)
    caster = Caster(scene.model, SEEN, MOST_M)
    every = caster.ranges(data, place, rays)
    before = rng.uniform(0.1, 10, len(every)).astype(np.float32) if blocked else np.full(len(every), np.inf, np.float32)
    near = fan_of(caster, data, place, axes, azimuth, elevation, before)
    found = before.copy()
    found[near] = np.minimum(found[near], caster.ranges(data, place, rays, near))
    assert (found == np.minimum(before, every)).all()


def test_most_rays_are_not_cast(grown: tuple[RoverScene, Any]) -> None:
    scene, data = grown
    caster, place = Caster(scene.model, SEEN, MOST_M), np.array([*scene.start[:2], 1.0])
    fan = np.eye(3), np.arange(-3.1, 3.1, 0.1), np.linspace(-0.3, 0.3, 16)
    near = fan_of(caster, data, place, *fan, np.full(62 * 16, np.inf, np.float32))
    assert 0 < len(near) < 62 * 16 / 4
    assert not len(fan_of(caster, data, place, *fan, np.full(62 * 16, 0.01, np.float32)))


def test_a_revolution_is_its_sectors_each_from_where_it_was(grown: tuple[RoverScene, Any]) -> None:
    scene, _ = grown
    site = scene.model.site("lidar").id
    caster, ground = Caster(scene.model, SEEN, MOST_M), TerrainRays(scene.ground, 24.0)
    shape = (8, 50, (-15.0, 15.0), 10.0)
    whole, parts = Lidar(*shape, 1, MOST_M), Lidar(*shape, 3, MOST_M)  # 17, 17 and 16 columns
    places = []
    for number in range(3):
        data = mujoco.MjData(scene.model)
        data.joint("rover").qpos[:3] = (number - 1, 0.3 * number, 1.0)
        mujoco.mj_forward(scene.model, data)
        places.append(data)
    moments = [round((number + 0.5) / 3 * 1e8) for number in range(3)]
    found = parts.revolution(caster, lambda at: places[moments.index(at)], site, ground, 0)
    alone = [whole.revolution(caster, lambda _, data=data: data, site, ground, 0) for data in places]  # type: ignore[misc]
    expected = np.hstack([alone[0][:, :17], alone[1][:, 17:34], alone[2][:, 34:]])
    assert found == pytest.approx(expected, abs=1e-3)
    assert (found > 0).mean() > 0.3
    assert np.abs(alone[0] - alone[1]).max() > 0.1
