"""The taps of one world since its reset: each stream that it senses through its sense, its faults and its clock."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from sensorium.drivers.registry import nearest
from sensorium.drivers.stream import Block, StreamSpec
from sensorium.errors import ConfigError
from sensorium.sim.worlds.mujoco.physics import Physics
from sensorium.sim.worlds.mujoco.sampling import Bursts, Looks, Measure, Once, Row, Rows, Tap
from sensorium.sim.worlds.senses.camera import CameraErrors, CameraSense
from sensorium.sim.worlds.senses.clock import ClockErrors, SenseClock
from sensorium.sim.worlds.senses.fault import Fault
from sensorium.sim.worlds.senses.faults import Faults
from sensorium.sim.worlds.senses.port import Port
from sensorium.sim.worlds.world import WorldSpecs

_FAULTS, _CLOCKS, _SENSES = 299, 300, 400
"""Where the seeds of each begin, so that no two draw from one generator."""


class Taps:
    """Collects the taps, by stream; what is not in the specs (truth that is not asked for) is passed over.

    Raises:
        ConfigError: a clock is set, or a fault planned, for a stream that there is not.
    """

    def __init__(
        self,
        physics: Physics,
        specs: WorldSpecs,
        seed: int,
        planned: Sequence[Fault],
        clocks: Mapping[str, ClockErrors],
    ) -> None:
        sensed = specs.sensed
        names = [spec.name for spec in sensed]
        for name in clocks:
            if name not in names:
                raise ConfigError(f"clock of {name!r}{nearest(name, names)}: the streams are {', '.join(names)}")
        self.faults = Faults(planned, sensed, np.random.default_rng([seed, _FAULTS]))
        self._specs = {spec.name: spec for spec in (*sensed, *specs.truth)}
        self._action = specs.action
        self._step_ns = physics.step_ns
        self._taps: dict[str, Tap] = {}
        self._beside: list[Tap] = []
        self._rngs = {name: np.random.default_rng([seed, _SENSES + at]) for at, name in enumerate(names)}
        clocked = {name: np.random.default_rng([seed, _CLOCKS + at]) for at, name in enumerate(names)}
        self._ports = {
            spec.name: Port(spec, SenseClock(clocks.get(spec.name, ClockErrors()), clocked[spec.name]), self.faults)
            for spec in sensed
        }

    def rng(self, name: str) -> np.random.Generator:
        """What the sense of a stream draws from."""
        return self._rngs[name]

    def rows(self, name: str, read: Callable[[], Row], measure: Measure | None = None) -> None:
        """Rows at the stream's rate."""
        if spec := self._specs.get(name):
            self._taps[name] = Rows(spec, self._rate(spec), self._step_ns, read, measure, self._ports.get(name))

    def once(self, name: str, row: Row) -> None:
        """One row, at the reset."""
        if spec := self._specs.get(name):
            self._taps[name] = Once(spec, row)

    def bursts(self, name: str, rate_hz: float, read: Callable[[int], tuple[Row, Row]]) -> None:
        """Any number of rows at `rate_hz`: `read(now_ns)` gives their stamps [n] and them [n, ...]."""
        if spec := self._specs.get(name):
            self._taps[name] = Bursts(spec, rate_hz, self._step_ns, read, None)

    def frames(
        self,
        name: str,
        take: Callable[[int], npt.NDArray[Any] | None],
        ends: Callable[[int], int] | None = None,
        put_off: bool = False,
    ) -> None:
        """Frames at the stream's rate: the one of tick t, `take(t)`, can be made at `ends(t)` (None: at once), and is
        made then, or where it is `put_off` at the end of the step."""
        if spec := self._specs.get(name):
            done = ends or _at_once
            self._taps[name] = Looks(spec, self._rate(spec), self._step_ns, done, take, self._ports.get(name), put_off)

    def camera(
        self,
        name: str,
        errors: CameraErrors,
        intrinsics: npt.NDArray[np.float64],
        draw: Callable[[int], npt.NDArray[np.uint8]],
    ) -> None:
        """A camera that sees `draw(moment_ns)`."""
        sense = CameraSense(errors, self.rng(name), intrinsics)
        self.frames(name, lambda t_ns: sense.expose(draw, t_ns), lambda t_ns: int(sense.moments(t_ns)[-1]))

    def beside(self, tap: Tap) -> None:
        """Something that goes on at its own rate and gives no blocks: a controller."""
        self._beside.append(tap)

    def all(self) -> list[tuple[StreamSpec, Tap]]:
        """Them, in the order of the specs; what goes on beside comes first."""
        made = [(spec, self._taps[name]) for name, spec in self._specs.items() if name in self._taps]
        return [*((self._action, tap) for tap in self._beside), *made]

    def rest(self) -> list[Block]:
        """What no later step will deliver, once the task is done: samples on their way, and losses that none follow."""
        return [block for port in self._ports.values() for block in port.rest()]

    @staticmethod
    def _rate(spec: StreamSpec) -> float:
        if spec.rate_hz is None:
            raise ValueError(f"{spec.name}: its spec has no rate")
        return spec.rate_hz


def longest_look_s(errors: CameraErrors, rate_hz: float) -> float:
    """How far back a camera's frame may reach when it is made."""
    auto = errors.auto_exposure
    exposure_s = errors.exposure_s if auto is None else max(errors.exposure_s, auto.most_s)
    return errors.readout_s + exposure_s + 1 / rate_hz


def _at_once(t_ns: int) -> int:
    return t_ns
