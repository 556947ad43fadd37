"""The rover's own way: by the truth of what lies where, around rocks and steep ground, to one place after another."""

from collections import deque
from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from sensorium.drivers.controls import Value
from sensorium.sim.worlds.mujoco.rover_scene import INSIDE_M, TRACK_M, WHEEL_M, RoverScene
from sensorium.sim.worlds.senses.odometry import Sent, turn_of

Floats = npt.NDArray[np.float64]

_CELL_M = 0.25
_CLEAR_M = 0.42
"""How much wider than they are it goes around things: half its own width, and a little."""
_FASTEST_M_S = 0.8
_SLIP = 1.7
"""Wheels that do not steer slip sideways when it turns: it turns as if its track were that much wider."""
_NEIGHBOURS = tuple((a, b, float(np.hypot(a, b))) for a in (-1, 0, 1) for b in (-1, 0, 1) if a or b)
_STUCK_S, _STUCK_M, _BACK_S = 2.0, 0.12, 1.2


class Pilot:
    """Drives to each of `goals` [2], m, in turn, until it is within `near_m`; stands still when there is no more."""

    def __init__(self, scene: RoverScene, goals: Iterator[Floats], near_m: float) -> None:
        self._goals = goals
        self._near_m = near_m
        self._cost = _costs(scene)
        self._goal: Floats | None = None
        self._left: Floats = np.zeros(0)
        self._been: deque[tuple[float, Floats]] = deque()
        self._back_until_s = -1.0
        self._side = 1.0

    def wheels(self, now_s: float, position: Floats, yaw: float) -> Floats:
        """Wheel speeds, rad/s, left and right, for a rover at `position` [2], m, that heads for `yaw`."""
        while self._goal is None or np.hypot(*(self._goal - position)) < self._near_m:
            self._goal = next(self._goals, None)
            if self._goal is None:
                return np.zeros(2)
            self._left = _distances(self._cost, _cell(self._goal))
        if now_s >= self._back_until_s and self._is_stuck(now_s, position):
            self._back_until_s, self._side = now_s + _BACK_S, -self._side
        if now_s < self._back_until_s:
            return _wheels(-0.6 * _FASTEST_M_S, 0.5 * self._side)
        ahead = self._ahead(position) - position
        turn = (float(np.arctan2(ahead[1], ahead[0])) - yaw + np.pi) % (2 * np.pi) - np.pi
        return _wheels(_FASTEST_M_S * max(0.0, float(np.cos(turn))) ** 2, float(np.clip(2.0 * turn, -1.2, 1.2)))

    def _ahead(self, position: Floats) -> Floats:
        """A place about a metre on along the way, or the goal."""
        cell = _cell(position)
        for _ in range(4):
            around = [(cell[0] + a, cell[1] + b) for a, b, _ in _NEIGHBOURS]
            best = min((at for at in around if _inside(at, self._left.shape)), key=self._left.__getitem__, default=cell)
            if not self._left[best] < self._left[cell]:
                break
            cell = best
        goal = np.zeros(2) if self._goal is None else self._goal
        return goal if cell == _cell(goal) else _place(cell)

    def _is_stuck(self, now_s: float, position: Floats) -> bool:
        if not self._been or now_s > self._been[-1][0]:
            self._been.append((now_s, position.copy()))
        while self._been[0][0] < now_s - _STUCK_S:
            self._been.popleft()
        since_s, was = self._been[0]
        stuck = now_s - since_s > 0.9 * _STUCK_S and float(np.hypot(*(position - was))) < _STUCK_M
        if stuck:
            self._been.clear()
        return stuck


