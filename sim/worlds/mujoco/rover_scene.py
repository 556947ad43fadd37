"""The rover's surroundings and body, grown from a seed as one MJCF text: ground, rocks, crates, a beacon."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sensorium.sim.worlds.mujoco.optics import Mount, field_of_view_y, numbers
from sensorium.sim.worlds.mujoco.paint import PALETTES, mottled, striped
from sensorium.sim.worlds.mujoco.physics import compiled, fill_texture
from sensorium.sim.worlds.mujoco.rover_config import ASPECTS, RoverConfig
from sensorium.sim.worlds.mujoco.terrain import Terrain

Floats = npt.NDArray[np.float64]

HALF_M = 10.0
CELLS = 64
INSIDE_M = 7.6
"""Nothing is put, and nobody sent, farther out: there the ground rises to a rim."""
STEP_S = 0.0025
TRACK_M, BASE_M, WHEEL_M, WHEEL_WIDE_M = 0.46, 0.44, 0.13, 0.09
SEEN, GROUND, OWN = 0, 1, 2
"""Groups of geoms: what rays look for, the ground, which they meet in another way, and the rover itself."""
WHEELS = ("fl", "fr", "rl", "rr")
MOUNTS: Mapping[str, Mount] = {
    "left": Mount.looking((0.22, 0.06, 0.34), np.radians(9)),
    "right": Mount.looking((0.22, -0.06, 0.34), np.radians(9)),
    "imu": Mount.straight((-0.05, 0.0, 0.02)),
    "lidar": Mount.straight((0.05, 0.0, 0.46)),
}
_TEXTURE_PX = 256


@dataclass(frozen=True)
class Thing:
    """What stands on the ground: at x, y, m, with a radius, m, and whether it can be pushed."""

    x: float
    y: float
    radius: float
    loose: bool = False


@dataclass(frozen=True)
class RoverScene:
    """One world as it begins. `labels` are names by number, 0 nothing; `facts` are what nobody but the truth knows."""

    model: Any
    ground: Terrain
    things: tuple[Thing, ...]
    goal: Floats
    start: Floats
    labels: tuple[str, ...]
    geom_labels: npt.NDArray[np.uint16]
    mounts: Mapping[str, Mount]
    facts: Mapping[str, float]


def label_names(rocks: int, crates: int) -> tuple[str, ...]:
    """What each number of the segmentation and of contacts is."""
    return (
        "nothing", "ground", "beacon", "chassis", *(f"wheel {name}" for name in WHEELS),
        *(f"rock {number}" for number in range(rocks)), *(f"crate {number}" for number in range(crates)),
    )  # fmt: skip


def rover_scene(config: RoverConfig, seed: int) -> RoverScene:
    """Grow it; what the configuration does not randomise is as with seed 0, whatever the seed.

    Raises:
        ConfigError: the model does not compile.
    """
    rocks, crates, roughness = config.rocks, config.crates, config.roughness
    rngs = {
        aspect: np.random.default_rng([seed if aspect in config.randomise else 0, 100 + number])
        for number, aspect in enumerate(ASPECTS)
    }
    ground = Terrain.grown(rngs["terrain"], HALF_M, CELLS, 0.22 * roughness, 0.02 * roughness)
    start, goal, things = _placed(rngs["objects"], ground, rocks, crates)
    mounts = {name: mount.shaken(rngs["placement"], 0.003, 0.006) for name, mount in MOUNTS.items()}
    light, masses = rngs["light"], rngs["masses"]
    facts = {
        "sun_azimuth_rad": light.uniform(-np.pi, np.pi),
        "sun_elevation_rad": light.uniform(np.radians(25), np.radians(75)),
        "sun": light.uniform(0.55, 0.95),
        "sky": light.uniform(0.25, 0.45),
        "chassis_kg": masses.uniform(9.0, 14.0),
        "wheel_kg": masses.uniform(0.7, 1.1),
        "friction": masses.uniform(0.75, 1.05),
        "crate_kg": masses.uniform(0.6, 2.5),
        "charge": masses.uniform(0.6, 1.0),
    }
    names = label_names(rocks, crates)
    body = _rover(mounts, facts, start, field_of_view_y(config.size, config.fov_deg))
    shapes, stones = _things(rngs["objects"], ground, things, facts)
    xml = _text(facts, ground, shapes, stones, body, _beacon(goal), config.shadows)
    model = compiled("sim-rover", xml)
    model.hfield_data[:] = (ground.heights / ground.top_m).ravel()
    palette = PALETTES[int(rngs["textures"].integers(len(PALETTES)))]
    fill_texture(model, "ground", mottled(rngs["textures"], _TEXTURE_PX, _TEXTURE_PX, palette))
    fill_texture(model, "rock", mottled(rngs["textures"], 6 * 64, 64, palette[::-1], 50))
    fill_texture(model, "crate", mottled(rngs["textures"], 6 * 64, 64, PALETTES[3], 20))
    fill_texture(model, "beacon", striped(64, 64, 8, (240, 80, 20), (250, 250, 250)))
    return RoverScene(model, ground, things, goal, start, names, _geom_labels(model, names), mounts, facts)


def _placed(
    rng: np.random.Generator, ground: Terrain, rocks: int, crates: int
) -> tuple[Floats, Floats, tuple[Thing, ...]]:
    """Where the rover begins (x y yaw) and the beacon stands (x y z), and what lies between, clear of both."""
    yaw = rng.uniform(-np.pi, np.pi)
    start = np.array([*rng.uniform(-4.5, 4.5, 2), yaw])
    while True:
        away = rng.uniform(4.0, 7.0)
        bearing = rng.uniform(-np.pi, np.pi)
        x, y = start[0] + away * np.cos(bearing), start[1] + away * np.sin(bearing)
        if max(abs(x), abs(y)) < INSIDE_M:
            break
    goal = np.array([x, y, float(ground.at(x, y))])
    things: list[Thing] = []
    for number in range(rocks + crates):
        loose = number >= rocks
        radius = float(rng.uniform(0.13, 0.2) if loose else rng.uniform(0.12, 0.42))
        for _ in range(200):
            x, y = (float(value) for value in rng.uniform(-INSIDE_M, INSIDE_M, 2))
            gaps = [np.hypot(x - other.x, y - other.y) - other.radius for other in things]
            if (
                np.hypot(x - start[0], y - start[1]) > radius + 0.8
                and np.hypot(x - goal[0], y - goal[1]) > radius + 0.7
                and min(gaps, default=9.0) > radius + 0.15
            ):
                break
        things.append(Thing(x, y, radius, loose))
    return start, goal, tuple(things)


def _things(
    rng: np.random.Generator, ground: Terrain, things: tuple[Thing, ...], facts: Mapping[str, float]
) -> tuple[str, str]:
    """Rocks, each a hull of its own, half in the ground; and crates, a little above it. Assets, then bodies."""
    assets, bodies = [], []
    for number, thing in enumerate(things):
        z = float(ground.at(thing.x, thing.y))
        if thing.loose:
            half = thing.radius / np.sqrt(2) * rng.uniform(0.85, 1.0, 3)
            turn = rng.uniform(-np.pi, np.pi)
            bodies.append(
                f'<body name="thing{number}" pos="{numbers([thing.x, thing.y, z + half[2] + 0.05])}"'
                f' quat="{numbers([np.cos(turn / 2), 0, 0, np.sin(turn / 2)])}"><freejoint/>'
                f'<geom name="thing{number}" type="box" size="{numbers(half)}" mass="{facts["crate_kg"]!r}"'
                ' material="crate"/></body>'
            )
            continue
        points = rng.standard_normal((16, 3))
        points *= rng.uniform(0.75, 1.0, (16, 1)) * thing.radius / np.linalg.norm(points, axis=1, keepdims=True)
        points[:, 2] *= rng.uniform(0.6, 1.0)
        assets.append(f'<mesh name="rock{number}" vertex="{numbers(points)}"/>')
        bodies.append(
            f'<body name="thing{number}" pos="{numbers([thing.x, thing.y, z + 0.15 * thing.radius])}">'
            f'<geom name="thing{number}" type="mesh" mesh="rock{number}" material="rock"/></body>'
        )
    return "".join(assets), "".join(bodies)


def _rover(mounts: Mapping[str, Mount], facts: Mapping[str, float], start: Floats, fov_y: float) -> str:
    paint = 'contype="0" conaffinity="0" mass="0"'
    wheels = "".join(_wheel(name, facts["wheel_kg"], facts["friction"]) for name in WHEELS)
    cameras = "".join(
        f'<camera name="{name}" {mounts[name].camera_attributes()} fovy="{fov_y!r}"/>' for name in ("left", "right")
    )
    half_yaw = start[2] / 2
    return f"""
