"""Episodes of the planar world that are known to be healthy or not: one planned fault each, or none.

Each fault strikes in every scene: calm, fast motion, darkness, and a body that stands still for most of the time.
"""

import heapq
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from operator import itemgetter
from pathlib import Path
from typing import Literal

import numpy as np

from sensorium.agents.agent import Agent
from sensorium.agents.device_file import check_device
from sensorium.drivers.clock import SECOND_NS, Clock
from sensorium.drivers.driver import Delivery, DriverConfig
from sensorium.drivers.identity import Identity
from sensorium.drivers.marks import EpisodeBegin, EpisodeEnd, Label
from sensorium.drivers.pacing import Pacer, Timed
from sensorium.drivers.stream import Stamps
from sensorium.ingest.server import Ingest
from sensorium.ingest.store import Store
from sensorium.sim.worlds.planar import SimPlanarConfig
from sensorium.sim.worlds.planar_honest import HonestSenses
from sensorium.sim.worlds.scene import PlanarScene
from sensorium.sim.worlds.senses.camera import CameraErrors
from sensorium.sim.worlds.senses.clock import ClockErrors
from sensorium.sim.worlds.senses.fault import Fault
from sensorium.sim.worlds.senses.imu import ImuErrors
from sensorium.sim.worlds.ticks import ticks
from sensorium.sim.worlds.trajectory import BodyMotion, Floats, Trajectory, body_motion

LENGTH_S = 8.0
SIZE_PX = (96, 72)
FOV_DEG = 70.0
CAMERA_HZ, IMU_HZ = 20.0, 200.0
SCENES = ("calm", "fast", "dark", "pause")
SENSOR = "rig"
_SCENES_DRAWN = 4
_REST_S = (1.0, 7.0)
"""Between these a body that pauses stands still."""


@dataclass(frozen=True)
class Strike:
    """A kind of fault of a stream, at three sizes, of which the first is the detection limit that is stated.

    `lengths_s` are how long it lasts, None to the end; `sizes` what the fault calls so, None where length is all.
    """

    stream: str
    kind: str
    lengths_s: tuple[float | None, float | None, float | None]
    sizes: tuple[float | None, float | None, float | None] = (None, None, None)
    channels: tuple[str, ...] = ()
    start_s: float = 2.0


STRIKES = (
    Strike("imu", "stuck", (0.15, 0.5, 2.0), channels=("gy",)),
    Strike("imu", "frozen", (0.15, 0.5, 2.0)),
    Strike("imu", "saturated", (0.03, 0.1, 0.5), channels=("ax",)),
    Strike("imu", "bias_step", (2.0, 2.0, 2.0), (0.12, 0.25, 0.5), channels=("gz",)),
    Strike("imu", "noise", (1.0, 1.0, 1.0), (0.05, 0.2, 0.6)),
    Strike("imu", "dropout", (0.02, 0.1, 0.5)),
    Strike("imu", "time_offset", (None, None, None), (0.0022, 0.003, 0.007)),
    Strike("imu", "drift", (None, None, None), (1500.0, 5000.0, 20_000.0)),
    Strike("imu", "jitter", (3.0, 3.0, 3.0), (0.0006, 0.0012, 0.0024)),
    Strike("cam", "frozen", (0.2, 0.5, 2.0)),
    Strike("cam", "saturated", (1.0, 1.0, 1.0), (0.15, 0.4, 1.0)),
    Strike("cam", "noise", (1.0, 1.0, 1.0), (8.0, 16.0, 32.0)),
    Strike("cam", "black", (1.0, 1.0, 1.0), (0.5, 0.8, 1.0)),
    Strike("cam", "dropout", (0.16, 0.5, 2.0)),
    Strike("cam", "time_offset", (None, None, None), (0.022, 0.03, 0.07)),
    Strike("cam", "drift", (None, None, None), (2000.0, 6000.0, 20_000.0)),
    Strike("cam", "jitter", (3.0, 3.0, 3.0), (0.006, 0.012, 0.02)),
)
"""What can be told from what was stored. `late` cannot: the stamps of what comes late are right."""


@dataclass(frozen=True)
class Case:
    """One episode: a scene, and what strikes in it; `level` is 0, 1 or 2, the number of the size."""

    number: int
    scene: str
    strike: Strike | None = None
    level: int = 0

    @property
    def labels(self) -> Mapping[str, Label]:
        strike = self.strike
        said: dict[str, Label] = (
            {} if strike is None else {"stream": strike.stream, "fault": strike.kind, "level": self.level}
        )
        return {"case": self.number, "scene": self.scene, **said}

    @property
    def faults(self) -> tuple[Fault, ...]:
        strike = self.strike
        if strike is None:
            return ()
        start_s = strike.start_s + (0.07 * self.number % 1.0 if strike.start_s else 0.0)
        length_s, size = strike.lengths_s[self.level], strike.sizes[self.level]
        planned = {"sensor": strike.stream, "kind": strike.kind, "start_s": start_s, "length_s": length_s}
        return (Fault.model_validate({**planned, "size": size, "channels": strike.channels}),)


def cases(each: int, strikes: Sequence[Strike] = STRIKES) -> list[Case]:
    """`each` episodes of every kind and size, the scenes in turn, and as many without any fault."""
    made: list[Case] = []
    for strike in strikes:
        for level in range(3):
            made += [Case(len(made) + row, SCENES[(row + level) % len(SCENES)], strike, level) for row in range(each)]
    faulty = len(made)
    return made + [Case(faulty + row, SCENES[row % len(SCENES)]) for row in range(faulty)]


