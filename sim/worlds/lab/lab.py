"""The world `sim-lab`: instruments over a grown sample; an action is the next measurement, and costs time.

Its senses have no human analogue: it is the small model of a laboratory that drives itself.
"""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from sensorium.drivers.clock import SECOND_NS
from sensorium.drivers.controls import Control, Value
from sensorium.drivers.stream import Block, Samples
from sensorium.errors import ConfigError
from sensorium.sim.worlds.asking import Asking
from sensorium.sim.worlds.config import WorldConfig
from sensorium.sim.worlds.imperfections import Positive
from sensorium.sim.worlds.lab.instruments import (
    PointProbe,
    ProbeErrors,
    Spectrometer,
    SpectrometerErrors,
    ThermalCamera,
    ThermalErrors,
)
from sensorium.sim.worlds.lab.progress import PhaseMap, stands_out
from sensorium.sim.worlds.lab.sample import DEFECT_KINDS, SIDE_MM, Defect, Sample
from sensorium.sim.worlds.lab.stage import Travel
from sensorium.sim.worlds.lab.streams import INSTRUMENTS, STAGE_HZ, lab_controls, lab_specs
from sensorium.sim.worlds.senses.clock import ClockErrors, SenseClock
from sensorium.sim.worlds.senses.fault import Fault, check_faults
from sensorium.sim.worlds.senses.faults import Faults
from sensorium.sim.worlds.senses.port import Port
from sensorium.sim.worlds.senses.rows import RowErrors, RowSense
from sensorium.sim.worlds.ticks import ticks
from sensorium.sim.worlds.world import Action, Done, Observation, World, WorldSpecs

SPECTROMETER, THERMAL, PROBE = range(3)
TASKS: Mapping[str, str] = {
    "map": "Find which phase is where: the nearest spectrum of each place is of the right phase in `mapped` of all.",
    "find-defects": "Measure every inclusion, void and crack so that it stands out of the noise.",
}
_SWAP_S = 0.3
_TOUCH_S = 0.4
_RASTER = 7
_RASTER_DWELL_S = 0.05
_SECOND_COSTS = 0.001
_STAY_S = 0.5


class SimLabConfig(WorldConfig):
    """An action is `x`, `y` (mm), `instrument` (0 spectrometer, 1 thermal camera, 2 probe; rounded) and `dwell` (s).

    It costs the way there, 0.3 s to swap instruments, 0.4 s for a touch, and the dwell. The sample has `phases` phases
    and `defects` defects, drawn by the seed of the reset. `map` is done at the share `mapped` of places, either task
    is cut after `limit_s`. Streams, each measurement stamped with the middle of its dwell: `stage` float64 [2] mm at 20
    Hz, `spectrum` float32 [64], `thermal` uint16 [24, 32] in 0.01 K, `probe` float64 [2]; truth: `phases`, `spectra`,
    `defects` at the reset, `stage_true`, `progress`, and `faults` where such are planned.

    Controls are the next measurement (plan `measure`: `x_mm`, `y_mm`, `instrument` by name, `dwell_s`; what is left
    out stays as it was); once that is taken it measures there on, half a second at a time, until it is asked again.
    """

    version: ClassVar[str] = "2"

    kind: Literal["sim-lab"] = "sim-lab"
    phases: Annotated[int, Field(ge=2, le=8)] = 4
    defects: Annotated[int, Field(ge=0, le=30)] = 6
    mapped: Annotated[float, Field(gt=0, lt=1)] = 0.9
    limit_s: Positive = 240.0
    stage: RowErrors = RowErrors(noise=0.002, step=0.001, bias=0.01)
    spectrometer: SpectrometerErrors = SpectrometerErrors()
    thermal: ThermalErrors = ThermalErrors()
    probe: ProbeErrors = ProbeErrors()
    clock: ClockErrors = ClockErrors()
    faults: tuple[Fault, ...] = ()

    @model_validator(mode="after")
    def _possible(self) -> "SimLabConfig":
        check_faults(self.faults, lab_specs(()).sensed)
        return self

    def make(self) -> World:
        return LabWorld(self)


