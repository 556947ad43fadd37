"""The world `sim-planar`: a camera and an IMU on one smooth trajectory over a textured plane, all of it seeded."""

from collections import deque
from collections.abc import Generator, Iterator
from fractions import Fraction
from pathlib import Path
from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, model_validator

from sensorium.drivers.batching import BLOCK_NS
from sensorium.drivers.clock import SECOND_NS, Clock
from sensorium.drivers.driver import Delivery, Driver
from sensorium.drivers.marks import SourceNote
from sensorium.drivers.pacing import Due, Pacer, Source, Timed, merge
from sensorium.drivers.region import Regional, regional
from sensorium.drivers.stream import Stamps, StreamSpec
from sensorium.errors import ConfigError, SensorLost
from sensorium.sim.worlds.config import going_on
from sensorium.sim.worlds.imperfections import NonNegative, Outlet, Positive, with_noise
from sensorium.sim.worlds.planar_honest import HonestSenses
from sensorium.sim.worlds.planar_sensors import PlanarSensors, RateHz
from sensorium.sim.worlds.planar_world import PlanarWorld
from sensorium.sim.worlds.scene import SIDE_M, PlanarScene
from sensorium.sim.worlds.senses.imu import ImuSense
from sensorium.sim.worlds.trajectory import Trajectory
from sensorium.sim.worlds.walk import Walk, WalkTrajectory, side_m
from sensorium.sim.worlds.world import World

_MOST_M = 80


