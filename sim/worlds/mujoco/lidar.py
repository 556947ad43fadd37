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
        self.most_m = most_m
        self.elevation = np.radians(np.linspace(*elevation_deg, beams))
        self.azimuth = np.arange(columns) * (2 * np.pi / columns) - np.pi
        flat = np.cos(self.elevation)
        rays = np.stack(
            [
                np.cos(self.azimuth)[:, None] * flat,
                np.sin(self.azimuth)[:, None] * flat,
                np.broadcast_to(np.sin(self.elevation), (columns, beams)),
            ]
        ).astype(np.float32)
        cuts = np.array_split(np.arange(columns), sectors)
        self._parts = [
            (slice(int(cut[0]), int(cut[-1]) + 1), np.ascontiguousarray(rays[:, cut].reshape(3, -1))) for cut in cuts
        ]

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
        ranges = np.empty(self.shape, np.float32)
        for number, (columns, part) in enumerate(self._parts):
            data = view(self._moment(start_ns, number))
            origin, turned = data.site_xpos[site], data.site_xmat[site].reshape(3, 3)
            rays = turned.astype(np.float32) @ part
            found = caster.ranges(data, origin, rays)
            if ground is not None:
                np.minimum(found, ground.ranges(origin, rays), out=found)
            found[found > self.most_m] = 0
            ranges[:, columns] = found.reshape(-1, self.shape[0]).T
        return ranges

    def _moment(self, start_ns: int, sector: int) -> int:
        """The middle of a sector, as the revolution turns."""
        return start_ns + round((sector + 0.5) / self._sectors / self._rate_hz * 1e9)


class Caster:
    """Casts rays from one point at the geoms of `group`, up to `most_m`.

    MuJoCo asks each ray about each geom; most rays of a lidar go by all of them, and are sorted out before.
    """

    def __init__(self, model: Any, group: int, most_m: float) -> None:
        self._model = model
        self._most_m = most_m
        self._groups = np.zeros(mujoco.mjNGROUP, np.uint8)
        self._groups[group] = 1
        self._geoms = np.flatnonzero(model.geom_group == group)
        self._radius = model.geom_rbound[self._geoms]
        self._is_endless = bool((self._radius <= 0).any())

    def ranges(self, data: Any, origin: Floats, rays: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Distances [n], m, to the first geom along unit vectors `rays` [3, n] in the world; inf where none is."""
        ranges = np.full(rays.shape[1], np.inf, np.float32)
        near = np.flatnonzero(self._may_hit(data, origin, rays))
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

    def _may_hit(self, data: Any, origin: Floats, rays: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
        """Which rays pass through the sphere around a geom."""
        if self._is_endless:
            return np.ones(rays.shape[1], np.bool_)
        towards = data.geom_xpos[self._geoms] - origin
        apart = np.linalg.norm(towards, axis=1)
        within = np.maximum(apart, self._radius + 1e-9)
        cosine = np.sqrt(1 - (self._radius / within) ** 2) * (apart > self._radius) - 2.0 * (apart <= self._radius)
        turned = (towards / np.maximum(apart, 1e-9)[:, None]).astype(np.float32) @ rays
        hits: npt.NDArray[np.bool_] = (turned >= (cosine - 1e-5).astype(np.float32)[:, None]).any(axis=0)
        return hits