class LabWorld(World):
    version = SimLabConfig.version
    tasks = TASKS

    def __init__(self, config: SimLabConfig) -> None:
        self._config = config
        planned = Faults(config.faults, lab_specs(()).sensed, np.random.default_rng(0))
        self.specs: WorldSpecs = lab_specs(() if planned.spec is None else (planned.spec,))
        self._run: _Run | None = None

    def reset(self, seed: int, task: str) -> Observation:
        if task not in self.tasks:
            raise ConfigError(f"sim-lab: no task {task!r}, expected one of {', '.join(self.tasks)}")
        self._run = _Run(self._config, self.specs, seed, task)
        return self._run.begun()

    @property
    def controls(self) -> tuple[Control, ...]:
        return lab_controls()

    def ask(self, name: str, asked: Mapping[str, Value]) -> None:
        if self._run is None:
            raise ValueError("sim-lab: no task was begun; reset it, then ask")
        self._run.ask(name, asked)

    def step(self, action: Action) -> tuple[Observation, Done]:
        asked = self.specs.clipped(action)
        if self._run is None or self._run.done:
            raise RuntimeError(f"sim-lab: {'no task was begun' if self._run is None else self._run.done}; reset it")
        return self._run.measure(asked), self._run.done

    def scripted(self) -> Action:
        if self._run is None:
            raise RuntimeError("sim-lab: no task was begun; reset it")
        return self.specs.clipped(self._run.next())


