"""The drone's surroundings and body, grown from a seed as one MJCF text: ground, blocks, the places of a route."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sensorium.sim.worlds.mujoco.autopilot import ARM_M, MOST_N, MOTORS, YAW_M
from sensorium.sim.worlds.mujoco.contacts import labels_by_name
from sensorium.sim.worlds.mujoco.drone_config import DRONE_ASPECTS, DroneConfig
from sensorium.sim.worlds.mujoco.optics import Mount, field_of_view_y, numbers
from sensorium.sim.worlds.mujoco.paint import PALETTES, mottled
from sensorium.sim.worlds.mujoco.physics import compiled, fill_texture
from sensorium.sim.worlds.mujoco.terrain import Terrain

Floats = npt.NDArray[np.float64]

DRONE_HALF_M = 12.0
STEP_S = 0.001
STOPS = 4
SEEN, GROUND, OWN, SIGN = 0, 1, 2, 3
"""Groups of geoms: what rays look for, the ground, the drone itself, and signs that only cameras see."""
LABELS = ("nothing", "ground", "drone", "stop", "block")
DRONE_MOUNTS: Mapping[str, Mount] = {
    "cam": Mount(np.array([0.03, 0.0, -0.04]), np.array([[0.0, -1, 0], [-1, 0, 0], [0, 0, -1]])),
    "imu": Mount.straight((0.0, 0.0, 0.01)),
    "range": Mount.straight((-0.03, 0.0, -0.04)),
}
_CELLS = 64
_TEXTURE_PX = 512


@dataclass(frozen=True)
class DroneScene:
    """One world as it begins: `stops` [n, 3] in their order, m; `start` is x y z yaw."""

    model: Any
    ground: Terrain
    stops: Floats
    start: Floats
    geom_labels: npt.NDArray[np.uint16]
    mounts: Mapping[str, Mount]
    facts: Mapping[str, float]


def drone_scene(config: DroneConfig, seed: int) -> DroneScene:
    """Grow it; what the configuration does not randomise is as with seed 0, whatever the seed.

    Raises:
        ConfigError: the model does not compile.
    """
    rngs = {
        aspect: np.random.default_rng([seed if aspect in config.randomise else 0, 150 + number])
        for number, aspect in enumerate(DRONE_ASPECTS)
    }
    ground = Terrain.grown(rngs["terrain"], DRONE_HALF_M, _CELLS, 0.3, 0.03)
    objects, light, masses = rngs["objects"], rngs["light"], rngs["masses"]
    places = objects.uniform(-6.5, 6.5, (STOPS + 1, 2))
    heights = ground.at(places[:, 0], places[:, 1]) + objects.uniform(2.5, 4.5, STOPS + 1)
    stops = np.column_stack([places, heights])
    start = np.array([*stops[0], objects.uniform(-np.pi, np.pi)])
    facts = {
        "drone_kg": masses.uniform(1.0, 1.4),
        "sun_azimuth_rad": light.uniform(-np.pi, np.pi),
        "sun_elevation_rad": light.uniform(np.radians(25), np.radians(75)),
        "sun": light.uniform(0.5, 0.9),
        "sky": light.uniform(0.3, 0.45),
        "field_x": 21.4,
        "field_y": -1.0,
        "field_z": -43.1,
        "sea_level_hpa": masses.uniform(1000.0, 1025.0),
    }
    mounts = {name: mount.shaken(rngs["placement"], 0.002, 0.006) for name, mount in DRONE_MOUNTS.items()}
    fov_y = field_of_view_y(config.size, config.fov_deg)
    event_fov_y = field_of_view_y(config.event_size, config.fov_deg)
    blocks = _blocks(objects, ground, config.objects)
    signs = "".join(
        f'<geom name="stop{number}" type="sphere" size=".12" pos="{numbers(stop)}" group="{SIGN}" contype="0"'
        ' conaffinity="0" rgba="1 .3 .1 1"/>'
        for number, stop in enumerate(stops[1:])
    )
    body = _drone(mounts, facts["drone_kg"], start, fov_y, event_fov_y)
    model = compiled("sim-drone", _text(facts, ground, blocks + signs, body, config.shadows))
    model.hfield_data[:] = (ground.heights / ground.top_m).ravel()
    textures = rngs["textures"]
    palette = PALETTES[int(textures.integers(len(PALETTES)))]
    fill_texture(model, "ground", mottled(textures, _TEXTURE_PX, _TEXTURE_PX, palette))
    fill_texture(model, "block", mottled(textures, 6 * 64, 64, PALETTES[int(textures.integers(len(PALETTES)))], 50))
    return DroneScene(model, ground, stops[1:], start, labels_by_name(model, LABELS, "drone"), mounts, facts)


def _blocks(rng: np.random.Generator, ground: Terrain, count: int) -> str:
    made = []
    for number in range(count):
        x, y = rng.uniform(-8.5, 8.5, 2)
        half = rng.uniform((0.15, 0.15, 0.1), (0.7, 0.7, 0.9))
        turn = rng.uniform(0, np.pi)
        shade = rng.uniform(0.35, 1.0, 3)
        made.append(
            f'<geom name="block{number}" type="box" size="{numbers(half)}" material="block"'
            f' rgba="{numbers([*shade, 1])}" pos="{numbers([x, y, float(ground.at(x, y)) + 0.6 * half[2]])}"'
            f' quat="{numbers([np.cos(turn / 2), 0, 0, np.sin(turn / 2)])}"/>'
        )
    return "".join(made)


def _drone(mounts: Mapping[str, Mount], mass: float, start: Floats, fov_y: float, event_fov_y: float) -> str:
    paint = 'class="own" contype="0" conaffinity="0" mass="0"'
    motors = "".join(
        f'<geom {paint} type="cylinder" size=".07 .006" pos="{x * ARM_M} {y * ARM_M} .03" rgba=".2 .2 .2 .9"/>'
        f'<site name="motor{number}" pos="{x * ARM_M} {y * ARM_M} .03"/>'
        for number, (x, y, _) in enumerate(MOTORS)
    )
    half = start[3] / 2
    return f"""
