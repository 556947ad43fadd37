"""The planar world's own motion seen through honest sensors: all that is wrong with them, and planned faults."""

from collections.abc import Callable, Iterator

import msgspec
import numpy as np
import numpy.typing as npt

from sensorium.drivers.batching import BLOCK_NS
from sensorium.drivers.clock import SECOND_NS
from sensorium.drivers.marks import SourceNote
from sensorium.drivers.pacing import Source
from sensorium.drivers.stream import Block, Stamps, StreamSpec
from sensorium.sim.worlds.planar_sensors import PlanarSensors
from sensorium.sim.worlds.scene import PlanarScene
from sensorium.sim.worlds.senses.camera import CameraSense, Frame
from sensorium.sim.worlds.senses.clock import ClockErrors, SenseClock
from sensorium.sim.worlds.senses.faults import FAULTS, Faults
from sensorium.sim.worlds.senses.imu import ImuSense
from sensorium.sim.worlds.senses.port import Port
from sensorium.sim.worlds.trajectory import BodyMotion, Floats

Here = Callable[[Stamps], npt.NDArray[np.bool_]]
Ticks = Callable[[int], Iterator[tuple[Stamps, float]]]
"""Moments of true time, in arrays that span up to so many ns, and their rate."""
Motion = Callable[[Floats], BodyMotion]


class HonestSenses:
    """Sources of the streams `name.cam`, `name.imu`, and of the truth, where a body moves so and a sensor is `here`.

    Time is since the world began, at `start_ns` of its clock.
    """

    def __init__(self, config: PlanarSensors, name: str, scene: PlanarScene, motion: Motion, here: Here) -> None:
        seed = config.seed
        self._config, self._prefix = config, f"{name}."
        self._scene, self._motion, self._here = scene, motion, here
        camera, imu, truth = config.specs()
        drops, *rngs = np.random.default_rng([seed, 20]).spawn(7)
        self._drops = drops
        self.faults = Faults(config.faults, (camera, imu), rngs[0])
        self._camera = CameraSense(config.camera_errors(), rngs[1], scene.intrinsics)
        self._imu = ImuSense(config.imu_errors, rngs[2], config.imu_hz)
        clocks = zip((camera, imu, truth), (*config.clocks(), ClockErrors()), rngs[3:], strict=True)
        self._ports = {spec.name: Port(spec, SenseClock(clock, rng), self.faults) for spec, clock, rng in clocks}

    @property
    def specs(self) -> tuple[StreamSpec, ...]:
        """Of the truth stream `faults`, where faults are planned and truth is told."""
        spec = self.faults.spec if self._config.truth else None
        return () if spec is None else (_renamed(spec, self._prefix),)

    def notes(self) -> list[SourceNote]:
        """One of each planned fault, on the world's clock."""
        since_ns, told = self._config.start_ns, self.faults.notes(1 << 62) if self._config.truth else ()
        return [
            SourceNote(
                note.kind,
                note.name,
                note.value,
                self._prefix + note.stream,
                start_ns=since_ns + note.start_ns,
                end_ns=None if note.end_ns is None else since_ns + note.end_ns,
            )
            for note in told
        ]

    def frames(self, ticks: Ticks) -> Source:
        """Frames, each looked at while its shutter is open."""
        port, last_ns = self._ports["cam"], 0
        for since_ns, _ in ticks(1):
            if self._here(since_ns).all():
                last_ns = int(since_ns[0])
                frame = self._camera.expose(self._seen, last_ns)
                if frame is None:
                    port.lose()
                else:
                    port.put(since_ns, frame[None])
                yield from self._out(port.due())
        yield from self._out(port.rest_due(last_ns))

    def rows(self, ticks: Ticks) -> Source:
        """Rows of the IMU, and of the truth."""
        imu, truth, last_ns = self._ports["imu"], self._ports["truth"], 0
        for since_ns, rate_hz in ticks(BLOCK_NS):
            last_ns = int(since_ns[-1])
            motion = self._motion(since_ns / SECOND_NS)
            ideal = np.concatenate([motion.angular_velocity, motion.specific_force], axis=1)
            data, bias = self._imu.measure(ideal, rate_hz), self._imu.bias
            here = self._here(since_ns)
            kept = self._drops.random(len(since_ns)) >= self._config.imu_drop
            for first, last in _runs(here):
                reached = first
                for start, stop in _runs(kept[first:last]):
                    imu.lose(first + start - reached)
                    reached = first + stop
                    imu.put(since_ns[first + start : reached], data[first + start : reached])
                imu.lose(last - reached)
            yield from self._out(imu.due())
            if self._config.truth and here.any():
                columns = (motion.position, motion.quaternion, motion.velocity, motion.angular_velocity, bias)
                truth.put(since_ns[here], np.concatenate(columns, axis=1)[here])
                yield from self._out(truth.due())
        yield from self._out(imu.rest_due(last_ns))

    def told(self, ticks: Ticks) -> Source:
        """The truth stream `faults`."""
        for since_ns, _ in ticks(BLOCK_NS):
            block = self.faults.until(int(since_ns[-1])) if self._config.truth else None
            if block is not None:
                yield from self._out([(int(since_ns[-1]), block)])

    def _seen(self, t_ns: int) -> Frame:
        motion = self._motion(np.array([t_ns / SECOND_NS]))
        return self._scene.render(motion.position[0], motion.rotation[0])

    def _out(self, due: list[tuple[int, Block]]) -> Source:
        start_ns = self._config.start_ns
        for due_ns, block in due:
            stamps = block.captured_ns + start_ns
            yield due_ns + start_ns, Block(self._prefix + block.stream, stamps, block.data, block.lost_before)


def _runs(wanted: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """From and to where it is so.

    >>> _runs(np.array([True, True, False, True]))
    [(0, 2), (3, 4)]
    """
    edges = np.flatnonzero(np.diff(wanted.astype(np.int8), prepend=0, append=0))
    return [(int(start), int(stop)) for start, stop in zip(edges[::2], edges[1::2], strict=True)]


def _renamed(spec: StreamSpec, prefix: str) -> StreamSpec:
    return msgspec.structs.replace(spec, name=prefix + FAULTS)
