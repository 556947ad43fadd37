"""A whole revolution of the rover's lidar, 16 x 360 rays, ms: ours against `mj_multiRay` over everything there is.

Both from the same place in the same world, noise in neither. CPU time, for a busy machine makes wall time anything.
`ours_in_sectors` is the revolution as the rover takes it, each sector from where it was then. What bounds it from below
is beside: `mj_multiRay` over the rays that ours gives it, without the ground, and one pass of numpy over all rays.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import mujoco
import numpy as np
from measuring import Comparison, Options, compared, main, rounded

from sensorium.sim.worlds.mujoco.lidar import HAS_NORMALS, Caster, Lidar
from sensorium.sim.worlds.mujoco.rover_config import RoverConfig
from sensorium.sim.worlds.mujoco.rover_scene import GROUND, SEEN, rover_scene
from sensorium.sim.worlds.mujoco.terrain import TerrainRays

MOST_M = 30.0


def measure(options: Options) -> Comparison:
    """Milliseconds a revolution; ranges of both agree, or it raises."""
    config = RoverConfig()
    scene = rover_scene(config, 3)
    model, data = scene.model, mujoco.MjData(scene.model)
    x, y, _ = scene.start
    data.joint("rover").qpos[2] = float(scene.ground.at(x, y)) + 0.25
    mujoco.mj_forward(model, data)
    site = model.site("lidar").id
    caster, ground = Caster(model, SEEN, MOST_M), TerrainRays(scene.ground, 24.0)
    shape = (config.lidar_beams, config.lidar_columns, (-15.0, 15.0), config.lidar_hz)
    whole, turning = Lidar(*shape, 1, MOST_M), Lidar(*shape, config.lidar_sectors, MOST_M)

    def ours(lidar: Lidar) -> Any:
        return lidar.revolution(caster, lambda _: data, site, ground, 0)

    seen = _all(model, data, site, whole)
    apart = np.abs(ours(whole) - seen)[(ours(whole) > 0) & (seen > 0)]
    if np.median(apart) > 0.05:
        raise RuntimeError(f"ours are {np.median(apart):.3f} m off MuJoCo's, in the median")
    times = 10 if options.quick else 200
    mine = [_ms(lambda: ours(whole), times) for _ in range(options.runs)]
    theirs = [_ms(lambda: _all(model, data, site, whole), max(1, times // 20)) for _ in range(options.runs)]
    near = nearby(caster, data, site, whole, ground)
    rays, passed = whole.rays(data.site_xmat[site].reshape(3, 3)), np.empty(whole.shape[0] * whole.shape[1], np.float32)
    detail = {
        "least_ms": round(min(mine), 3),
        "multiray_rays": len(near),
        "multiray_alone_ms": rounded([_ms(lambda: caster.ranges(data, data.site_xpos[site], rays, near), times)]),
        "multiray_of_all_without_ground_ms": rounded(
            [_ms(lambda: caster.ranges(data, data.site_xpos[site], rays), times)]
        ),
        "numpy_pass_ms": rounded([_ms(lambda: np.multiply(rays[0], rays[1], out=passed), times)]),
        "rays": whole.shape[0] * whole.shape[1],
        "ours_in_sectors_ms": rounded([_ms(lambda: ours(turning), times)]),
        "sectors": config.lidar_sectors,
        "median_apart_m": round(float(np.median(apart)), 4),
        "against": "mj_multiRay over the height field and all else that rays can meet",
    }
    return compared("lidar", mine, theirs, "ms", False, detail)


def nearby(caster: Caster, data: Any, site: int, lidar: Lidar, ground: TerrainRays) -> Any:
    """The rays [n] that ours casts by MuJoCo: near a geom before they meet the ground."""
    origin, axes = data.site_xpos[site], data.site_xmat[site].reshape(3, 3)
    met, cuts = ground.ranges(origin, lidar.rays(axes)), np.array([lidar.shape[1]])
    return caster.near_fans(
        caster.places(data)[None], origin[None], axes[None], lidar.azimuth, lidar.elevation, cuts, met
    )


def _all(model: Any, data: Any, site: int, lidar: Lidar) -> Any:
    """Ranges [beams, columns] of MuJoCo alone."""
    turn, climb = np.meshgrid(lidar.azimuth, lidar.elevation)
    rays = np.stack([np.cos(climb) * np.cos(turn), np.cos(climb) * np.sin(turn), np.sin(climb)], axis=-1)
    flat = np.ascontiguousarray(rays.reshape(-1, 3) @ data.site_xmat[site].reshape(3, 3).T)
    groups = np.zeros(mujoco.mjNGROUP, np.uint8)
    groups[[SEEN, GROUND]] = 1
    found, geoms = np.empty(len(flat)), np.empty(len(flat), np.int32)
    beside = (None,) if HAS_NORMALS else ()
    mujoco.mj_multiRay(
        model, data, data.site_xpos[site], flat.ravel(), groups, 1, -1, geoms, found, *beside, len(flat), MOST_M
    )
    return np.where(geoms < 0, 0, found).reshape(lidar.shape)


def _ms(call: Callable[[], object], times: int) -> float:
    """The median CPU time of a call, ms."""
    took = []
    for _ in range(times):
        began_s = time.process_time()
        call()
        took.append(1e3 * (time.process_time() - began_s))
    return statistics.median(took)


if __name__ == "__main__":
    main(__doc__ or "", measure, runs=5)
