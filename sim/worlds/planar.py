"""The world `sim-planar`: a camera and an IMU on one smooth trajectory over a textured plane, all of it seeded."""

from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, model_validator

from sensorium.drivers.batching import BLOCK_NS
from sensorium.drivers.clock import Clock
from sensorium.drivers.driver import DriverConfig
from sensorium.drivers.identity import Identity
from sensorium.drivers.pacing import Due, Pace, Paced, Pacer, Source, merge
from sensorium.drivers.stream import Stamps, StreamSpec
from sensorium.errors import SensorLost
from sensorium.sim.worlds.imperfections import NonNegative, Outlet, Positive, Probability, with_noise
from sensorium.sim.worlds.scene import BODY_FROM_CAMERA, SIDE_M, PlanarScene
from sensorium.sim.worlds.senses.imu import ImuErrors, ImuSense
from sensorium.sim.worlds.trajectory import Trajectory
from sensorium.sim.worlds.walk import Walk, WalkTrajectory, side_m

SECOND_NS = 1_000_000_000
_MOST_M = 80
RateHz = Annotated[float, Field(gt=0, le=100_000)]
Side = Annotated[int, Field(ge=8, le=8192)]

_POSE = ("px", "py", "pz", "qw", "qx", "qy", "qz")
TRUTH = (*_POSE, "vx", "vy", "vz", "wx", "wy", "wz", "bgx", "bgy", "bgz", "bax", "bay", "baz")
_TRUTH_UNITS = ["m"] * 3 + [""] * 4 + ["m/s"] * 3 + ["rad/s"] * 6 + ["m/s^2"] * 3
_IMU_UNITS = ["rad/s"] * 3 + ["m/s^2"] * 3


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


class SimPlanarConfig(DriverConfig):
    """`size` is width, height in px; `duration_s` None never ends; time begins at `start_ns`.

    Streams: `name.cam` uint8 [h, w], or [h, w, 3] BGR with `color`; `name.imu` float64 [6] gx gy gz ax ay az in body
    axes, gravity included; with `truth` also `name.truth` float64 [19] at the moments of the IMU: position,
    quaternion (w x y z, body to world), velocity in the world, angular velocity in the body, the IMU's biases.
    Without `walk` it hovers over one spot. `pixel_noise`, gray levels, one sigma, is in every pixel on its own.
    `camera_offset_s` is how late the camera's stamps are. Stamps of `truth` are true. The same seed gives the same
    bytes at any pace. A world that was pulled goes on when the same configuration object is opened again, at the time
    that it is then; as with any sensor, what it missed in between is for the caller to count.
    """

    kind: Literal["sim-planar"] = "sim-planar"
    seed: int = Field(default=0, ge=0)
    size: tuple[Side, Side] = (320, 240)
    color: bool = False
    fov_deg: float = Field(default=70.0, gt=1, lt=120)
    camera_hz: RateHz = 30.0
    imu_hz: RateHz = 200.0
    duration_s: NonNegative | None = None
    start_ns: int = 0
    pace: Pace = 1.0
    truth: bool = False
    walk: Walk | None = None
    pixel_noise: NonNegative = 0.0
    imu_errors: ImuErrors = ImuErrors()
    jitter_s: NonNegative = 0.0
    camera_offset_s: float = Field(default=0.0, allow_inf_nan=False)
    camera_drop: Probability = 0.0
    imu_drop: Probability = 0.0
    rate_changes: tuple[RateChange, ...] = ()
    disconnects: tuple[Unplugging, ...] = ()

    _pulled: "tuple[_World, Pacer] | None" = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _in_view(self) -> "SimPlanarConfig":
        if self.walk is not None and (side := side_m(self.walk, self.size, self.fov_deg)) > _MOST_M:
            raise ValueError(
                f"walk: such a camera sees a plane {side:.0f} m wide, expected at most {_MOST_M}; less fov_deg,"
                " a flatter size, or a smaller area_m"
            )
        return self

    def open(self, name: str, base: Path) -> Paced:  # noqa: ARG002 (a world needs no folder)
        """Draw the texture, or go on with the world that was pulled; frames are rendered as they are due.

        Raises:
            SensorLost: it was pulled and is not back yet.
        """
        world, pacer = self._pulled or (_World(self, name), Pacer(self.pace))
        now_ns = pacer.reached_ns()
        if now_ns is not None and now_ns < world.back_ns:
            raise SensorLost(f"{name}: unplugged for {(world.back_ns - now_ns) / SECOND_NS:.1f} s more; open it then")
        self._pulled = None
        return Paced(world.specs, Clock(kind="simulated"), world.session(pacer, now_ns), pacer)

    def identity(self, base: Path) -> Identity:  # noqa: ARG002 (a world needs no folder)
        """Its kind, version, seed and all that is set of it but the pace."""
        said = self.model_dump(mode="json", exclude={"pace"})
        return Identity({**said, "version": version("sensorium")}, ends=self.duration_s is not None)

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
        self._camera, self._imu, self._truth = _specs(config, name, self._scene)
        self.specs = (self._camera, self._imu, self._truth) if config.truth else (self._camera, self._imu)
        self.back_ns = config.start_ns
        spans = ((pull.at_s, pull.at_s + pull.for_s) for pull in sorted(config.disconnects, key=lambda pull: pull.at_s))
        self._outages_ns = [(round(start * SECOND_NS), round(stop * SECOND_NS)) for start, stop in spans]
        self._pulls = deque((start + config.start_ns, stop + config.start_ns) for start, stop in self._outages_ns)
        self._items = merge([self._frames(), self._rows()])
        self._held: Due | None = None

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


def _specs(config: SimPlanarConfig, name: str, scene: PlanarScene) -> tuple[StreamSpec, StreamSpec, StreamSpec]:
    width, height = config.size
    focal, centre_x, centre_y = (float(scene.intrinsics[place]) for place in ((0, 0), (0, 2), (1, 2)))
    errors = config.imu_errors
    camera = StreamSpec(
        name=f"{name}.cam",
        modality="image",
        dtype="uint8",
        shape=(height, width, 3) if config.color else (height, width),
        rate_hz=config.camera_hz,
        frame="camera",
        color_order="BGR" if config.color else "",
        stamps_from="source",
        pixels_per_degree=width / config.fov_deg,
        calibration={
            "camera_model": "pinhole",
            "intrinsics": [focal, focal, centre_x, centre_y],
            "resolution": [width, height],
            "T_BS": _transform(BODY_FROM_CAMERA),
        },
    )
    imu = StreamSpec(
        name=f"{name}.imu",
        modality="imu",
        dtype="float64",
        shape=(6,),
        unit=", ".join(_IMU_UNITS),
        channels=("gx", "gy", "gz", "ax", "ay", "az"),
        rate_hz=config.imu_hz,
        frame="body",
        stamps_from="source",
        full_scale=errors.full_scale(),
        noise_density=errors.noise_density(),
        calibration={"T_BS": _transform(np.eye(3))},
    )
    truth = StreamSpec(
        name=f"{name}.truth",
        modality="truth",
        dtype="float64",
        shape=(len(TRUTH),),
        unit=", ".join(_TRUTH_UNITS),
        channels=TRUTH,
        rate_hz=config.imu_hz,
        frame="world",
        stamps_from="source",
    )
    return camera, imu, truth


def _transform(rotation: np.typing.NDArray[np.float64]) -> list[list[float]]:
    """A pose in the body, 4 x 4, at its origin."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation
    return [[float(value) for value in row] for row in matrix]