<body name="rover" pos="{numbers([start[0], start[1], 5])}"
      quat="{numbers([np.cos(half_yaw), 0, 0, np.sin(half_yaw)])}">
  <freejoint name="rover"/>
  <geom name="chassis" class="own" type="box" size=".27 .16 .06" mass="{facts["chassis_kg"]!r}" rgba=".85 .85 .88 1"/>
  <geom class="own" {paint} type="box" size=".2 .15 .012" pos="-.05 0 .075" rgba=".08 .1 .25 1"/>
  <geom class="own" {paint} type="cylinder" size=".018 .14" pos=".2 0 .2" rgba=".3 .3 .3 1"/>
  <geom class="own" {paint} type="box" size=".02 .08 .02" pos=".19 0 .35" rgba=".15 .15 .15 1"/>
  <geom class="own" {paint} type="cylinder" size=".015 .17" pos=".05 0 .25" rgba=".3 .3 .3 1"/>
  <geom class="own" {paint} type="cylinder" size=".05 .03" pos=".05 0 .46" rgba=".1 .1 .1 1"/>
  <site name="imu" {mounts["imu"].attributes()}/>
  <site name="lidar" {mounts["lidar"].attributes()}/>
  <site name="body"/>
  {cameras}{wheels}
</body>"""


def _wheel(name: str, mass: float, friction: float) -> str:
    x = BASE_M / 2 if name[0] == "f" else -BASE_M / 2
    y = TRACK_M / 2 if name[1] == "l" else -TRACK_M / 2
    paint = 'contype="0" conaffinity="0" mass="0"'
    spokes = "".join(
        f'<geom class="own" {paint} type="box" size="{WHEEL_M * 0.95} {WHEEL_WIDE_M * 0.53} .012"'
        f' euler="0 {angle} 0" rgba=".75 .6 .1 1"/>'
        for angle in (0, 60, 120)
    )
    return f"""
