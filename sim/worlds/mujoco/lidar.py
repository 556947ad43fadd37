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
_ROUNDED_M, _ROUNDED_M2 = 1e-4, 1e-3
"""And from a distance, m, and its square."""
_AROUND = np.array([-2 * np.pi, 0.0, 2 * np.pi])[:, None, None]


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
        self._parts = [slice(int(cut[0]) * beams, int(cut[-1] + 1) * beams) for cut in cuts]
        self._cuts = np.array([int(cut[-1]) + 1 for cut in cuts])
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

    def rays(self, axes: Floats, part: slice = slice(None)) -> npt.NDArray[np.float32]:
        """The unit vectors [3, n], column by column, of a lidar with these axes [3, 3] in the world; or of a part."""
        turned: npt.NDArray[np.float32] = axes.astype(np.float32) @ self._rays[:, part]
        return turned

    def ends(self, start_ns: int) -> int:
        """When the last sector of the revolution that begins then has been looked at."""
        return self._moment(start_ns, self._sectors - 1)

    def revolution(
        self, caster: "Caster", view: Callable[[int], Any], site: int, ground: TerrainRays | None, start_ns: int
    ) -> npt.NDArray[np.float32]:
        """True ranges [beams, columns], m, 0 where nothing is within reach: `view` says how the world was at a moment.

        Rays see what `caster` looks for, and `ground`.
        """
        rays, origins, axes, places = self._seen(caster, view, site, start_ns)
        found = np.full(rays.shape[1], np.inf, np.float32)
        if ground is not None:
            found = ground.ranges(origins, rays, self._sector_of if self._sectors > 1 else None)
        near = caster.near_fans(places, origins, axes, self.azimuth, self.elevation, self._cuts, found)
        for number in range(self._sectors - 1, -1, -1):  # the last is the one at which `view` looked before
            part = self._parts[number]
            chosen = near[np.searchsorted(near, part.start) : np.searchsorted(near, part.stop)]
            if len(chosen):
                data = view(self._moment(start_ns, number))
                met = caster.ranges(data, origins[number], rays, chosen)
                found[chosen] = np.minimum(found[chosen], met)
        found[found > self.most_m] = 0
        return found.reshape(-1, self.shape[0]).T.copy()

    def _seen(
        self, caster: "Caster", view: Callable[[int], Any], site: int, start_ns: int
    ) -> tuple[npt.NDArray[np.float32], Floats, Floats, Floats]:
        """The rays [3, n] in the world, and of each sector its origin [k, 3], its axes [k, 3, 3] and where the geoms
        were [k, g, 3]."""
        rays = np.empty_like(self._rays)
        origins, axes = np.empty((self._sectors, 3)), np.empty((self._sectors, 3, 3))
        places = np.empty((self._sectors, caster.count, 3))
        for number, part in enumerate(self._parts):
            data = view(self._moment(start_ns, number))
            origins[number], axes[number] = data.site_xpos[site], data.site_xmat[site].reshape(3, 3)
            np.matmul(axes[number].astype(np.float32), self._rays[:, part], out=rays[:, part])
            places[number] = caster.places(data)
        return rays, origins, axes, places

    def _moment(self, start_ns: int, sector: int) -> int:
        """The middle of a sector, as the revolution turns."""
        return start_ns + round((sector + 0.5) / self._sectors / self._rate_hz * 1e9)


