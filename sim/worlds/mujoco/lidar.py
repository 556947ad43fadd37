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

HAS_NORMALS = "normal" in (mujoco.mj_multiRay.__doc__ or "")
"""Later MuJoCo also gives the normals of what was hit; 3.3 has no such parameter."""

_ROUNDED = 1e-4
"""More than single precision takes from an angle, rad."""


class Lidar:
    """`beams` from `low_deg` to `high_deg` of elevation, `columns` a revolution, to the left from straight behind.

    Column c of the revolution that begins at t looks at t + c / (columns * rate_hz), to within a sector's length.
    """

    def __init__(
        self, beams: int, columns: int, elevation_deg: tuple[float, float], rate_hz: float, sectors: int, most_m: float
    ) -> None:
        self.shape = (beams, columns)
        self._rate_hz = rate_hz
        self._sectors = min(sectors, columns)
        self.most_m = most_m
        self.elevation = np.radians(np.linspace(*elevation_deg, beams))
        self.azimuth = np.arange(columns, dtype=np.float64) * (2 * np.pi / columns) - np.pi
        flat = np.cos(self.elevation)
        rays = np.stack(
            [
                np.cos(self.azimuth)[:, None] * flat,
                np.sin(self.azimuth)[:, None] * flat,
                np.broadcast_to(np.sin(self.elevation), (columns, beams)),
            ]
        ).astype(np.float32)
        self._rays = np.ascontiguousarray(rays.reshape(3, -1))
        cuts = np.array_split(np.arange(columns), self._sectors)
        self._parts = [(slice(int(cut[0]) * beams, int(cut[-1] + 1) * beams), self.azimuth[cut]) for cut in cuts]
        self._sector_of = np.repeat(np.arange(self._sectors), [len(cut) * beams for cut in cuts])

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
                "farthest_m": self.most_m,
                "T_BS": mount.matrix,
            },
        )

    def ends(self, start_ns: int) -> int:
        """When the last sector of the revolution that begins then has been looked at."""
        return self._moment(start_ns, self._sectors - 1)

    def revolution(
        self, caster: "Caster", view: Callable[[int], Any], site: int, ground: TerrainRays | None, start_ns: int
    ) -> npt.NDArray[np.float32]:
        """True ranges [beams, columns], m, 0 where nothing is within reach: `view` says how the world was at a moment.

        Rays see what `caster` looks for, and `ground`.
        """
        found = np.empty(self._rays.shape[1], np.float32)
        rays = np.empty_like(self._rays)
        origins = np.empty((self._sectors, 3))
        for number, (part, azimuth) in enumerate(self._parts):
            data = view(self._moment(start_ns, number))
            origins[number], turned = data.site_xpos[site], data.site_xmat[site].reshape(3, 3)
            rays[:, part] = turned.astype(np.float32) @ self._rays[:, part]
            near = caster.near_fan(data, origins[number], turned, azimuth, self.elevation)
            found[part] = caster.ranges(data, origins[number], rays[:, part], near)
        if ground is not None:
            begins = self._sector_of if self._sectors > 1 else None
            np.minimum(found, ground.ranges(origins, rays, begins), out=found)
        return np.where(found <= self.most_m, found, np.float32(0)).reshape(-1, self.shape[0]).T.copy()

    def _moment(self, start_ns: int, sector: int) -> int:
        """The middle of a sector, as the revolution turns."""
        return start_ns + round((sector + 0.5) / self._sectors / self._rate_hz * 1e9)


class Caster:
    """Casts rays from one point at the geoms of `group`, up to `most_m`.

    MuJoCo asks each ray about each geom; most rays of a lidar go by all of them: `near_fan` sorts them out before.
    """

    def __init__(self, model: Any, group: int, most_m: float) -> None:
        self._model = model
        self._most_m = most_m
        self._groups = np.zeros(mujoco.mjNGROUP, np.uint8)
        self._groups[group] = 1
        self._geoms = np.flatnonzero(model.geom_group == group)
        self._radius = np.array([_radius(model, int(geom)) for geom in self._geoms])
        self._is_endless = bool((self._radius <= 0).any())

    def ranges(
        self, data: Any, origin: Floats, rays: npt.NDArray[np.float32], near: npt.NDArray[np.intp] | None = None
    ) -> npt.NDArray[np.float32]:
        """Distances [n], m, to the first geom along unit vectors `rays` [3, n] in the world; inf where none is.

        `near` are the rays that may meet one, if that is known.
        """
        ranges = np.full(rays.shape[1], np.inf, np.float32)
        if near is None:
            near = np.arange(rays.shape[1])
        if not len(near):
            return ranges
        distances, geoms = np.empty(len(near)), np.empty(len(near), np.int32)
        vectors = rays[:, near].T.astype(np.float64).ravel()
        beside = (None,) if HAS_NORMALS else ()
        mujoco.mj_multiRay(
            self._model, data, np.array(origin, np.float64), vectors, self._groups, 1, -1, geoms, distances, *beside,
            len(near), self._most_m,
        )  # fmt: skip
        ranges[near] = np.where(geoms < 0, np.inf, distances)
        return ranges

    def near_fan(
        self, data: Any, origin: Floats, turned: Floats, azimuth: Floats, elevation: Floats
    ) -> npt.NDArray[np.intp]:
        """Which rays of a fan, column by column, pass near the sphere around a geom. The fan's axes in the world are
        the columns of `turned` [3, 3]; `azimuth` [c] and `elevation` [b] are within it."""
        if self._is_endless:
            return np.arange(len(azimuth) * len(elevation))
        x, y, z = ((data.geom_xpos[self._geoms] - origin) @ turned).T
        flat = np.hypot(x, y)
        apart = np.hypot(flat, z)
        sine = np.minimum(self._radius / np.maximum(apart, 1e-9), 1.0)
        half, turn, climb = np.arcsin(sine) + _ROUNDED, np.arctan2(y, x), np.arctan2(z, flat)
        half[sine == 1] = np.pi
        # A sphere that is seen so high is as much wider in azimuth; one over or around the axis is everywhere.
        wide = np.arcsin(np.minimum(sine * apart / np.maximum(flat, 1e-9), 1.0)) + _ROUNDED
        wide[np.abs(climb) + half > np.pi / 2] = np.pi
        away = np.abs(azimuth.astype(np.float32) - turn.astype(np.float32)[:, None])
        wide = wide.astype(np.float32)[:, None]
        columns = (away <= wide) | (away >= np.float32(2 * np.pi) - wide)
        beams = np.abs(elevation - climb[:, None]) <= half[:, None]
        passes = columns.T.astype(np.float32) @ beams.astype(np.float32)  # how many geoms each ray passes near
        return np.flatnonzero(passes)


def _radius(model: Any, geom: int) -> float:
    """That of the sphere around a geom; 0 or less of one that is endless. MuJoCo's own is that of a mesh's box."""
    mesh = int(model.geom_dataid[geom])
    if model.geom_type[geom] != mujoco.mjtGeom.mjGEOM_MESH or mesh < 0:
        return float(model.geom_rbound[geom])
    first, count = int(model.mesh_vertadr[mesh]), int(model.mesh_vertnum[mesh])
    return float(np.linalg.norm(model.mesh_vert[first : first + count], axis=1).max()) * (1 + 1e-6)
