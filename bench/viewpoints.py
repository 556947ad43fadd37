"""The rover and the flyer with small pictures, as bodies that are sent about; and who knows where they truly were."""

import numpy as np
import numpy.typing as npt

from sensorium.sim.agency.bystander import Bystander
from sensorium.sim.agency.viewing import Viewing
from sensorium.sim.worlds.mujoco.rover_config import RoverConfig
from sensorium.sim.worlds.mujoco.rover_pilot import _costs
from sensorium.sim.worlds.mujoco.rover_scene import INSIDE_M, RoverScene, rover_scene
from sensorium.sim.worlds.planar import SimPlanarConfig
from sensorium.sim.worlds.senses.odometry import OdometryErrors
from sensorium.sim.worlds.world import Observation

SIZE_PX = (64, 48)
CAMERA_HZ = 1.0
RARELY_HZ = 0.001
EVER_S = 1e6
AXES = ("x_m", "y_m", "yaw_rad")
FREE_COST = 4.0

Floats = npt.NDArray[np.float64]


def rover_config() -> RoverConfig:
    """Small pictures, one a second, as little else as the world allows, and no crates, which take half of its time."""
    return RoverConfig(
        size=SIZE_PX,
        truth=True,
        crates=0,
        camera_hz=CAMERA_HZ,
        depth_hz=RARELY_HZ,
        lidar_hz=RARELY_HZ,
        lidar_beams=2,
        lidar_columns=8,
        lidar_sectors=1,
        imu_hz=20.0,
        wheels_hz=1.0,
        battery_hz=1.0,
        odometry=OdometryErrors(),
        limit_s=EVER_S,
    )


class Poses(Bystander):
    """True x, y and yaw by captured picture, and how far it went, m."""

    def __init__(self) -> None:
        self.poses: list[Floats] = []
        self.driven_m = 0.0
        self._pose: Floats | None = None

    def saw(self, seen: Observation) -> None:
        for block in seen.truth:
            if block.stream in ("pose", "truth") and len(block):
                row = np.asarray(block.data[-1], np.float64)
                w, x, y, z = row[3:7].tolist()
                pose = np.array([row[0], row[1], np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))])
                if self._pose is not None:
                    self.driven_m += float(np.hypot(*(pose - self._pose)[:2]))
                self._pose = pose

    def captured(self, number: int) -> None:
        if number != len(self.poses) or self._pose is None:
            raise RuntimeError(f"picture {number} without a true pose, after {len(self.poses)}")
        self.poses.append(self._pose)


class Free:
    """Where a rover can stand, as the pilot's map has it."""

    def __init__(self, scene: RoverScene) -> None:
        self._cost = _costs(scene)
        self._cell_m = 2 * INSIDE_M / len(self._cost)

    @classmethod
    def of(cls, seed: int) -> "Free":
        return cls(rover_scene(rover_config(), seed))

    def at(self, x_m: float, y_m: float) -> bool:
        row, column = (min(max(int((v + INSIDE_M) / self._cell_m), 0), len(self._cost) - 1) for v in (y_m, x_m))
        return bool(self._cost[row, column] < FREE_COST)

    def places(self) -> Floats:
        """[n, 2] of all that are free, m."""
        rows, columns = np.nonzero(self._cost < FREE_COST)
        cells = np.column_stack([columns, rows]).astype(np.float64)
        found: Floats = (cells + 0.5) * self._cell_m - INSIDE_M
        return found


def rover(seed: int, cell_m: float, cell_rad: float, bystander: Bystander) -> Viewing:
    """Of one seed's terrain."""
    cells = {"x_m": cell_m, "y_m": cell_m, "yaw_rad": cell_rad}
    return Viewing(rover_config().make(), seed, "roam", "left", cells, bystander)


def flyer(seed: int, cell_m: float, cell_rad: float, bystander: Bystander) -> Viewing:
    """Over one seed's plane; it may go up and down, which makes no cell of its own."""
    config = SimPlanarConfig(
        size=SIZE_PX, camera_hz=CAMERA_HZ, imu_hz=20.0, truth=True, odometry=OdometryErrors(), limit_s=EVER_S
    )
    cells = {"x_m": cell_m, "y_m": cell_m, "z_m": 0.0, "yaw_rad": cell_rad}
    return Viewing(config.make(), seed, "roam", "cam", cells, bystander)
