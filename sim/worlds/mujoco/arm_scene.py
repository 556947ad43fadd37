"""The arm, its table and what lies on it, grown from a seed as one MJCF text."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sensorium.sim.worlds.mujoco.arm_config import ARM_ASPECTS, ArmConfig
from sensorium.sim.worlds.mujoco.contacts import labels_by_name
from sensorium.sim.worlds.mujoco.optics import Mount, field_of_view_y, numbers
from sensorium.sim.worlds.mujoco.paint import PALETTES, mottled, striped
from sensorium.sim.worlds.mujoco.physics import compiled, fill_texture

Floats = npt.NDArray[np.float64]

ARM_STEP_S = 0.002
JOINTS = ("base", "shoulder", "elbow", "forearm", "wrist", "tool")
HOME = np.array([0.0, 0.25, 1.75, 0.0, 1.14, 0.0])
RANGES = ((-2.6, 2.6), (-1.2, 1.9), (0.1, 2.6), (-2.0, 2.0), (-0.6, 2.2), (-2.8, 2.8))
TIP_M, PUCK_M, PUCK_HALF_M = 0.014, 0.04, 0.018
ARM_LABELS = ("nothing", "table", "arm", "tip", "puck", "mark", "block")
ARM_MOUNTS: Mapping[str, Mount] = {
    "overview": Mount.looking((-0.05, -0.62, 0.55), np.radians(38), np.radians(62)),
    "wrist": Mount(np.array([0.05, 0.0, 0.0]), np.array([[0.0, 1, 0], [-1.0, 0, 0], [0, 0, 1]])),
}
_TABLE_PX = 256


@dataclass(frozen=True)
class ArmScene:
    """One world as it begins: `target` [3] is where the tip, or the puck, should come, m."""

    model: Any
    target: Floats
    geom_labels: npt.NDArray[np.uint16]
    mounts: Mapping[str, Mount]
    facts: Mapping[str, float]


def arm_scene(config: ArmConfig, seed: int, task: str) -> ArmScene:
    """Grow it; what the configuration does not randomise is as with seed 0, whatever the seed.

    Raises:
        ConfigError: the model does not compile.
    """
    rngs = {
        aspect: np.random.default_rng([seed if aspect in config.randomise else 0, 180 + number])
        for number, aspect in enumerate(ARM_ASPECTS)
    }
    objects, light, masses = rngs["objects"], rngs["light"], rngs["masses"]
    puck = np.array([objects.uniform(0.3, 0.42), objects.uniform(-0.15, 0.15)])
    while True:
        away, turn = objects.uniform(0.1, 0.17), objects.uniform(-np.pi, np.pi)
        mark = puck + away * np.array([np.cos(turn), np.sin(turn)])
        if 0.27 < mark[0] < 0.46 and abs(mark[1]) < 0.2:
            break
    in_air = np.array([objects.uniform(0.28, 0.45), objects.uniform(-0.22, 0.22), objects.uniform(0.06, 0.26)])
    target = in_air if task == "reach" else np.array([*mark, 0.0])
    facts = {
        "puck_kg": masses.uniform(0.1, 0.35),
        "friction": masses.uniform(0.35, 0.6),
        "payload_kg": masses.uniform(0.02, 0.15),
        "sun_azimuth_rad": light.uniform(-np.pi, np.pi),
        "sun_elevation_rad": light.uniform(np.radians(35), np.radians(80)),
        "sun": light.uniform(0.4, 0.8),
        "sky": light.uniform(0.3, 0.5),
    }
    mounts = {name: mount.shaken(rngs["placement"], 0.002, 0.006) for name, mount in ARM_MOUNTS.items()}
    blocks = _blocks(objects, config.blocks, puck, mark)
    fov_y = field_of_view_y(config.size, config.fov_deg)
    model = compiled("sim-arm", _text(facts, mounts, fov_y, puck, target, task == "reach", blocks, config.shadows))
    textures = rngs["textures"]
    palette = PALETTES[int(textures.integers(len(PALETTES)))]
    fill_texture(model, "table", mottled(textures, _TABLE_PX, _TABLE_PX, palette, 24))
    fill_texture(model, "block", mottled(textures, 6 * 32, 32, PALETTES[int(textures.integers(len(PALETTES)))], 30))
    fill_texture(model, "puck", striped(64, 64, 8, (30, 60, 200), (240, 240, 240)))
    return ArmScene(model, target, labels_by_name(model, ARM_LABELS, "arm"), mounts, facts)


def _blocks(rng: np.random.Generator, count: int, puck: Floats, mark: Floats) -> str:
    """Loose blocks at the far side of the table, out of the way of a push."""
    made = []
    for number in range(count):
        half = rng.uniform(0.012, 0.03, 3)
        side = 1.0 if (puck + mark)[1] < 0 else -1.0
        x, y = rng.uniform(0.15, 0.62), side * rng.uniform(0.32, 0.45)
        turn = rng.uniform(0, np.pi)
        made.append(
            f'<body name="block{number}" pos="{numbers([x, y, half[2] + 0.04 * (number + 1)])}"'
            f' quat="{numbers([np.cos(turn / 2), 0, 0, np.sin(turn / 2)])}"><freejoint/>'
            f'<geom name="block{number}" type="box" size="{numbers(half)}" density="500" material="block"'
            f' rgba="{numbers([*rng.uniform(0.4, 1.0, 3), 1])}"/></body>'
        )
    return "".join(made)


def _text(
    facts: Mapping[str, float],
    mounts: Mapping[str, Mount],
    fov_y: float,
    puck: Floats,
    target: Floats,
    in_air: bool,
    blocks: str,
    shadows: bool,
) -> str:
    azimuth, elevation = facts["sun_azimuth_rad"], facts["sun_elevation_rad"]
    down = -np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])
    sky, sun = facts["sky"], facts["sun"]
    limits = {name: f'range="{low} {high}"' for name, (low, high) in zip(JOINTS, RANGES, strict=True)}
    motors = "".join(
        f'<position name="{name}" joint="{name}" kp="{kp}" kv="{kv}" ctrlrange="{low} {high}"'
        f' forcerange="-{most} {most}"/>'
        for name, kp, kv, most, (low, high) in zip(
            JOINTS, (400, 500, 400, 80, 80, 30), (30, 40, 25, 4, 4, 1.5), (60, 80, 60, 20, 20, 8), RANGES, strict=True
        )
    )
    read = "".join(
        f'<jointpos name="q_{name}" joint="{name}"/><jointvel name="v_{name}" joint="{name}"/>'
        f'<actuatorfrc name="t_{name}" actuator="{name}"/>'
        for name in JOINTS
    )
    shape = 'type="sphere" size=".018"' if in_air else 'type="cylinder" size=".045 .0008"'
    mark = f'<geom name="mark" class="sign" {shape} pos="{numbers(target)}" rgba=".1 .85 .2 1"/>'
    return f"""
