"""The part that all MuJoCo worlds have: reset and step over channels, each sampled at its own rate within a step."""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sensorium.drivers.marks import SourceNote
from sensorium.drivers.registry import nearest
from sensorium.drivers.stream import Block
from sensorium.errors import ConfigError
from sensorium.sim.worlds.mujoco.config import SimulationConfig
from sensorium.sim.worlds.mujoco.contacts import contact_rows
from sensorium.sim.worlds.mujoco.one_look import OneLook
from sensorium.sim.worlds.mujoco.physics import Physics
from sensorium.sim.worlds.mujoco.renderer import Depth, Image, Labels, Renderer, Size
from sensorium.sim.worlds.mujoco.sampling import Row, Schedule
from sensorium.sim.worlds.mujoco.taps import Taps
from sensorium.sim.worlds.senses.ranging import RangeErrors
from sensorium.sim.worlds.world import Action, Done, Observation, World, WorldSpecs

_END_NS = int(np.iinfo(np.int64).max)


@dataclass(frozen=True)
class Earned:
    """What a step earned, by component, and whether the task is over."""

    rewards: Mapping[str, float]
    done: Done = ""


class Simulation(World):
    """A world over one MuJoCo model a reset. What is derived from it says how it is grown, sensed, moved and judged.

    `picture` is the size of its largest picture, None where it draws none. The renderer is made at the first reset.
    """

    specs: WorldSpecs

    def __init__(self, config: SimulationConfig, picture: Size | None, shadows: bool, kept_s: float) -> None:
        self._set = config
        self._picture = (picture, shadows)
        self._kept_ns = round(kept_s * 1e9)
        self._renderer: Renderer | None = None
        self._surveyed: dict[tuple[int, int, Size], tuple[Depth, Labels]] = {}
        self._sensing = Schedule([])
        self._taps: Taps
        self._done: Done | None = None
        self.physics: Physics

    @abstractmethod
    def _grow(self, seed: int, task: str) -> tuple[Any, Labels]:
        """The model, and the label of each of its geoms and, last, of nothing."""

    @abstractmethod
    def _settle(self) -> None:
        """Let it come to rest, or put it where it begins."""

    @abstractmethod
    def _tapped(self, taps: Taps) -> None:
        """Put a tap on everything that is sensed and known, since the reset."""

    @abstractmethod
    def _act(self, action: Action) -> None:
        """An action within its bounds begins to act."""

    @abstractmethod
    def _judge(self, now_ns: int) -> Earned:
        """What the step that ends now was worth."""

    def reset(self, seed: int, task: str) -> Observation:
        if task not in self.tasks:
            raise ConfigError(
                f"{self._set.kind}: no task {task!r}{nearest(task, self.tasks)}, expected one of"
                f" {', '.join(self.tasks)}"
            )
        model, labels = self._grow(seed, task)
        self.physics = Physics(model, self._kept_ns)
        size, shadows = self._picture
        if size is not None:
            self._renderer = self._renderer or Renderer(size, shadows)
            self._renderer.load(model, labels)
        self._surveyed.clear()
        self._settle()
        self.physics.begin()
        taps = Taps(self.physics, self.specs, seed, self._set.faults, self._set.clocks)
        self._tapped(taps)
        self._sensing, self._taps = Schedule(taps.all()), taps
        self._done = ""
        self._sample()
        return self._observed(Earned({}))

    def step(self, action: Action) -> tuple[Observation, Done]:
        acts = self.specs.clipped(action)
        if self._done is None or self._done:
            raise RuntimeError(f"{self._set.kind}: the episode is over; reset the world")
        self._act(acts)
        end = self.physics.index + self.specs.step_ns // self.physics.step_ns
        while (due := self._sensing.due) < end:
            self.physics.at(due)
            self._sample()
        self.physics.until(end)
        self._sample()
        judged = self._judge(self.physics.derived_ns)
        self._done = judged.done
        return self._observed(judged), judged.done

    def close(self) -> None:
        if self._renderer is not None:
            self._renderer.close()
        self._renderer, self._done = None, None

    def _camera(
        self, name: str, size: Size, depth: tuple[float, RangeErrors] | None = None, is_ideal: bool = False
    ) -> Callable[[int], Image]:
        """What a camera of the model sees at a moment. `depth` is the rate and errors of the depth that is surveyed of
        the same: where it can, it comes of the same drawing. Of one that `is_ideal` pictures need not be there before
        the step is over."""
        camera, physics = self.physics.model.camera(name).id, self.physics

        def look(view: Any) -> Image:
            drawing = self._drawing
            return drawing.begin(view, camera, size) if is_ideal else drawing.colour(view, camera, size)

        if depth is None or self._is_labelled:
            return lambda moment_ns: look(physics.view(moment_ns))
        one = OneLook(*depth, self._drawing.sky_m(camera, size))

        def draw(moment_ns: int) -> Image:
            view = physics.view(moment_ns)
            if not one.is_due(moment_ns):
                return look(view)
            image, metres = self._drawing.colour_and_depth(view, camera, size)
            self._surveyed.clear()
            self._surveyed[moment_ns, camera, size] = metres, np.zeros((0, 0), np.uint16)
            return image

        return draw

    def _contacts(self, labels: Labels) -> Callable[[int], tuple[Row, Row]]:
        """The contacts that there are now, as a burst of rows."""
        physics = self.physics

        def read(now_ns: int) -> tuple[Row, Row]:
            rows = contact_rows(physics.model, physics.data, labels)
            return np.full(len(rows), now_ns, np.int64), rows

        return read

    def _survey(self, moment_ns: int, camera: int, size: Size) -> tuple[Depth, Labels]:
        """Depth and labels, drawn once for the streams that have either; labels [0, 0] where no stream has them."""
        key = (moment_ns, camera, size)
        if key not in self._surveyed:
            self._surveyed.clear()
            self._surveyed[key] = self._drawing.survey(self.physics.view(moment_ns), camera, size, self._is_labelled)
        return self._surveyed[key]

    @property
    def _is_labelled(self) -> bool:
        """Whether what is surveyed is labelled too, for which it is drawn by itself."""
        return any(spec.name == "segmentation" for spec in self.specs.truth)

    @property
    def _drawing(self) -> Renderer:
        if self._renderer is None:
            raise RuntimeError(f"{self._set.kind}: it is closed; make it anew")
        return self._renderer

    def _sample(self) -> None:
        """Sample what is due at the moment to which the physics' data belongs."""
        self._sensing.sample(self.physics.derived, self.physics.derived_ns)

    def _observed(self, judged: Earned) -> Observation:
        now_ns = self.physics.derived_ns
        taps = self._sensing.taps
        # Pictures last: what was begun is drawn while the rest is made.
        came = {place: tap.blocks(now_ns) for place, (spec, tap) in enumerate(taps) if spec.modality != "image"}
        if self._renderer is not None:
            self._renderer.finish()
        sensed: list[Block] = []
        truth: list[Block] = []
        for place, (spec, tap) in enumerate(taps):
            blocks = came[place] if place in came else tap.blocks(now_ns)
            (truth if spec.modality == "truth" else sensed).extend(blocks)
        if judged.done:
            sensed += self._taps.rest()
        faults = self._taps.faults
        if (told := faults.until(now_ns)) is not None:
            truth.append(told)
        notes, said = faults.notes(now_ns), self._told(now_ns)
        return Observation(now_ns, _in_order(sensed), _in_order(truth), judged.rewards, notes, said)

    def _told(self, now_ns: int) -> tuple[SourceNote, ...]:
        """What it says of what it was asked, by what it has sensed."""
        del now_ns
        return ()


def sensor_reader(physics: Physics, *names: str) -> Callable[[], npt.NDArray[np.float64]]:
    """Reads these sensors of the model, one after the other, as one row."""
    places = [np.arange(found.adr[0], found.adr[0] + found.dim[0]) for found in map(physics.model.sensor, names)]
    taken = np.concatenate(places)
    data = physics.data

    def read() -> npt.NDArray[np.float64]:
        row: npt.NDArray[np.float64] = data.sensordata[taken]
        return row

    return read


def _in_order(blocks: list[Block]) -> tuple[Block, ...]:
    """By their last stamps; a loss that no sample follows comes last."""
    return tuple(sorted(blocks, key=lambda block: int(block.captured_ns[-1]) if len(block) else _END_NS))