class Caster:
    """Casts rays from one point at the geoms of `group`, up to `most_m`.

    MuJoCo asks each ray about each geom; most rays of a lidar go by all of them: `near_fans` sorts them out before.
    """

    def __init__(self, model: Any, group: int, most_m: float) -> None:
        self._model = model
        self._most_m = most_m
        self._groups = np.zeros(mujoco.mjNGROUP, np.uint8)
        self._groups[group] = 1
        self._geoms = np.flatnonzero(model.geom_group == group)
        self._radius = np.array([_radius(model, int(geom)) for geom in self._geoms])
        self._is_endless = bool((self._radius <= 0).any())
        self._beside = (None,) if HAS_NORMALS else ()

    @property
    def count(self) -> int:
        """How many geoms it casts at."""
        return len(self._geoms)

    def places(self, data: Any) -> Floats:
        """Where they are in the world [g, 3], m."""
        found: Floats = data.geom_xpos[self._geoms]
        return found

    def ranges(
        self, data: Any, origin: Floats, rays: npt.NDArray[np.float32], chosen: npt.NDArray[np.intp] | None = None
    ) -> npt.NDArray[np.float32]:
        """Distances, m, to the first geom along those `chosen` of the unit vectors `rays` [3, n] in the world, in their
        order; along all if none are named. inf where there is none."""
        some = rays if chosen is None else rays.take(chosen, axis=1)
        count = some.shape[1]
        distances, geoms = np.empty(count), np.empty(count, np.int32)
        if count:
            mujoco.mj_multiRay(
                self._model, data, np.array(origin, np.float64), some.T.astype(np.float64).ravel(), self._groups, 1,
                -1, geoms, distances, *self._beside, count, self._most_m,
            )  # fmt: skip
        distances[geoms < 0] = np.inf
        return distances.astype(np.float32)

    def near_fans(
        self,
        places: Floats,
        origins: Floats,
        axes: Floats,
        azimuth: Floats,
        elevation: Floats,
        cuts: npt.NDArray[np.intp],
        met: npt.NDArray[np.float32],
    ) -> npt.NDArray[np.intp]:
        """Which rays, column by column, pass near the sphere around a geom before what they have `met` [c * b], m.

        Columns, at `azimuth` [c], rising from -pi to pi, are of k fans, of which each ends before one of `cuts` [k].
        A fan is seen from one of `origins` [k, 3], with the columns of `axes` [k, 3, 3] as its axes in the world, and
        the geoms at `places` [k, g, 3] then; in each column is a ray at each `elevation` [b].
        """
        if self._is_endless:
            return np.arange(len(azimuth) * len(elevation))
        x, y, z = ((places - origins[:, None]) @ axes).transpose(2, 0, 1)
        flat = np.hypot(x, y)
        apart = np.hypot(flat, z)
        sine = np.minimum(self._radius / np.maximum(apart, 1e-9), 1.0)
        half, turn, climb = np.arcsin(sine) + _ROUNDED, np.arctan2(y, x), np.arctan2(z, flat)
        half[sine == 1] = np.pi
        # A sphere that is seen so high is as much wider in azimuth; one over or around the axis is everywhere.
        wide = np.arcsin(np.minimum(sine * apart / np.maximum(flat, 1e-9), 1.0)) + _ROUNDED
        wide[np.abs(climb) + half > np.pi / 2] = np.pi
        middle = turn + _AROUND
        begins = np.zeros(len(cuts), np.intp)
        begins[1:] = cuts[:-1]
        first = np.maximum(azimuth.searchsorted(middle - wide), begins[:, None]).ravel()
        count = np.minimum(azimuth.searchsorted(middle + wide, "right"), cuts[:, None]).ravel()
        count -= first
        seen = np.flatnonzero(count > 0)
        first, count = first.take(seen), count.take(seen)
        # One after the other, the columns at which each geom of each fan may be seen.
        ends = count.cumsum()
        first -= ends
        first += count
        column = first.repeat(count)
        column += np.arange(len(column))
        seen %= turn.size
        geom = seen.repeat(count)
        # How far along each of their rays [n, b] its middle is, and how much deeper than its surface it passes there.
        toward = np.cos(azimuth.take(column) - turn.ravel().take(geom))
        toward *= flat.ravel().take(geom)
        along = toward[:, None] * np.cos(elevation)
        along += z.ravel().take(geom)[:, None] * np.sin(elevation)
        gap = apart * apart
        gap -= (self._radius + _ROUNDED_M) ** 2
        deep = along * along
        deep -= (gap.ravel() - _ROUNDED_M2).take(geom)[:, None]
        is_met = deep >= 0
        np.maximum(deep, 0, out=deep)
        along -= np.sqrt(deep, out=deep)
        is_met &= along < met.reshape(len(azimuth), -1).take(column, axis=0)
        is_near = np.zeros((len(azimuth), len(elevation)), np.bool_)
        pair, beam = is_met.nonzero()
        is_near[column.take(pair), beam] = True
        return np.flatnonzero(is_near)


def _radius(model: Any, geom: int) -> float:
    """That of the sphere around a geom; 0 or less of one that is endless. MuJoCo's own is that of a mesh's box."""
    mesh = int(model.geom_dataid[geom])
    if model.geom_type[geom] != mujoco.mjtGeom.mjGEOM_MESH or mesh < 0:
        return float(model.geom_rbound[geom])
    first, count = int(model.mesh_vertadr[mesh]), int(model.mesh_vertnum[mesh])
    return float(np.linalg.norm(model.mesh_vert[first : first + count], axis=1).max()) * (1 + 1e-6)
