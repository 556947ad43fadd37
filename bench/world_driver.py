"""World driver: pictures a second of a world that runs by itself as a driver, against a bare step-and-render loop.

The world is `sim-rover` where MuJoCo and OpenGL can be had, else `sim-planar`; the loop has the same model, cameras,
rates and actions, and makes nothing else: no lidar, no rows, no noise, no stamps. `cpu_ratio_without_lidar` is of a
rover that has none, as the loop has.
"""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from measuring import Comparison, Options, compared, main, rounded

from sensorium.drivers.stream import Block
from sensorium.errors import ConfigError
from sensorium.sim.worlds.chosen import world_config
from sensorium.sim.worlds.config import WorldConfig
from sensorium.sim.worlds.playing import steps
from sensorium.sim.worlds.scene import PlanarScene
from sensorium.sim.worlds.ticks import ticks
from sensorium.sim.worlds.trajectory import Trajectory

SECONDS = 8.0
SEED = 3
NO_LIDAR: dict[str, Any] = {"lidar_hz": 0.05}
"""Its first revolution would be whole after the run."""
QUICK: dict[str, Any] = {"seconds": 0.5, "size": (32, 24)}
PICTURES = {
    "sim-rover": {"left": "camera_hz", "right": "camera_hz", "depth": "depth_hz"},
    "sim-planar": {"cam": "camera_hz"},
}


@dataclass(frozen=True, slots=True)
class Took:
    """How many pictures were made, in how much wall and CPU time, s."""

    pictures: int
    wall_s: float
    cpu_s: float

    @property
    def per_s(self) -> float:
        return self.pictures / self.wall_s


def measure(options: Options) -> Comparison:
    """Pictures a second, interleaved; making the world and its first reset are in neither."""
    config = the_world(**QUICK) if options.quick else the_world(SECONDS)
    blind = config.model_copy(update=NO_LIDAR) if config.kind == "sim-rover" else config
    ours: list[Took] = []
    without: list[Took] = []
    bare: list[Took] = []
    for run in range(options.runs):
        sides = [(ours, driven, config), (without, driven, blind), (bare, bare_loop, config)]
        for took, side, played in sides if run % 2 == 0 else sides[::-1]:
            took.append(side(played))
    detail = {
        "world": config.kind,
        "simulated_s": config.duration_s,
        "pictures": ours[0].pictures,
        "cpu_ms_each": rounded([1e3 * each.cpu_s / each.pictures for each in ours]),
        "against_cpu_ms_each": rounded([1e3 * each.cpu_s / each.pictures for each in bare]),
        "cpu_ratio": cpu_ratio(ours, bare),
        "cpu_ratio_without_lidar": cpu_ratio(without, bare),
        "against": "stepping and drawing alone: same model, actions, cameras and rates; no other sensor",
    }
    return compared(
        "world_driver", [each.per_s for each in ours], [each.per_s for each in bare], "frames/s", True, detail
    )


def cpu_ratio(ours: Sequence[Took], bare: Sequence[Took]) -> float:
    """CPU a picture of the bare loop over ours, by their medians."""
    mine, theirs = (statistics.median(each.cpu_s / each.pictures for each in took) for took in (ours, bare))
    return round(theirs / mine, 3)


def the_world(seconds: float, **more: Any) -> WorldConfig:
    """`sim-rover` for so long, if it can be made and drawn here, else `sim-planar`."""
    settings = {"duration_s": seconds, "pace": "fast", "seed": SEED, "task": "roam", **more}
    try:
        config = world_config("sim-rover", settings)
        world = config.make()
        world.reset(SEED, "roam")
        world.close()
    except ConfigError:
        return world_config("sim-planar", {**settings, "task": ""})
    return config


def driven(config: WorldConfig) -> Took:
    """The driver, read as an agent reads it, from the first thing that comes out on."""
    wanted = {f"w.{name}" for name in PICTURES[config.kind]}
    driver = config.open("w", Path())
    driver.read(60.0)
    driver.read(60.0)
    began_s, cpu_s = time.perf_counter(), time.process_time()
    pictures = 0
    while (got := driver.read(60.0)) is not None:
        pictures += sum(len(each) for each in got if isinstance(each, Block) and each.stream in wanted)
    took = Took(pictures, time.perf_counter() - began_s, time.process_time() - cpu_s)
    driver.close()
    return took


def bare_loop(config: WorldConfig) -> Took:
    """Nothing but physics and pictures."""
    return {"sim-rover": _bare_rover, "sim-planar": _bare_planar}[config.kind](config)


def _bare_planar(config: Any) -> Took:
    width, height = config.size
    scene, motion = PlanarScene(config.seed, width, height, config.fov_deg, config.color), Trajectory(config.seed)
    stamps = ticks(config.camera_hz, -1, round(config.duration_s * 1e9) - 1)
    began_s, cpu_s = time.perf_counter(), time.process_time()
    for stamp in stamps:
        body = motion.at(np.array([stamp / 1e9]))
        scene.render(body.position[0], body.rotation[0])
    return Took(len(stamps), time.perf_counter() - began_s, time.process_time() - cpu_s)


def _bare_rover(config: Any) -> Took:
    import mujoco

    world: Any = config.make()
    world.reset(config.seed, config.task)
    acts = actions_of(config)
    model, renderer = world.physics.model, world._drawing
    data = mujoco.MjData(model)
    mujoco.mj_setState(model, data, _state(world.physics), mujoco.mjtState.mjSTATE_INTEGRATION)
    mujoco.mj_forward(model, data)
    width, height = config.size
    pixels = np.empty((height, width, 3), np.uint8)
    depth = np.empty((height, width), np.float32)
    views = {
        name: (int(model.camera("left" if name == "depth" else name).id), depth if name == "depth" else None, rate)
        for name, rate in ((name, getattr(config, field)) for name, field in PICTURES["sim-rover"].items())
    }
    step_ns = world.physics.step_ns
    due = sorted(
        (int(stamp) // step_ns, name)
        for name, (_, _, rate) in views.items()
        for stamp in ticks(rate, -1, round(config.duration_s * 1e9))
    )
    began_s, cpu_s = time.perf_counter(), time.process_time()
    at = acted = 0
    per_action = world.specs.step_ns // step_ns
    for index, name in due:
        while at < index:
            if at == acted * per_action and acted < len(acts):
                left, right = acts[acted]
                data.ctrl[:] = (left, right, left, right)
                acted += 1
            until = min(index, acted * per_action)
            mujoco.mj_step(model, data, until - at)
            at = until
        camera, into, _ = views[name]
        renderer._draw(data, camera, config.size, pixels, into)
    took = Took(len(due), time.perf_counter() - began_s, time.process_time() - cpu_s)
    world.close()
    return took


def _state(physics: Any) -> Any:
    import mujoco

    size = mujoco.mj_stateSize(physics.model, mujoco.mjtState.mjSTATE_INTEGRATION)
    state = np.empty(size)
    mujoco.mj_getState(physics.model, physics.data, state, mujoco.mjtState.mjSTATE_INTEGRATION)
    return state


_acted: dict[str, list[Any]] = {}


def actions_of(config: WorldConfig) -> list[Any]:
    """What the world's own motion does, found once."""
    key = config.model_dump_json()
    if key not in _acted:
        world = config.make()
        most = int((config.duration_s or 0.0) * 1e9) // world.specs.step_ns
        made = steps(world, config.seed, config.task or next(iter(world.tasks)), most=most)
        _acted[key] = [step.action for step in made if step.action is not None]
        world.close()
    return _acted[key]


if __name__ == "__main__":
    main(__doc__ or "", measure, runs=5)
