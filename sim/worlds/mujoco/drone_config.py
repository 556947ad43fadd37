"""What can be set of `sim-drone`; importable without MuJoCo."""

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from sensorium.sim.worlds.config import going_on
from sensorium.sim.worlds.imperfections import NonNegative, Positive
from sensorium.sim.worlds.mujoco.config import FrameHz, RowHz, Side, SimulationConfig
from sensorium.sim.worlds.mujoco.events import EventErrors
from sensorium.sim.worlds.mujoco.needed import load
from sensorium.sim.worlds.senses.camera import CameraErrors
from sensorium.sim.worlds.senses.imu import ImuErrors
from sensorium.sim.worlds.senses.odometry import OdometryErrors
from sensorium.sim.worlds.senses.ranging import RangeErrors
from sensorium.sim.worlds.senses.rows import RowErrors
from sensorium.sim.worlds.world import World

DroneAspect = Literal["terrain", "objects", "textures", "light", "masses", "placement", "wind"]
DRONE_ASPECTS: tuple[DroneAspect, ...] = ("terrain", "objects", "textures", "light", "masses", "placement", "wind")


class DroneConfig(SimulationConfig):
    """`size` is that of the downward camera's pictures, `event_size` the event camera's, which is made of frames drawn
    at `event_hz`; both see `fov_deg` across.

    Senses by default: IMU as of a BMI088, rangefinder of a TFmini-S, magnetometer (uT) of an ICM-20948's AK09916 (0.15
    uT a step), barometer (hPa) of a BMP388 (1.2 Pa of noise), events of a DVS128; pictures are ideal. `wind_m_s` is one
    sigma of each gust. What is not in `randomise` is the same for every seed. A task is over after `limit_s`. `events`
    has no clock and no faults of its own.

    With `odometry` ({} for one as usual) it senses where it is, float64 [4] x, y, z, yaw, and can be sent there (plan
    `viewpoint`: `x_m`, `y_m`, `z_m`, `yaw_rad`): it flies straight there by that, and hovers. By itself it goes on for
    ever then, unless `limit_s` is set.
    """

    version: ClassVar[str] = "5"

    kind: Literal["sim-drone"] = "sim-drone"
    size: tuple[Side, Side] = (320, 240)
    event_size: tuple[Side, Side] = (96, 72)
    fov_deg: float = Field(default=80.0, gt=10, lt=120)
    camera_hz: FrameHz = 20.0
    event_hz: FrameHz = 100.0
    imu_hz: RowHz = 1000.0
    range_hz: FrameHz = 20.0
    magnetometer_hz: FrameHz = 50.0
    barometer_hz: FrameHz = 25.0
    camera: CameraErrors = CameraErrors()
    events: EventErrors = EventErrors(preset="dvs128")
    imu: ImuErrors = ImuErrors(preset="bmi088")
    rangefinder: RangeErrors = RangeErrors(preset="tfmini-s")
    magnetometer: RowErrors = RowErrors(noise=0.3, bias=3.0, step=0.15)
    barometer: RowErrors = RowErrors(noise=0.012)
    odometry: OdometryErrors | None = None
    wind_m_s: NonNegative = 1.0
    objects: int = Field(default=16, ge=0, le=64)
    randomise: tuple[DroneAspect, ...] = DRONE_ASPECTS
    shadows: bool = False
    limit_s: Positive = 30.0

    @model_validator(mode="after")
    def _events_as_they_are(self) -> "DroneConfig":
        if "events" in self.clocks or any(fault.sensor == "events" for fault in self.faults):
            raise ValueError("events have no clock and no faults of their own: set those of `cam`")
        return self

    def by_itself(self) -> Self:
        return self if self.odometry is None else going_on(self)

    def make(self) -> World:
        world: World = load(self.kind, "drone").Drone(self)
        return world