class _Incident(BaseModel):
    """Something that happens to the sensor at a moment of its world."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class RateChange(_Incident):
    """From `at_s` on sensors run at these rates; one that is left out keeps its own."""

    at_s: Positive
    camera_hz: RateHz | None = None
    imu_hz: RateHz | None = None


class Unplugging(_Incident):
    """At `at_s` the sensor is pulled (`SensorLost`); it can be opened again once `for_s` have passed."""

    at_s: NonNegative
    for_s: Positive


class SimPlanarConfig(PlanarSensors):
    """A camera and an IMU over a textured plane, on a trajectory of their own, or flown by actions.

    By itself it hovers over one spot, or goes on its `walk`, without end where `duration_s` is None; the same seed
    gives the same bytes at any pace. A world that was pulled goes on when the same configuration object is opened
    again, at the time that it is then; as with any sensor, what it missed in between is for the caller to count. With a
    `task` or `episode_s` it shows that task instead, flown by its script. A task is over after `limit_s`. As it runs by
    itself it can be asked for a region of its pictures.
    """

    version: ClassVar[str] = PlanarWorld.version

    kind: Literal["sim-planar"] = "sim-planar"
    seed: int = Field(default=0, ge=0)
    walk: Walk | None = None
    rate_changes: tuple[RateChange, ...] = ()
    disconnects: tuple[Unplugging, ...] = ()
    limit_s: Positive = 30.0

    _pulled: "tuple[_World, Pacer] | None" = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _in_view(self) -> "SimPlanarConfig":
        if self.walk is not None and (side := side_m(self.walk, self.size, self.fov_deg)) > _MOST_M:
            raise ValueError(
                f"walk: such a camera sees a plane {side:.0f} m wide, expected at most {_MOST_M}; less fov_deg,"
                " a flatter size, or a smaller area_m"
            )
        return self

    @model_validator(mode="after")
    def _one_motion(self) -> "SimPlanarConfig":
        if (self.task or self.episode_s or self.odometry) and (alone := self._alone()):
            raise ValueError(f"{alone} with a task: it is of the motion without one; leave either out")
        return self

    def by_itself(self) -> Self:
        return self if self.odometry is None else going_on(self)

    def make(self) -> World:
        """The world to act on. It has no walk and no incidents."""
        if alone := self._alone():
            raise ConfigError(f"{alone}: of the motion by itself alone, nobody can act on it; leave it out")
        return PlanarWorld(self, self.limit_s)

    def open(self, name: str, base: Path) -> Driver:
        """Draw the texture, or go on with the world that was pulled; frames are rendered as they are due.

        Raises:
            SensorLost: it was pulled and is not back yet.
        """
        if self.task or self.episode_s or self.odometry:
            return regional(super().open(name, base))
        world, pacer = self._pulled or (_World(self, name), Pacer(self.pace))
        now_ns = pacer.reached_ns()
        if now_ns is not None and now_ns < world.back_ns:
            raise SensorLost(f"{name}: unplugged for {(world.back_ns - now_ns) / SECOND_NS:.1f} s more; open it then")
        self._pulled = None
        timed = Timed(world.specs, Clock(kind="simulated"), world.told(pacer, now_ns), pacer)
        return Regional(timed, world.specs[0])

    def _alone(self) -> str:
        """The first thing that is set and only the motion by itself has."""
        found = (("walk", self.walk), ("rate_changes", self.rate_changes), ("disconnects", self.disconnects))
        return next((name for name, value in found if value), "")

    def pulled(self, world: "_World", pacer: Pacer) -> None:
        """Keep a world whose sensor was pulled, for the next `open`."""
        self._pulled = (world, pacer)


class _World:
    """Everything that goes on while the sensor is away."""

    def __init__(self, config: SimPlanarConfig, name: str) -> None:
        self._config = config
        self._name = name
        walk, seed = config.walk, config.seed
        self._trajectory = Trajectory(seed) if walk is None else WalkTrajectory(walk, seed)
        wide_m = SIDE_M if walk is None else side_m(walk, config.size, config.fov_deg)
        self._scene = PlanarScene(seed, *config.size, config.fov_deg, config.color, wide_m)
        self._camera, self._imu, self._truth = config.specs(f"{name}.")
        self.specs: tuple[StreamSpec, ...] = (self._camera, self._imu)
        self.specs += (self._truth,) if config.truth else ()
        self.notes: list[SourceNote] = []
        self.back_ns = config.start_ns
        spans = ((pull.at_s, pull.at_s + pull.for_s) for pull in sorted(config.disconnects, key=lambda pull: pull.at_s))
        self._outages_ns = [(round(start * SECOND_NS), round(stop * SECOND_NS)) for start, stop in spans]
        self._pulls = deque((start + config.start_ns, stop + config.start_ns) for start, stop in self._outages_ns)
        self._items = merge(self._sources(config, name))
        self._held: Due | None = None

    def told(self, pacer: Pacer, from_ns: int | None) -> Generator[tuple[int, Delivery], None, None]:
        """What comes out in a session, and before it what was planned to go wrong."""
        notes, self.notes = self.notes, []
        yield from ((self._config.start_ns, note) for note in notes)
        yield from self.session(pacer, from_ns)

    def session(self, pacer: Pacer, from_ns: int | None) -> Source:
        """What comes out until the sensor is pulled next; before `from_ns` nobody was there."""
        end_ns = self._config.start_ns + (self._end_ns or 0)
        while True:
            item = self._held or next(self._items, None)
            # Only what comes next tells that the moment of a pull has passed; it is held for the session after, and
            # the pacer goes on, so that the world runs while nobody reads it. A pull may come after the last item.
            if self._pulls and (end_ns if item is None else item[0]) >= self._pulls[0][0]:
                self._held = item
                pulled_ns, self.back_ns = self._pulls.popleft()
                self._config.pulled(self, pacer.continued())
                raise SensorLost(f"{self._name}: unplugged at {pulled_ns} ns of simulated time; open it again")
            self._held = None
            if item is None:
                return
            if from_ns is None or item[0] >= from_ns:
                yield item

    def _sources(self, config: SimPlanarConfig, name: str) -> list[Source]:
        if config.is_plain:
            return [self._frames(), self._rows()]
        honest = HonestSenses(config, name, self._scene, self._trajectory.at, self._here)
        self.specs, self.notes = (*self.specs, *honest.specs), honest.notes()
        changes = config.rate_changes
        camera = [(change.at_s, change.camera_hz) for change in changes]
        imu = [(change.at_s, change.imu_hz) for change in changes]
        return [
            honest.frames(lambda span_ns: self._ticks(config.camera_hz, camera, span_ns)),
            honest.rows(lambda span_ns: self._ticks(config.imu_hz, imu, span_ns)),
            honest.told(lambda span_ns: self._ticks(config.imu_hz, imu, span_ns)),
        ]

    def _frames(self) -> Source:
        config = self._config
        offset_ns = round(config.camera_offset_s * SECOND_NS)
        outlet = self._outlet(self._camera, 2, offset_ns, config.jitter_s, config.camera_drop)
        changes = [(change.at_s, change.camera_hz) for change in config.rate_changes]
        noise = np.random.default_rng([config.seed, 7])
        for since_ns, _ in self._ticks(config.camera_hz, changes, span_ns=1):
            if self._here(since_ns).all():
                stamps, kept = outlet.admit(since_ns)
                motion = self._trajectory.at(since_ns[kept] / SECOND_NS)
                poses = zip(motion.position, motion.rotation, strict=True)
                seen = [self._scene.render(position, rotation) for position, rotation in poses]
                frames = [with_noise(frame, config.pixel_noise, noise)[None] for frame in seen]
                yield from outlet.blocks(stamps, kept, frames[0] if frames else np.empty(0))
        yield from outlet.end(self._end_ns or 0)

    def _rows(self) -> Source:
        config = self._config
        outlet = self._outlet(self._imu, 3, 0, config.jitter_s, config.imu_drop)
        true_outlet = self._outlet(self._truth, 4)
        sense = ImuSense(config.imu_errors, np.random.default_rng([config.seed, 5]), config.imu_hz)
        changes = [(change.at_s, change.imu_hz) for change in config.rate_changes]
        for since_ns, rate_hz in self._ticks(config.imu_hz, changes, BLOCK_NS):
            motion = self._trajectory.at(since_ns / SECOND_NS)
            ideal = np.concatenate([motion.angular_velocity, motion.specific_force], axis=1)
            data, bias = sense.measure(ideal, rate_hz), sense.bias  # while it is away too: the biases walk on
            here = self._here(since_ns)
            if not here.any():
                continue
            stamps, kept = outlet.admit(since_ns[here])
            yield from outlet.blocks(stamps, kept, data[here][kept])
            if config.truth:
                columns = (motion.position, motion.quaternion, motion.velocity, motion.angular_velocity, bias)
                stamps, kept = true_outlet.admit(since_ns[here])
                yield from true_outlet.blocks(stamps, kept, np.concatenate(columns, axis=1)[here])
        yield from outlet.end(self._end_ns or 0)

    def _here(self, since_ns: Stamps) -> np.typing.NDArray[np.bool_]:
        """At which of these moments of true time the sensor is plugged in."""
        away = [(since_ns >= start_ns) & (since_ns < stop_ns) for start_ns, stop_ns in self._outages_ns]
        return ~np.any(away, axis=0) if away else np.ones(len(since_ns), np.bool_)

    def _outlet(
        self, spec: StreamSpec, number: int, offset_ns: int = 0, jitter_s: float = 0.0, drop: float = 0.0
    ) -> Outlet:
        rng = np.random.default_rng([self._config.seed, number])
        return Outlet(spec, rng, self._config.start_ns + offset_ns, jitter_s * SECOND_NS, drop)

    @property
    def _end_ns(self) -> int | None:
        return None if self._config.duration_s is None else round(self._config.duration_s * SECOND_NS)

    def _ticks(
        self, rate_hz: float, changes: list[tuple[float, float | None]], span_ns: int
    ) -> Iterator[tuple[Stamps, float]]:
        """Moments of true time, ns, in arrays that span up to `span_ns`, and the rate; it starts anew at a change."""
        rates = [(0, rate_hz), *sorted((round(at * SECOND_NS), hz) for at, hz in changes if hz is not None)]
        ends: list[int | None] = [start for start, _ in rates[1:]]
        for (start_ns, hz), end_ns in zip(rates, [*ends, self._end_ns], strict=True):
            bounds = [bound for bound in (end_ns, self._end_ns) if bound is not None]
            for since_ns in _steady(hz, start_ns, min(bounds, default=None), span_ns):
                yield since_ns, hz


def _steady(rate_hz: float, start_ns: int, end_ns: int | None, span_ns: int) -> Iterator[Stamps]:
    """Tick n of a steady rate stands at start + floor(n / rate), exactly, however large n is."""
    rate = Fraction(rate_hz).limit_denominator(1000)
    per_block = max(1, int(rate_hz * span_ns / SECOND_NS))
    first = 0
    while True:
        tick = np.arange(first, first + per_block, dtype=np.int64)
        # whole turns of `denominator` seconds first, so that the product stays within 64 bits
        turns, within = np.divmod(tick, rate.numerator)
        since_ns = turns * rate.denominator * SECOND_NS + within * rate.denominator * SECOND_NS // rate.numerator
        since_ns += start_ns
        if end_ns is not None:
            since_ns = since_ns[since_ns < end_ns]
        if not len(since_ns):
            return
        yield since_ns
        first += per_block