<mujoco model="arm">
  <compiler angle="radian"/>
  <option timestep="{ARM_STEP_S}" integrator="implicitfast" gravity="0 0 -9.80665"><flag autoreset="disable"/></option>
  <statistic extent="1" center="0 0 0"/>
  <visual>
    <global offwidth="64" offheight="64"/><quality offsamples="0" shadowsize="{2048 if shadows else 0}"/>
    <map znear=".01" zfar="20"/>
    <headlight ambient="{sky} {sky} {sky}" diffuse=".15 .15 .15" specular="0 0 0"/>
  </visual>
  <default>
    <geom friction="{facts["friction"]!r} .005 .0001"/>
    <joint damping="1" armature=".02"/>
    <default class="arm"><geom rgba=".92 .92 .94 1"/></default>
    <default class="dark"><geom rgba=".18 .2 .24 1"/></default>
    <default class="sign"><geom contype="0" conaffinity="0"/></default>
  </default>
  <asset>
    <texture name="sky" type="skybox" builtin="gradient" rgb1=".75 .78 .8" rgb2=".5 .5 .52" width="32" height="192"/>
    <texture name="table" type="2d" builtin="flat" width="{_TABLE_PX}" height="{_TABLE_PX}"/>
    <texture name="block" type="cube" builtin="flat" width="32" height="192"/>
    <texture name="puck" type="2d" builtin="flat" width="64" height="64"/>
    <material name="table" texture="table" texrepeat="2 2" specular="0" shininess="0"/>
    <material name="block" texture="block" specular="0" shininess="0"/>
    <material name="puck" texture="puck" specular="0" shininess="0"/>
  </asset>
  <worldbody>
    <light name="sun" directional="true" dir="{numbers(down)}" diffuse="{sun} {sun} {sun}" specular="0 0 0"
           castshadow="{"true" if shadows else "false"}"/>
    <geom name="table" type="box" size=".55 .6 .02" pos=".3 0 -.02" material="table"/>
    <camera name="overview" {mounts["overview"].camera_attributes()} fovy="{fov_y!r}"/>
    {mark}
    <body name="puck" pos="{numbers([*puck, PUCK_HALF_M + 0.002])}"><freejoint name="puck"/>
      <geom name="puck" type="cylinder" size="{PUCK_M} {PUCK_HALF_M}" mass="{facts["puck_kg"]!r}" material="puck"/>
    </body>
    {blocks}
    <geom name="foot" class="dark" type="cylinder" size=".06 .05" pos="0 0 .05"/>
    <body name="turret" pos="0 0 .1"><joint name="base" axis="0 0 1" {limits["base"]}/>
      <geom class="arm" type="cylinder" size=".05 .05" pos="0 0 .05" mass="1.5"/>
      <body name="upper" pos="0 0 .1"><joint name="shoulder" axis="0 1 0" {limits["shoulder"]}/>
        <geom class="arm" type="capsule" size=".036" fromto="0 0 0 0 0 .28" mass="1.6"/>
        <body name="lower" pos="0 0 .28"><joint name="elbow" axis="0 1 0" {limits["elbow"]}/>
          <geom class="dark" type="capsule" size=".03" fromto="0 0 0 0 0 .13" mass=".7"/>
          <body name="fore" pos="0 0 .13"><joint name="forearm" axis="0 0 1" {limits["forearm"]}/>
            <geom class="arm" type="capsule" size=".027" fromto="0 0 0 0 0 .13" mass=".5"/>
            <body name="hand" pos="0 0 .13"><joint name="wrist" axis="0 1 0" {limits["wrist"]}/>
              <geom class="dark" type="capsule" size=".024" fromto="0 0 0 0 0 .05" mass=".3"/>
              <body name="finger" pos="0 0 .07"><joint name="tool" axis="0 0 1" {limits["tool"]}/>
                <geom class="arm" type="box" size=".03 .02 .01" mass="{facts["payload_kg"]!r}"/>
                <camera name="wrist" {mounts["wrist"].camera_attributes()} fovy="{fov_y!r}"/>
                <geom class="dark" type="capsule" size=".008" fromto="0 0 .01 0 0 .09" mass=".03"/>
                <geom name="tip" type="sphere" size="{TIP_M}" pos="0 0 .1" mass=".01" rgba=".9 .2 .15 1"/>
                <site name="tip" pos="0 0 .1"/><site name="pad" pos="0 0 .1" size="{TIP_M * 1.3}"/>
              </body>
            </body>
          </body>
        </body>
      </body>
    </body>
  </worldbody>
  <actuator>{motors}</actuator>
  <sensor>{read}
    <touch name="touch" site="pad"/>
    <framepos name="tip" objtype="site" objname="tip"/><framequat name="tip_turn" objtype="site" objname="tip"/>
    <framelinvel name="tip_speed" objtype="site" objname="tip"/>
    <framepos name="puck" objtype="body" objname="puck"/><framequat name="puck_turn" objtype="body" objname="puck"/>
  </sensor>
</mujoco>"""