class Driving:
    """Where it was `sent`, by its odometry, and there it stands; until it is sent, its `own` way by the truth."""

    def __init__(self, scene: RoverScene, own: Pilot, sent: Sent) -> None:
        self._scene, self._own, self.sent = scene, own, sent
        self._way = own

    def ask(self, name: str, asked: Mapping[str, Value], now_ns: int) -> None:
        """As `World.ask`."""
        self.sent.ask(name, asked, now_ns)
        if self.sent.goal is not None:
            self._way = Pilot(self._scene, iter([self.sent.goal[:2]]), 0.0)

    def wheels(self, now_s: float, pose: Floats) -> Floats:
        """Wheel speeds, rad/s, left and right, for a rover that is in truth at `pose` [3], x, y, yaw."""
        goal, here = self.sent.goal, self.sent.odometry.here
        if goal is None:
            return self._own.wheels(now_s, pose[:2], float(pose[2]))
        if not self.sent.asking.open:
            return np.zeros(2)
        if not self.sent.is_there:
            return self._way.wheels(now_s, here[:2], float(here[2]))
        along = float((goal[:2] - here[:2]) @ [np.cos(here[2]), np.sin(here[2])])  # on a slope it slides as it turns
        return _wheels(float(np.clip(along, -0.5, 0.5)), float(np.clip(2.5 * turn_of(goal[2] - here[2]), -1.2, 1.2)))


def places(scene: RoverScene, rng: np.random.Generator) -> Iterator[Floats]:
    """Free places, one after another, for ever."""
    free = np.argwhere(_costs(scene) < 4)
    while True:
        row, column = free[int(rng.integers(len(free)))]
        yield _place((int(row), int(column)))


def _wheels(speed_m_s: float, turn_rad_s: float) -> Floats:
    sideways = turn_rad_s * _SLIP * TRACK_M / 2
    return np.array([speed_m_s - sideways, speed_m_s + sideways]) / WHEEL_M


def _costs(scene: RoverScene) -> Floats:
    """What a metre costs in each cell [n, n], row by y; inf where something stands."""
    n = round(2 * INSIDE_M / _CELL_M)
    middle = (np.arange(n) + 0.5) * _CELL_M - INSIDE_M
    x, y = np.meshgrid(middle, middle)
    ground = scene.ground
    rise = np.hypot(
        ground.at(x + 0.2, y) - ground.at(x - 0.2, y), ground.at(x, y + 0.2) - ground.at(x, y - 0.2)
    ) / 0.4  # fmt: skip
    cost = 1 + (rise / 0.25) ** 2
    for thing in scene.things:
        apart = np.hypot(x - thing.x, y - thing.y) - thing.radius
        cost += 6 * np.clip((_CLEAR_M + 0.3 - apart) / 0.3, 0, 1)
        cost[apart < _CLEAR_M] = 200.0  # not closed: it may have been put there, and must come out again
    return np.asarray(cost, np.float64)


def _distances(cost: Floats, goal: tuple[int, int]) -> Floats:
    """What is left of the way to the goal from each cell: all of them look around themselves until none finds less."""
    wide = np.full((cost.shape[0] + 2, cost.shape[1] + 2), np.inf)  # with a border from which no way comes
    left = wide[1:-1, 1:-1]
    left[goal] = 0.0
    shifted = [(length, wide[1 + a : 1 + a + len(left), 1 + b : 1 + b + len(left.T)]) for a, b, length in _NEIGHBOURS]
    lengths = sorted({length for length, _ in shifted})
    around = [(length * _CELL_M * cost, [of for other, of in shifted if other == length]) for length in lengths]
    while True:
        found = np.minimum.reduce([np.minimum.reduce(views) + steps for steps, views in around])
        if not (found < left).any():
            return left.copy()
        np.minimum(left, found, out=left)


def _cell(place: Floats) -> tuple[int, int]:
    n = round(2 * INSIDE_M / _CELL_M)
    column, row = (int(np.clip((value + INSIDE_M) / _CELL_M, 0, n - 1)) for value in place)
    return row, column


def _place(cell: tuple[int, int]) -> Floats:
    return (np.array([cell[1], cell[0]]) + 0.5) * _CELL_M - INSIDE_M


def _inside(cell: tuple[int, int], shape: tuple[int, ...]) -> bool:
    return 0 <= cell[0] < shape[0] and 0 <= cell[1] < shape[1]