class _Run:
    """One sample on the stage, since the reset."""

    def __init__(self, config: SimLabConfig, specs: WorldSpecs, seed: int, task: str) -> None:
        rngs = np.random.default_rng([seed, 0]).spawn(10)
        self._config = config
        self._task = task
        self._now_ns = 0
        self.done: Done = ""
        self._sample = Sample(rngs[0], config.phases, config.defects)
        self._instruments = (
            Spectrometer(config.spectrometer, rngs[1]),
            ThermalCamera(config.thermal, rngs[2]),
            PointProbe(config.probe, rngs[3]),
        )
        self._in_place = SPECTROMETER
        self._place = np.full(2, SIDE_MM / 2)
        self._encoders = RowSense(config.stage, rngs[4], STAGE_HZ, 2)
        self._faults = Faults(config.faults, specs.sensed, rngs[5])
        clocks = zip(specs.sensed, rngs[6:], strict=True)
        self._ports = {spec.name: Port(spec, SenseClock(config.clock, rng), self._faults) for spec, rng in clocks}
        self._map = PhaseMap(self._sample)
        self._found: set[int] = set()
        self._taken = [0, 0, 0]
        self._asking = Asking(lab_controls())

    def begun(self) -> Observation:
        sample = self._sample
        marks = [(d.x_mm, d.y_mm, d.radius_mm, DEFECT_KINDS.index(d.kind), d.angle_rad) for d in sample.defects]
        truth = [
            _at("phases", np.zeros(1, np.int64), sample.phases[None]),
            _at("spectra", np.zeros(len(sample.spectra), np.int64), sample.spectra),
            _at("defects", np.zeros(len(marks), np.int64), np.array(marks, np.float64).reshape(len(marks), 5)),
            *self._stood(-1, Travel(self._place, self._place, 0)),
        ]
        return self._observed([block for block in truth if len(block)], {})

    def measure(self, asked: Action) -> Observation:
        """Go there, swap, touch if it is to be, and dwell."""
        before = self._map.share, len(self._found)
        start_ns = self._now_ns
        instrument, dwell_s = int(np.rint(asked[2])), float(asked[3])
        travel = Travel(self._place, asked[:2].copy(), start_ns)
        ready_s = travel.length_s + (_SWAP_S if instrument != self._in_place else 0.0)
        ready_s += _TOUCH_S / 2 if instrument == PROBE else 0.0
        whole_s = ready_s + dwell_s + (_TOUCH_S / 2 if instrument == PROBE else 0.0)
        self._now_ns = start_ns + round(whole_s * SECOND_NS)
        asked_for = self._asked()
        self._place, self._in_place = travel.end, instrument
        truth = self._stood(start_ns, travel)
        self._take(instrument, np.array([start_ns + round((ready_s + dwell_s / 2) * SECOND_NS)]), dwell_s)
        if asked_for is not None and np.array_equal(asked_for, asked):
            x_mm, y_mm = self._encoders.measure(self._place[None])[0].round(4).tolist()
            did = {"x_mm": x_mm, "y_mm": y_mm, "instrument": INSTRUMENTS[instrument], "dwell_s": dwell_s}
            self._asking.settle(self._now_ns, did)
        mapped, found = self._map.share, len(self._found)
        self.done = self._end(mapped, found)
        is_map = self._task == "map"
        rewards = {
            "mapped": mapped - before[0] if is_map else 0.0,
            "found": 0.0 if is_map else float(found - before[1]),
            "time": -_SECOND_COSTS * whole_s,
        }
        return self._observed(truth, rewards)

    def ask(self, name: str, asked: Mapping[str, Value]) -> None:
        self._asking.ask(name, asked, self._now_ns)

    def _asked(self) -> Action | None:
        """The measurement that was asked for, and was not taken yet."""
        values = self._asking.values
        if values is None or not self._asking.open:
            return None
        instrument = INSTRUMENTS.index(str(values.get("instrument", INSTRUMENTS[self._in_place])))
        x_mm, y_mm = (values.get(name, at) for name, at in zip(("x_mm", "y_mm"), self._place.tolist(), strict=True))
        return np.array([float(x_mm), float(y_mm), instrument, float(values.get("dwell_s", _RASTER_DWELL_S))])

    def next(self) -> Action:
        """What was asked for, or more of it. By itself a look with each of the others; then a raster and where the map
        is in doubt, or the nearest defect left."""
        if (asked := self._asked()) is not None:
            return asked
        if self._asking.values is not None:
            return np.array([*self._place, self._in_place, _STAY_S])
        for instrument, dwell_s in ((THERMAL, 0.5), (PROBE, 0.1)):
            if not self._taken[instrument]:
                return np.array([*self._place, instrument, dwell_s])
        if self._task == "find-defects":
            left = [d for number, d in enumerate(self._sample.defects) if number not in self._found]
            if left:
                near = min(left, key=lambda d: float(np.hypot(d.x_mm - self._place[0], d.y_mm - self._place[1])))
                return np.array([near.x_mm, near.y_mm, DEFECT_KINDS.index(near.kind), self._dwell(near)])
        taken = self._taken[SPECTROMETER]
        if taken < _RASTER**2:
            row, column = divmod(taken, _RASTER)
            column = column if row % 2 == 0 else _RASTER - 1 - column
            x_mm, y_mm = ((np.array([column, row]) + 0.5) * (SIDE_MM / _RASTER)).tolist()
        else:
            x_mm, y_mm = self._map.doubtful(self._place)
        return np.array([x_mm, y_mm, SPECTROMETER, _RASTER_DWELL_S])

    def _dwell(self, defect: Defect) -> float:
        """Long enough for it to stand out."""
        instrument = self._instruments[DEFECT_KINDS.index(defect.kind)]
        for dwell_s in (0.05, 0.1, 0.2, 0.5, 1.0):
            if stands_out(defect, self._sample, instrument, defect.x_mm, defect.y_mm, dwell_s):
                return dwell_s
        return 2.0

    def _take(self, instrument: int, middle_ns: np.typing.NDArray[np.int64], dwell_s: float) -> None:
        x_mm, y_mm = self._place.tolist()
        tool, sample = self._instruments[instrument], self._sample
        read: Samples = tool.measure(sample, x_mm, y_mm, dwell_s)
        came = self._ports[("spectrum", "thermal", "probe")[instrument]].put(middle_ns, read[None])
        self._taken[instrument] += 1
        if not came.kept[0]:
            return
        if instrument == SPECTROMETER:  # whoever draws the map has what came, whatever faults made of it
            self._map.add(x_mm, y_mm, came.data[0])
        if not np.array_equal(came.data[0], read):  # what a fault has changed shows nothing
            return
        for number, defect in enumerate(sample.defects):
            if number not in self._found and stands_out(defect, sample, tool, x_mm, y_mm, dwell_s):
                self._found.add(number)

    def _end(self, mapped: float, found: int) -> Done:
        reached = mapped >= self._config.mapped if self._task == "map" else found == len(self._sample.defects)
        if reached:
            return "terminated"
        return "truncated" if self._now_ns >= self._config.limit_s * SECOND_NS else ""

    def _stood(self, before_ns: int, travel: Travel) -> list[Block]:
        """Where the stage was, sensed and true, and how far all is."""
        stamps = ticks(STAGE_HZ, before_ns, self._now_ns)
        places = travel.at(stamps.astype(np.float64))
        self._ports["stage"].put(stamps, self._encoders.measure(places))
        return [_at("stage_true", stamps, places)] if len(stamps) else []

    def _observed(self, truth: list[Block], rewards: Mapping[str, float]) -> Observation:
        now_ns = self._now_ns
        counts = np.array([[self._map.share, len(self._found)]], np.float64)
        truth = [*truth, _at("progress", np.array([now_ns], np.int64), counts)]
        struck = self._faults.until(now_ns)
        ports = self._ports.values()
        sensed = [block for port in ports for block in (port.rest() if self.done else port.until(now_ns))]
        return Observation(
            now_ns,
            tuple(sensed),
            tuple(truth if struck is None else [*truth, struck]),
            rewards,
            self._faults.notes(now_ns),
            self._asking.told(),
        )


def _at(stream: str, stamps: np.typing.NDArray[np.int64], data: Samples) -> Block:
    return Block(stream, stamps, data)
