"""Odometry: where a vehicle takes itself to be; and where it was sent, judged by nothing else."""

from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import Field

from sensorium.drivers.controls import Control, Value
from sensorium.drivers.stream import StreamSpec
from sensorium.sim.worlds.asking import Asking
from sensorium.sim.worlds.imperfections import NonNegative
from sensorium.sim.worlds.row_spec import row_spec
from sensorium.sim.worlds.senses.rows import RowErrors, RowSense
from sensorium.sim.worlds.senses.sense import Floats, SenseErrors

STREAM = "odometry"
_UNITS = {"x_m": "m", "y_m": "m", "z_m": "m", "yaw_rad": "rad"}


class OdometryErrors(SenseErrors):
    """At `hz`: `place_bias_m` and `yaw_bias_rad` are one sigma of what it is off by for good, `place_noise_m` and
    `yaw_noise_rad` of each reading. By default as of a rover that finds itself by landmarks; it does not drift."""

    hz: float = Field(default=20.0, ge=1, le=100)
    place_bias_m: NonNegative = 0.05
    place_noise_m: NonNegative = 0.02
    yaw_bias_rad: NonNegative = 0.02
    yaw_noise_rad: NonNegative = 0.01


def odometry_spec(errors: OdometryErrors, channels: Sequence[str]) -> StreamSpec:
    """Rows of these controls, float64 [n]: where it takes itself to be."""
    return row_spec(
        STREAM, "odometry", channels, ", ".join(_UNITS[name] for name in channels), errors.hz, frame="world"
    )


class Odometry:
    """Readings of `controls`, of which yaw is the last; `here` is the latest."""

    def __init__(self, errors: OdometryErrors, rng: np.random.Generator, controls: Sequence[Control]) -> None:
        self._names = [control.name for control in controls]
        place, yaw = rng.spawn(2)
        places = RowErrors(bias=errors.place_bias_m, noise=errors.place_noise_m)
        yaws = RowErrors(bias=errors.yaw_bias_rad, noise=errors.yaw_noise_rad)
        self._place = RowSense(places, place, errors.hz, len(controls) - 1)
        self._yaw = RowSense(yaws, yaw, errors.hz, 1)
        self.here: Floats = np.zeros(len(controls))

    def measure(self, ideal: Floats) -> Floats:
        """Readings [n, k] of `ideal` [n, k]; yaw within half a turn of 0."""
        read = np.hstack([self._place.measure(ideal[:, :-1]), self._yaw.measure(ideal[:, -1:])])
        read[:, -1] = (read[:, -1] + np.pi) % (2 * np.pi) - np.pi
        if len(read):
            self.here = read[-1].copy()
        return read

    def says(self) -> dict[str, Value]:
        """Where it takes itself to be, by control."""
        return {name: round(float(value), 4) for name, value in zip(self._names, self.here, strict=True)}


class Sent:
    """A vehicle that may be sent to a place: `goal` [k] by control is where (yaw: NaN where any will do), None: it goes
    as it would by itself. It is told as there once it was within `near_m`, and has turned; or `late`.

    Without `errors` it has no odometry, and cannot be sent.
    """

    def __init__(
        self, errors: OdometryErrors | None, rng: np.random.Generator, controls: Sequence[Control], near_m: float
    ) -> None:
        self.asking = Asking(controls if errors is not None else ())
        self.odometry = Odometry(errors or OdometryErrors(), rng, controls)
        self._controls = tuple(controls)
        self._near_m = near_m
        self._late_ns = 0
        self.goal: Floats | None = None
        self.is_there = False

    def ask(self, name: str, asked: Mapping[str, Value], now_ns: int) -> None:
        """As `World.ask`; a place that is not asked for stays as it is."""
        self.asking.ask(name, asked, now_ns)
        values = self.asking.values
        if values is None:
            self.goal, self.is_there = None, False
            return
        here = self.odometry.here
        kept = here.copy() if self.goal is None else np.where(np.isnan(self.goal), here, self.goal)
        kept[-1] = np.nan
        goal = [values.get(control.name, before) for control, before in zip(self._controls, kept.tolist(), strict=True)]
        self.goal, self.is_there = np.array([float(value) for value in goal]), False
        costs = [2 * control.cost_s_per_unit for control in self._controls]
        way = np.abs(np.nan_to_num(self.goal - here, nan=0.0))
        self._late_ns = now_ns + round((20.0 + float(way @ np.array(costs))) * 1e9)

    def judge(self, now_ns: int) -> None:
        """Where it is now by its odometry: tell, if it is there, or late."""
        if self.goal is None or not self.asking.open:
            return
        away = self.goal - self.odometry.here
        off_m = float(np.linalg.norm(away[:-1]))
        self.is_there = self.is_there or off_m < self._near_m
        turned = bool(np.isnan(away[-1])) or abs(float(turn_of(away[-1]))) < 0.15
        if self.is_there and turned:
            self.asking.settle(now_ns, self.odometry.says())
        elif now_ns >= self._late_ns:
            late_s = (self._late_ns - self.asking.begun_ns) / 1e9
            why = f"{off_m:.2f} m off after {late_s:.0f} s" if not self.is_there else f"not turned after {late_s:.0f} s"
            self.asking.settle(now_ns, self.odometry.says(), why)


def turn_of(angle: float) -> float:
    """An angle within half a turn of 0."""
    return float((angle + np.pi) % (2 * np.pi) - np.pi)


def place_controls(
    low: Sequence[float], high: Sequence[float], cell_m: float, s_per_m: float, s_per_rad: float = 1.0
) -> tuple[Control, ...]:
    """A place of two or three coordinates between `low` and `high`, m, and a yaw."""
    names = ("x_m", "y_m", "z_m")[: len(low)]
    made = [
        Control(name=name, plan="viewpoint", unit="m", low=a, high=b, cell=cell_m, cost_s_per_unit=s_per_m)
        for name, a, b in zip(names, low, high, strict=True)
    ]
    yaw = Control(name="yaw_rad", plan="viewpoint", unit="rad", low=-3.1416, high=3.1416, cost_s_per_unit=s_per_rad)
    return (*made, yaw)