<body name="wheel_{name}" pos="{x} {y} -.06">
  <joint name="spring_{name}" type="slide" axis="0 0 1" range="-.06 .06" limited="true" stiffness="2200" damping="90"
         springref="-.015"/>
  <joint name="wheel_{name}" axis="0 1 0" armature=".01" damping=".02"/>
  <geom name="wheel_{name}" class="own" type="cylinder" size="{WHEEL_M} {WHEEL_WIDE_M / 2}" euler="90 0 0"
        mass="{mass!r}" friction="{friction!r} .02 .002" condim="4" rgba=".12 .12 .13 1"/>{spokes}
</body>"""


def _beacon(goal: Floats) -> str:
    return f"""
<body name="beacon" pos="{numbers(goal)}">
  <geom name="beacon_pole" type="cylinder" size=".07 .5" pos="0 0 .45" material="beacon"/>
  <geom name="beacon_head" type="sphere" size=".16" pos="0 0 1.05" rgba="1 .35 .05 1" material="glow"/>
</body>"""


def _text(
    facts: Mapping[str, float], ground: Terrain, shapes: str, stones: str, rover: str, beacon: str, shadows: bool
) -> str:
    azimuth, elevation = facts["sun_azimuth_rad"], facts["sun_elevation_rad"]
    down = -np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])
    sky, sun = facts["sky"], facts["sun"]
    motors = "".join(
        f'<velocity name="wheel_{name}" joint="wheel_{name}" kv="4" forcelimited="true" forcerange="-10 10"/>'
        for name in WHEELS
    )
    encoders = "".join(f'<jointpos name="angle_{name}" joint="wheel_{name}"/>' for name in WHEELS)
    return f"""