<body name="drone" pos="{numbers(start[:3])}" quat="{numbers([np.cos(half), 0, 0, np.sin(half)])}">
  <freejoint name="drone"/>
  <geom name="hull" class="own" type="box" size=".09 .06 .03" mass="{mass!r}" rgba=".9 .9 .2 1"/>
  <geom {paint} type="box" size=".2 .012 .008" euler="0 0 45" rgba=".15 .15 .15 1"/>
  <geom {paint} type="box" size=".2 .012 .008" euler="0 0 -45" rgba=".15 .15 .15 1"/>
  {motors}
  <site name="body"/><site name="imu" {mounts["imu"].attributes()}/><site name="range" {mounts["range"].attributes()}/>
  <camera name="cam" {mounts["cam"].camera_attributes()} fovy="{fov_y!r}"/>
  <camera name="events" {mounts["cam"].camera_attributes()} fovy="{event_fov_y!r}"/>
</body>"""


def _text(facts: Mapping[str, float], ground: Terrain, things: str, drone: str, shadows: bool) -> str:
    azimuth, elevation = facts["sun_azimuth_rad"], facts["sun_elevation_rad"]
    down = -np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])
    sky, sun = facts["sky"], facts["sun"]
    motors = "".join(
        f'<motor name="motor{number}" site="motor{number}" gear="0 0 1 0 0 {YAW_M * turn}" ctrlrange="0 {MOST_N}"'
        ' ctrllimited="true"/>'
        for number, (_, _, turn) in enumerate(MOTORS)
    )
    return f"""
<mujoco model="drone">
  <compiler angle="degree"/>
  <option timestep="{STEP_S}" integrator="Euler" gravity="0 0 -9.80665"><flag autoreset="disable"/></option>
  <statistic extent="1" center="0 0 0"/>
  <visual>
    <global offwidth="64" offheight="64"/>
    <quality offsamples="0" shadowsize="{2048 if shadows else 0}"/>
    <map znear=".03" zfar="60"/>
    <headlight ambient="{sky} {sky} {sky}" diffuse=".1 .1 .1" specular="0 0 0"/>
  </visual>
  <default><geom group="{SEEN}"/><default class="own"><geom group="{OWN}"/></default></default>
  <asset>
    <texture name="sky" type="skybox" builtin="gradient" rgb1=".45 .6 .85" rgb2=".85 .85 .8" width="64" height="384"/>
    <texture name="ground" type="2d" builtin="flat" width="{_TEXTURE_PX}" height="{_TEXTURE_PX}"/>
    <texture name="block" type="cube" builtin="flat" width="64" height="384"/>
    <material name="ground" texture="ground" texrepeat="4 4" specular="0" shininess="0"/>
    <material name="block" texture="block" specular="0" shininess="0"/>
    <hfield name="ground" nrow="{_CELLS + 1}" ncol="{_CELLS + 1}"
            size="{DRONE_HALF_M} {DRONE_HALF_M} {ground.top_m!r} .5"/>
  </asset>
  <worldbody>
    <light name="sun" directional="true" dir="{numbers(down)}" diffuse="{sun} {sun} {sun * 0.95}" specular="0 0 0"
           castshadow="{"true" if shadows else "false"}"/>
    <geom name="ground" type="hfield" hfield="ground" group="{GROUND}" material="ground"/>
    {things}{drone}
  </worldbody>
  <actuator>{motors}</actuator>
  <sensor>
    <gyro name="gyro" site="imu"/><accelerometer name="accelerometer" site="imu"/>
    <framepos name="position" objtype="site" objname="body"/>
    <framequat name="quaternion" objtype="site" objname="body"/>
    <framelinvel name="velocity" objtype="site" objname="body"/><gyro name="spin" site="body"/>
  </sensor>
</mujoco>"""
