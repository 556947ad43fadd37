"""A scanning lidar: a fan of beams that turns, each sector of a revolution seen from where it was at that time."""

from collections.abc import Callable
from typing import Any

import mujoco
import numpy as np
import numpy.typing as npt

from sensorium.drivers.stream import StreamSpec
from sensorium.sim.worlds.mujoco.optics import Mount
from sensorium.sim.worlds.mujoco.terrain import TerrainRays

Floats = npt.NDArray[np.float64]

_HAS_NORMALS = "normal" in (mujoco.mj_multiRay.__doc__ or "")
"""Later MuJoCo also gives the normals of what was hit; 3.3 has no such parameter."""


class Lidar:
    """`beams` from `low_deg` to `high_deg` of elevation, `columns` a revolution, to the left from straight behind.

    Column c of the revolution that begins at t looks at t + c / (columns * rate_hz), to within a sector's length.
    """

    def __init__(
        self, beams: int, columns: int, elevation_deg: tuple[float, float], rate_hz: float, sectors: int, most_m: float
    ) -> None:
        self.shape = (beams, columns)
        self._rate_hz = rate_hz
        self._sectors = sectors
        self._most_m = most_m
        self.elevation = np.radians(np.linspace(*elevation_deg, beams))
        self.azimuth = np.arange(columns) * (2 * np.pi / columns) - np.pi
        flat = np.cos(self.elevation)
        self._rays = np.stack(
            [
                np.cos(self.azimuth)[:, None] * flat,
                np.sin(self.azimuth)[:, None] * flat,
                np.broadcast_to(np.sin(self.elevation), (columns, beams)),
            ],
            axis=-1,
        )
        self._parts = np.array_split(np.arange(columns), sectors)

    def spec(self, name: str, mount: Mount) -> StreamSpec:
        """Ranges in m, float32 [beams, columns], 0 where there is no echo; stamped at the first column."""
        return StreamSpec(
            name=name,
            modality="lidar",
            dtype="float32",
            shape=self.shape,
            unit="m",
            rate_hz=self._rate_hz,
            frame="lidar",
            stamps_from="source",
            calibration={
                "elevation_rad": [float(value) for value in self.elevation],
                "azimuth_rad": [float(self.azimuth[0]), float(self.azimuth[1] - self.azimuth[0])],
                "column_s": 1 / (self._rate_hz * self.shape[1]),
                "farthest_m": self._most_m,
                "T_BS": mount.matrix,
            },
        )

    def ends(self, start_ns: int) -> int:
        """When the last sector of the revolution that begins then has been looked at."""
        return self._moment(start_ns, self._sectors - 1)

    def revolution(
        self, model: Any, view: Callable[[int], Any], site: int, ground: TerrainRays | None, group: int, start_ns: int
    ) -> npt.NDArray[np.float32]:
        """True ranges [beams, columns], m, 0 where nothing is within reach: `view` says how the world was at a moment.

        Rays see the geoms of `group`, and `ground`.
        """
        ranges = np.empty(self.shape, np.float32)
        for number, columns in enumerate(self._parts):
            data = view(self._moment(start_ns, number))
            origin, turned = data.site_xpos[site], data.site_xmat[site].reshape(3, 3)
            rays = self._rays[columns].reshape(-1, 3) @ turned.T
            ranges[:, columns] = self._cast(model, data, origin, rays, ground, group).reshape(len(columns), -1).T
        return ranges

    def _cast(
        self, model: Any, data: Any, origin: Floats, rays: Floats, ground: TerrainRays | None, group: int
    ) -> Floats:
        found = cast(model, data, origin, rays, group, self._most_m)
        if ground is not None:
            found = np.minimum(found, ground.ranges(origin, rays))
        found[found > self._most_m] = 0
        return found

    def _moment(self, start_ns: int, sector: int) -> int:
        """The middle of a sector, as the revolution turns."""
        return start_ns + round((sector + 0.5) / self._sectors / self._rate_hz * 1e9)


def cast(model: Any, data: Any, origin: Floats, rays: Floats, group: int, most_m: float) -> Floats:
    """Distances [n], m, to the first geom of `group` along unit vectors `rays` [n, 3] in the world; inf where none."""
    groups = np.zeros(mujoco.mjNGROUP, np.uint8)
    groups[group] = 1
    distances, geoms = np.empty(len(rays)), np.empty(len(rays), np.int32)
    beside = (None,) if _HAS_NORMALS else ()
    flat = np.ascontiguousarray(rays).reshape(-1)
    mujoco.mj_multiRay(model, data, np.array(origin), flat, groups, 1, -1, geoms, distances, *beside, len(rays), most_m)
    distances[geoms < 0] = np.inf
    return distances