<mujoco model="rover">
  <compiler angle="degree"/>
  <option timestep="{STEP_S}" integrator="implicitfast" gravity="0 0 -9.80665"><flag autoreset="disable"/></option>
  <statistic extent="1" center="0 0 0"/>
  <visual>
    <global offwidth="64" offheight="64"/>
    <quality offsamples="0" shadowsize="{2048 if shadows else 0}"/>
    <map znear=".04" zfar="60"/>
    <headlight ambient="{sky} {sky} {sky}" diffuse=".1 .1 .1" specular="0 0 0"/>
  </visual>
  <default>
    <geom group="{SEEN}" friction="{facts["friction"]!r} .02 .002"/>
    <default class="own"><geom group="{OWN}"/></default>
  </default>
  <asset>
    <texture name="sky" type="skybox" builtin="gradient" rgb1=".45 .6 .85" rgb2=".85 .85 .8" width="64" height="384"/>
    <texture name="ground" type="2d" builtin="flat" width="{_TEXTURE_PX}" height="{_TEXTURE_PX}"/>
    <texture name="rock" type="cube" builtin="flat" width="64" height="384"/>
    <texture name="crate" type="cube" builtin="flat" width="64" height="384"/>
    <texture name="beacon" type="2d" builtin="flat" width="64" height="64"/>
    <material name="ground" texture="ground" texrepeat="5 5" specular="0" shininess="0"/>
    <material name="rock" texture="rock" specular="0" shininess="0"/>
    <material name="crate" texture="crate" specular="0" shininess="0"/>
    <material name="beacon" texture="beacon" texrepeat="1 1" specular="0"/>
    <material name="glow" emission=".6"/>
    <hfield name="ground" nrow="{CELLS + 1}" ncol="{CELLS + 1}" size="{HALF_M} {HALF_M} {ground.top_m!r} .5"/>
    {shapes}
  </asset>
  <worldbody>
    <light name="sun" directional="true" dir="{numbers(down)}" diffuse="{sun} {sun} {sun * 0.95}" specular="0 0 0"
           castshadow="{"true" if shadows else "false"}"/>
    <geom name="ground" type="hfield" hfield="ground" group="{GROUND}" material="ground"/>
    {stones}{beacon}{rover}
  </worldbody>
  <actuator>{motors}</actuator>
  <sensor>
    <gyro name="gyro" site="imu"/><accelerometer name="accelerometer" site="imu"/>
    <framepos name="position" objtype="site" objname="body"/>
    <framequat name="quaternion" objtype="site" objname="body"/>
    <framelinvel name="velocity" objtype="site" objname="body"/>
    <gyro name="spin" site="body"/>{encoders}
  </sensor>
</mujoco>"""


def _geom_labels(model: Any, names: tuple[str, ...]) -> npt.NDArray[np.uint16]:
    """What each geom is, and behind the last what nothing is."""
    labels = np.zeros(model.ngeom + 1, np.uint16)
    for geom in range(model.ngeom):
        body = model.body(model.geom_bodyid[geom]).name
        if body.startswith("thing"):
            labels[geom] = names.index("wheel rr") + 1 + int(body.removeprefix("thing"))
        elif body.startswith("wheel"):
            labels[geom] = names.index(body.replace("_", " "))
        else:
            labels[geom] = {"world": 1, "beacon": 2, "rover": 3}[body]
    return labels
