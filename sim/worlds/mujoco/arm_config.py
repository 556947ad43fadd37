"""What can be set of `sim-arm`; importable without MuJoCo."""

from typing import ClassVar, Literal

from pydantic import Field

from sensorium.sim.worlds.imperfections import Positive
from sensorium.sim.worlds.mujoco.config import FrameHz, Side, SimulationConfig
from sensorium.sim.worlds.mujoco.needed import load
from sensorium.sim.worlds.senses.camera import CameraErrors
from sensorium.sim.worlds.senses.ranging import RangeErrors
from sensorium.sim.worlds.senses.rows import RowErrors
from sensorium.sim.worlds.world import World

ArmAspect = Literal["objects", "textures", "light", "masses", "placement"]
ARM_ASPECTS: tuple[ArmAspect, ...] = ("objects", "textures", "light", "masses", "placement")


class ArmConfig(SimulationConfig):
    """`size` is width, height in px of all pictures, `fov_deg` what they see across.

    Senses by default: joints read to 0.09 degrees (12 bits), torques with 0.02 Nm of noise, touch in steps of 0.02 N;
    pictures are ideal (`camera: {preset: imx219}`, `depth: {preset: d435}`). `blocks` lie about, beside the puck. What
    is not in `randomise` is the same for every seed. A task is over after `limit_s`.
    """

    version: ClassVar[str] = "3"

    kind: Literal["sim-arm"] = "sim-arm"
    size: tuple[Side, Side] = (320, 240)
    fov_deg: float = Field(default=60.0, gt=10, lt=120)
    camera_hz: FrameHz = 20.0
    depth_hz: FrameHz = 10.0
    joints_hz: FrameHz = 100.0
    touch_hz: FrameHz = 100.0
    camera: CameraErrors = CameraErrors()
    depth: RangeErrors = RangeErrors(farthest_m=5.0)
    joints: RowErrors = RowErrors(step=0.0015339807878856412)
    torques: RowErrors = RowErrors(noise=0.02)
    touch: RowErrors = RowErrors(step=0.02)
    blocks: int = Field(default=4, ge=0, le=12)
    randomise: tuple[ArmAspect, ...] = ARM_ASPECTS
    shadows: bool = False
    limit_s: Positive = 20.0

    def make(self) -> World:
        world: World = load(self.kind, "arm").Arm(self)
        return world
