"""Rays meet the ground where it is, on any ground, from anywhere above it, in any direction."""

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sensorium.sim.worlds.mujoco.terrain import Terrain, TerrainRays


def stepped(ground: Terrain, origin: np.ndarray, ray: np.ndarray, most_m: float) -> float:
    """The same by small steps along the ray."""
    along = np.arange(0.0, most_m, 0.01)
    places = origin + along[:, None] * ray
    below = ground.at(places[:, 0], places[:, 1]) > places[:, 2]
    return float(along[below.argmax()]) if below.any() else float("inf")


@settings(max_examples=25, deadline=None)
@example(seed=101, above=1.125, tilt=0.0)
@given(seed=st.integers(0, 999), above=st.floats(0.2, 1.2), tilt=st.floats(-0.4, 0.4))
def test_rays_meet_it_where_small_steps_do(seed: int, above: float, tilt: float) -> None:
    rng = np.random.default_rng(seed)
    ground = Terrain.grown(rng, 10.0, 64, 0.22, 0.02)
    x, y = rng.uniform(-7, 7, 2)
    origin = np.array([x, y, float(ground.at(x, y)) + above])
    turn, climb = rng.uniform(-np.pi, np.pi, 40), rng.uniform(-0.6, 0.1, 40) + tilt
    rays = np.stack([np.cos(turn) * np.cos(climb), np.sin(turn) * np.cos(climb), np.sin(climb)], axis=1)
    found = TerrainRays(ground, 20.0).ranges(origin, rays.T.astype(np.float32))
    expected = np.array([stepped(ground, origin, ray, 15.0) for ray in rays])
    both = (expected < 14) & (found < 14)
    ends = origin + rays * np.minimum(expected, 15)[:, None]
    inside = np.abs(ends[:, :2]).max(axis=1) < 9.5  # at its border the ground just ends
    assert (np.isfinite(found) | (expected > 14) | ~inside).mean() > 0.95
    met = origin + rays[both] * found[both, None]
    assert np.abs(met[:, 2] - ground.at(met[:, 0], met[:, 1])).max(initial=0) < 0.08
    if both.any():
        assert np.median(np.abs(found[both] - expected[both])) < 0.03


def test_a_flat_ground_is_met_exactly() -> None:
    rays = TerrainRays(Terrain(np.zeros((33, 33), np.float32), 10.0), 20.0)
    down = np.radians([-90.0, -45.0, -10.0, 0.0, 30.0])
    found = rays.ranges(np.array([0.0, 0.0, 1.0]), np.stack([np.cos(down), 0 * down, np.sin(down)]).astype(np.float32))
    assert np.allclose(found[:3], 1 / np.sin(-down[:3]), atol=1e-3)
    assert np.isinf(found[3:]).all()


def test_where_nothing_is_met() -> None:
    rays = TerrainRays(Terrain(np.zeros((9, 9), np.float32), 2.0), 5.0)
    assert np.isinf(rays.ranges(np.array([0.0, 0.0, 1.0]), np.array([[0, 1], [0, 0], [1, 0]], np.float32))).all()


def test_the_ground_grows_from_its_seed_and_rises_to_a_rim() -> None:
    one, same, other = (Terrain.grown(np.random.default_rng(seed), 10.0, 64, 0.2, 0.02) for seed in (1, 1, 2))
    assert (one.heights == same.heights).all()
    assert not (one.heights == other.heights).all()
    assert one.heights.min() == 0
    assert one.heights[0].min() > np.median(one.heights) + 0.5
