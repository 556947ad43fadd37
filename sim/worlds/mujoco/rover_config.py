"""What can be set of `sim-rover`; importable without MuJoCo."""

from typing import ClassVar, Literal, Self

from pydantic import Field

from sensorium.sim.worlds.config import going_on
from sensorium.sim.worlds.imperfections import Positive
from sensorium.sim.worlds.mujoco.config import FrameHz, RowHz, Side, SimulationConfig
from sensorium.sim.worlds.mujoco.needed import load
from sensorium.sim.worlds.senses.camera import CameraErrors
from sensorium.sim.worlds.senses.encoder import EncoderErrors
from sensorium.sim.worlds.senses.imu import ImuErrors
from sensorium.sim.worlds.senses.odometry import OdometryErrors
from sensorium.sim.worlds.senses.ranging import RangeErrors
from sensorium.sim.worlds.senses.rows import RowErrors
from sensorium.sim.worlds.world import World

Aspect = Literal["terrain", "objects", "textures", "light", "masses", "placement"]
ASPECTS: tuple[Aspect, ...] = ("terrain", "objects", "textures", "light", "masses", "placement")


class RoverConfig(SimulationConfig):
    """`size` is width, height in px of all pictures, `fov_deg` what they see across.

    Senses by default: IMU as of a BMI088, lidar of a VLP-16, wheels of 4,096 counts a turn; pictures are ideal, for
    their noise costs most (`camera: {preset: imx219}`, `depth: {preset: d435}`). `clocks` are by stream, `faults` are
    planned. What is not in `randomise` is the same for every seed. `roughness` 1 is hills of some 0.3 m in 4 m. A task
    is over after `limit_s`. Without `truth` only `task` and `scene` are known.

    With `odometry` ({} for one as usual) it senses where it is, float64 [3] x, y, yaw, and can be sent there (plan
    `viewpoint`: `x_m`, `y_m`, `yaw_rad`): it drives by that, on a map of the ground, around what stands there, and
    stays. By itself it goes on for ever then, unless `limit_s` is set, or it falls over.
    """

    version: ClassVar[str] = "5"

    kind: Literal["sim-rover"] = "sim-rover"
    size: tuple[Side, Side] = (320, 240)
    fov_deg: float = Field(default=70.0, gt=10, lt=120)
    camera_hz: FrameHz = 20.0
    depth_hz: FrameHz = 10.0
    lidar_hz: FrameHz = 10.0
    imu_hz: FrameHz = 200.0
    wheels_hz: RowHz = 50.0
    battery_hz: RowHz = 5.0
    lidar_beams: int = Field(default=16, ge=2, le=128)
    lidar_columns: int = Field(default=360, ge=8, le=2048)
    lidar_sectors: int = Field(default=4, ge=1, le=128)
    camera: CameraErrors = CameraErrors()
    depth: RangeErrors = RangeErrors(farthest_m=10.0)
    lidar: RangeErrors = RangeErrors(preset="vlp-16")
    imu: ImuErrors = ImuErrors(preset="bmi088")
    wheels: EncoderErrors = EncoderErrors()
    battery: RowErrors = RowErrors(noise=0.01)
    odometry: OdometryErrors | None = None
    rocks: int = Field(default=18, ge=0, le=64)
    crates: int = Field(default=4, ge=0, le=16)
    roughness: float = Field(default=1.0, ge=0, le=2)
    randomise: tuple[Aspect, ...] = ASPECTS
    shadows: bool = False
    limit_s: Positive = 60.0

    def by_itself(self) -> Self:
        return self if self.odometry is None else going_on(self)

    def make(self) -> World:
        world: World = load(self.kind, "rover").Rover(self)
        return world