class Resting:
    """A trajectory that stands still for a while: before and behind it goes on as if no time had passed."""

    def __init__(self, seed: int) -> None:
        self._trajectory = Trajectory(seed)

    def at(self, time_s: Floats) -> BodyMotion:
        """As `Trajectory.at`; it comes to rest and sets out again over half a second."""
        start_s, stop_s = _REST_S
        # the time that its own clock shows, with two derivatives: a quintic step from a pace of 1 to 0 and back
        down, up = _eased((time_s - start_s) / 0.5), _eased((time_s - stop_s + 0.5) / 0.5)
        pace, change = 1 - down[0] + up[0], (up[1] - down[1]) / 0.5
        passed = time_s - 0.5 * (down[2] - up[2])
        value, first, second = self._trajectory.derivatives(passed)
        return body_motion(value, first * pace[:, None], second * pace[:, None] ** 2 + first * change[:, None])


def _eased(x: Floats) -> tuple[Floats, Floats, Floats]:
    """A smooth step from 0 to 1 over 0 to 1, its slope, and the area below it."""
    within = np.clip(x, 0, 1)
    step = within**3 * (10 - 15 * within + 6 * within**2)
    slope = 30 * within**2 * (1 - within) ** 2
    area = within**4 * (2.5 - 3 * within + within**2) + np.maximum(x - 1, 0)
    return step, slope, area


class CasesConfig(DriverConfig):
    """Plays cases one after the other, each an episode with its labels."""

    kind: Literal["sim-faults"] = "sim-faults"
    played: tuple[Case, ...] = ()

    def open(self, name: str, base: Path) -> "Timed[Delivery]":  # noqa: ARG002
        specs = _config(self.played[0], 0).specs(f"{name}.")[:2]
        return Timed(specs, Clock(kind="simulated"), _deliveries(self.played, name), Pacer("fast"))

    def identity(self, base: Path) -> Identity | None:  # noqa: ARG002
        return None


def _config(case: Case, start_ns: int) -> SimPlanarConfig:
    seed = case.number
    drift_ppm = float(np.random.default_rng([seed, 50]).uniform(-30, 30))
    return SimPlanarConfig(
        seed=seed,
        size=SIZE_PX,
        fov_deg=FOV_DEG,
        camera_hz=CAMERA_HZ,
        imu_hz=IMU_HZ,
        start_ns=start_ns,
        imu_errors=ImuErrors(preset="bmi088"),
        camera=CameraErrors(full_well_e=8000, read_noise_e=12, light=0.08 if case.scene == "dark" else 1.0),
        camera_clock=ClockErrors(jitter_s=1e-4, drift_ppm=drift_ppm),
        imu_clock=ClockErrors(jitter_s=2e-5),
        faults=case.faults,
    )


@cache
def _scene(seed: int) -> PlanarScene:
    return PlanarScene(seed, *SIZE_PX, FOV_DEG, False)


def _deliveries(played: Sequence[Case], name: str) -> "Generator[tuple[int, Delivery], None, None]":
    base_ns = 0
    for case in played:
        end_ns = base_ns + round(LENGTH_S * SECOND_NS)
        yield base_ns, EpisodeBegin(base_ns - SECOND_NS // 2, dict(case.labels), base_ns)
        yield from _blocks(case, name, base_ns)
        yield end_ns, EpisodeEnd(end_ns + SECOND_NS, "")
        base_ns = end_ns + 2 * SECOND_NS


def _blocks(case: Case, name: str, base_ns: int) -> "Iterator[tuple[int, Delivery]]":
    seed = case.number
    motions = {"fast": Trajectory(seed, pace=3.0).at, "pause": Resting(seed).at}
    motion = motions.get(case.scene, Trajectory(seed).at)
    senses = HonestSenses(_config(case, base_ns), name, _scene(seed % _SCENES_DRAWN), motion, _always_here)
    sources = [senses.frames(lambda _: _ticks(CAMERA_HZ, SECOND_NS // 20)), senses.rows(lambda s: _ticks(IMU_HZ, s))]
    yield from heapq.merge(*sources, key=itemgetter(0))


def _always_here(since_ns: Stamps) -> np.typing.NDArray[np.bool_]:
    return np.ones(len(since_ns), np.bool_)


def _ticks(rate_hz: float, span_ns: int) -> Iterator[tuple[Stamps, float]]:
    for start_ns in range(0, round(LENGTH_S * SECOND_NS), span_ns):
        found = ticks(rate_hz, start_ns - 1, start_ns + span_ns - 1)
        if len(found):
            yield found, rate_hz


def recorded(played: Sequence[Case], folder: Path) -> Path:
    """A store with the episodes of all cases, by the way that any device's take."""
    store = folder / "corpus"
    with Store.open(store) as opened:
        ingest = Ingest(opened, "tcp://127.0.0.1:0")
        ingest.start()
        try:
            document = {
                "device": "bench",
                "sensors": {SENSOR: CasesConfig(played=tuple(played))},
                "trigger": {"kind": "source", "sensor": SENSOR},
                "ingest": {"url": ingest.address},
                "spool": {"path": folder / "spool"},
            }
            if not Agent(check_device(document, folder)).run():
                raise RuntimeError("the episodes were not all delivered")
        finally:
            ingest.stop()
    return store
