"""A walk over the plane: long stays at a few places, and routes between them that are taken again and again."""

import itertools
from typing import Annotated, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from sensorium.sim.worlds.trajectory import BodyMotion, Floats, body_motion

_APART_M = 2.5
_MARGIN_M = 1.0
_TURN_M = 1.5
_POINTS = 400


class Walk(BaseModel):
    """A device that is carried about, `height_m` over a square of `area_m` around the origin, and looks down.

    It stays at `places` points, standing still, for the share `dwell_share` of its time: the stays are log-normal,
    with `dwell_spread` the deviation of their logarithm (cut off at twice that) around a length that keeps the share.
    Between two of them it makes `step_hz` steps a second, each `step_m` long, along a route that is always the same,
    but for a deviation of `stray_m`, one sigma, in its middle. From each place the same few routes lead on (`exits`),
    the first of them, which makes a tour of all places, with a chance of `tour`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    area_m: float = Field(default=20.0, ge=8, le=60)
    places: int = Field(default=8, ge=2, le=40)
    exits: int = Field(default=1, ge=1, le=8)
    tour: float = Field(default=0.95, gt=0, le=1)
    dwell_share: float = Field(default=0.8, ge=0, lt=1)
    dwell_spread: float = Field(default=0.8, ge=0, le=2)
    step_m: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(le=1)]] = (0.25, 0.5)
    step_hz: float = Field(default=5.0, gt=0, le=1000)
    stray_m: float = Field(default=0.05, ge=0, le=0.2)
    height_m: float = Field(default=4.0, gt=0, le=20)

    @model_validator(mode="after")
    def _in_order(self) -> "Walk":
        if not self.step_m[0] < self.step_m[1]:
            raise ValueError("step_m: expected the least and the greatest length of a step, in metres")
        if self.places * 3 * _APART_M**2 > (self.area_m - 2 * _MARGIN_M) ** 2:
            raise ValueError(f"{self.places} places do not fit into {self.area_m} m; fewer places, or a larger area")
        return self


def side_m(walk: Walk, size: tuple[int, int], fov_deg: float) -> float:
    """How wide a plane must be so that a camera of `size` (width, height in px) never sees past it, in metres."""
    width, height = size
    reach = walk.height_m * np.tan(np.radians(fov_deg) / 2) * np.hypot(1, height / width)
    return walk.area_m + 2 * (float(reach) + 0.5)


class PoseCells(NamedTuple):
    """Which cell of 1 m and 45 degrees each of n poses is in: `x`, `y` from the corner of the area, `heading` 0 to 7
    around the multiples of 45 degrees; int64 [n] each."""

    x: npt.NDArray[np.int64]
    y: npt.NDArray[np.int64]
    heading: npt.NDArray[np.int64]

    @property
    def number(self) -> npt.NDArray[np.int64]:
        """One number a cell, int64 [n]."""
        return (self.x * 1000 + self.y) * 8 + self.heading


def pose_cells(position: Floats, quaternion: Floats, area_m: float) -> PoseCells:
    """The cells of poses as the world's truth has them: position [n, 3 or 2] (m), quaternion [n, 4] (w x y z).

    >>> pose_cells(np.array([[-9.5, 0.5, 2.0]]), np.array([[1.0, 0.0, 0.0, 0.0]]), 20.0).number.tolist()
    [80]
    """
    w, x, y, z = quaternion.T
    yaw = np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))
    place = np.floor(position[:, :2] + area_m / 2).astype(np.int64)
    return PoseCells(place[:, 0], place[:, 1], np.rint(yaw / (np.pi / 4)).astype(np.int64) % 8)


class WalkTrajectory:
    """The walk of `seed`, for ever. The same seed gives the same walk; the further it is asked for, the more it keeps
    (about 10 MB a day at 5 steps a second).

    It goes through one pose a step, exactly; between them it is a cubic whose velocity does not jump, and which rests
    where a stay begins and ends, so that an IMU agrees with it.
    """

    def __init__(self, walk: Walk, seed: int) -> None:
        self.walk = walk
        self._rng = np.random.default_rng([seed, 6])
        self._routes = _Routes(walk, self._rng)
        self._place = 0
        self._steps, self._rested = 0, 0
        pose = self._routes.poses[0]
        self._knots = np.concatenate([pose, np.zeros(3), [0.0]])[None]

    def at(self, time_s: Floats) -> BodyMotion:
        """The state at `time_s` [n], seconds since the start, none of them below 0."""
        phase = time_s * self.walk.step_hz
        first = np.floor(phase).astype(np.int64)
        self._reach(int(first.max(initial=0)) + 1)
        within = (phase - first)[:, None]
        one, other = self._knots[first], self._knots[first + 1]
        value, speed, push = _cubic(one[:, :3], one[:, 3:6], other[:, :3], other[:, 3:6], within)
        hz = self.walk.step_hz
        pose, *slopes = (_level(part) for part in (value, speed * hz, push * hz * hz))
        pose[:, 2] = self.walk.height_m
        return body_motion(pose, *slopes)

    def place_at(self, time_s: Floats) -> npt.NDArray[np.int64]:
        """At which place it stays at `time_s` [n], int64 [n]; -1 where it is on its way."""
        first = np.floor(time_s * self.walk.step_hz).astype(np.int64)
        self._reach(int(first.max(initial=0)) + 1)
        place = self._knots[first, 6]
        return np.where(place == self._knots[first + 1, 6], place, -1).astype(np.int64)

    def _reach(self, last: int) -> None:
        if last < len(self._knots):
            return
        parts, count = [self._knots], len(self._knots)
        wanted = max(last + 1, 2 * count)  # no array is copied more than a few times
        while count < wanted:
            for part in (self._stay(), self._leg()):
                parts.append(part)
                count += len(part)
        self._knots = np.concatenate(parts)

    def _stay(self) -> Floats:
        """Knots [n, 7] of one more stay: pose, no velocity, the place."""
        share, spread = self.walk.dwell_share, self.walk.dwell_spread
        ratio = share / (1 - share)
        # what a stay is measured against follows what was walked, so that the share comes out at any length
        usual = ratio * self._routes.mean_steps
        owed = np.clip(ratio * (self._steps + self._routes.mean_steps) - self._rested, usual / 3, 3 * usual)
        drawn = np.exp(spread * np.clip(self._rng.standard_normal(), -2, 2) - spread**2 / 2)
        length = max(1, round(owed * drawn)) if share else 1
        self._rested += length
        pose = self._routes.poses[self._place]
        return np.tile(np.concatenate([pose, np.zeros(3), [self._place]]), (length, 1))

    def _leg(self) -> Floats:
        """Knots [n, 7] of one more way; the last is at the next place, without velocity."""
        target = self._routes.choose(self._place, self._rng)
        curve = self._routes.curves[self._place, target]
        at_m = np.cumsum(_step_lengths(curve.length_m, self.walk.step_m, self._rng))
        poses = curve.at(at_m, self.walk.stray_m * np.clip(self._rng.standard_normal(), -2, 2))
        start = self._routes.poses[self._place]
        poses[:, 2] += 2 * np.pi * np.rint((start[2] - curve.start_yaw) / (2 * np.pi))  # whole turns, made before
        poses[-1, :2] = self._routes.poses[target][:2]  # to the last bit: there it rests
        around = np.concatenate([start[None], poses])
        tangents = np.zeros_like(poses)
        tangents[:-1] = (around[2:] - around[:-2]) / 2
        places = np.full((len(poses), 1), -1.0)
        self._place, places[-1] = target, target
        self._routes.turn(target, poses[-1, 2])
        self._steps += len(poses)
        return np.concatenate([poses, tangents, places], axis=1)


class _Curve(NamedTuple):
    """A way from one place to another, by the length along it: `table` [m, 4] of length, x, y, yaw (unwrapped)."""

    table: Floats

    @property
    def length_m(self) -> float:
        return float(self.table[-1, 0])

    @property
    def start_yaw(self) -> float:
        return float(self.table[0, 3])

    def at(self, length_m: Floats, stray_m: float) -> Floats:
        """Poses [n, 3] (x, y, yaw) at `length_m` [n], off to the side by up to `stray_m` in the middle."""
        column = [np.interp(length_m, self.table[:, 0], self.table[:, k]) for k in (1, 2, 3)]
        x, y, yaw = column
        step = np.gradient(self.table[:, 1:3], self.table[:, 0], axis=0)
        along = np.stack([np.interp(length_m, self.table[:, 0], step[:, k]) for k in (0, 1)])
        off = stray_m * np.sin(np.pi * length_m / self.length_m) ** 2
        return np.stack([x - off * along[1], y + off * along[0], yaw], axis=1)


class _Routes:
    """The places, and which ways lead from each to which others."""

    def __init__(self, walk: Walk, rng: np.random.Generator) -> None:
        half = walk.area_m / 2 - _MARGIN_M
        spots: list[Floats] = []
        while len(spots) < walk.places:
            spot = rng.uniform(-half, half, 2)
            if all(np.linalg.norm(spot - other) >= _APART_M for other in spots):
                spots.append(spot)
        self.poses = np.column_stack([_short_tour(np.array(spots)), rng.uniform(-np.pi, np.pi, walk.places)])
        self._tour = walk.tour
        self._targets: list[list[int]] = []
        for place in range(walk.places):
            following = (place + 1) % walk.places
            others = [k for k in range(walk.places) if k not in (place, following)]
            exits = sorted(others, key=lambda k: float(np.hypot(*(self.poses[k] - self.poses[place])[:2])))
            exits = exits[: walk.exits - 1]
            self._targets.append([following, *exits])
        self.curves = {
            (place, target): _curve(self.poses[place], self.poses[target], half, rng)
            for place, targets in enumerate(self._targets)
            for target in targets
        }
        lengths = [curve.length_m for curve in self.curves.values()]
        self.mean_steps = float(np.mean(lengths)) / (sum(walk.step_m) / 2)

    def choose(self, place: int, rng: np.random.Generator) -> int:
        """Where to go from a place."""
        following, *others = self._targets[place]
        return following if not others or rng.random() < self._tour else int(rng.choice(others))

    def turn(self, place: int, yaw: float) -> None:
        """The heading at a place, counted with the turns that were made on the way to it."""
        self.poses[place, 2] = yaw


def _short_tour(spots: Floats) -> Floats:
    """The spots [n, 2] in the order of a short round trip: from each to the nearest, then stretches turned about."""
    apart = np.linalg.norm(spots[:, None] - spots[None], axis=2)
    order = [0]
    while len(order) < len(spots):
        order.append(min(set(range(len(spots))) - set(order), key=lambda k: (float(apart[order[-1], k]), k)))

    def length(trip: list[int]) -> float:
        return float(apart[trip, trip[1:] + trip[:1]].sum())

    better = True
    while better:
        better = False
        for start, stop in itertools.combinations(range(1, len(order) + 1), 2):
            turned = order[:start] + order[start:stop][::-1] + order[stop:]
            if length(turned) < length(order) - 1e-9:
                order, better = turned, True
    return spots[order]


def _curve(start: Floats, stop: Floats, half_m: float, rng: np.random.Generator) -> _Curve:
    """A bent way: first with the heading of the one place, then along, at the end with that of the other."""
    ahead = stop[:2] - start[:2]
    side = np.array([-ahead[1], ahead[0]])
    bend = np.clip((start[:2] + stop[:2]) / 2 + rng.uniform(-0.25, 0.25) * side, -half_m, half_m)
    t = np.linspace(0, 1, _POINTS)[:, None]
    points = (1 - t) ** 2 * start[:2] + 2 * t * (1 - t) * bend + t**2 * stop[:2]
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    slope = np.gradient(points, axis=0)
    travel = np.unwrap(np.arctan2(slope[:, 1], slope[:, 0]))
    before = start[2] + _turned(travel[0] - start[2]) - travel[0]  # travel, in the turns of the start
    travel = travel + before
    turn_m = min(_TURN_M, length[-1] / 3)
    leaving = _smooth(length / turn_m)
    yaw = start[2] + (travel - start[2]) * leaving
    arriving = _smooth((length - length[-1] + turn_m) / turn_m)
    yaw = yaw + _turned(stop[2] - travel[-1]) * arriving
    return _Curve(np.column_stack([length, points, yaw]))


def _step_lengths(length_m: float, step_m: tuple[float, float], rng: np.random.Generator) -> Floats:
    """Lengths within `step_m` that add up to `length_m`, as different as they may be."""
    least, most = step_m
    count = max(1, round(length_m / ((least + most) / 2)))
    even = length_m / count
    room = max(0.0, 0.85 * min(even - least, most - even))
    off = rng.uniform(-1, 1, count)
    off -= off.mean()
    scale = np.abs(off).max()
    lengths: Floats = even + (room / scale * off if scale else off)
    return lengths


def _cubic(p: Floats, dp: Floats, q: Floats, dq: Floats, w: Floats) -> tuple[Floats, Floats, Floats]:
    """Hermite's cubic from p to q with slopes dp and dq, at w in [0, 1): value, first and second derivative."""
    d = q - p
    a, b = 2 * -d + dp + dq, 3 * d - 2 * dp - dq
    return ((a * w + b) * w + dp) * w + p, (3 * a * w + 2 * b) * w + dp, 6 * a * w + 2 * b


def _level(planar: Floats) -> Floats:
    """x, y, z, roll, pitch, yaw [n, 6] of x, y, yaw [n, 3]."""
    full = np.zeros((len(planar), 6))
    full[:, [0, 1, 5]] = planar
    return full


def _smooth(x: Floats) -> Floats:
    x = np.clip(x, 0, 1)
    result: Floats = x * x * (3 - 2 * x)
    return result


def _turned(angle: float) -> float:
    """An angle within half a turn of 0."""
    return float((angle + np.pi) % (2 * np.pi) - np.pi)
