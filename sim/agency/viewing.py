"""A body that is sent to viewpoints in a world, and takes pictures: the rover, the drone, the flyer."""

from collections.abc import Mapping
from typing import Any

import cv2
import msgspec
import numpy as np

from sensorium.agents.planning.planner import Reach
from sensorium.drivers.controls import Value
from sensorium.drivers.stream import Block
from sensorium.perception.descriptor import descriptor
from sensorium.perception.working import working
from sensorium.sim.agency.body import BodyStep, Captured
from sensorium.sim.agency.bystander import NOBODY, Bystander
from sensorium.sim.worlds.senses.odometry import STREAM
from sensorium.sim.worlds.world import World

QUALITY = 90


class Viewing:
    """Each frame of `camera` is captured, where the world's odometry has it; its bytes are those of a JPEG.

    What is asked has ended when the world says so, and a frame was taken there. It is over when its world is done: a
    rover that has fallen takes no more pictures. `cells` says what, by control, is worth a cell of its own, where that
    is to be other than the world states.
    """

    def __init__(
        self,
        world: World,
        seed: int,
        task: str,
        camera: str,
        cells: Mapping[str, float] | None = None,
        bystander: Bystander = NOBODY,
    ) -> None:
        self._world, self._bystander = world, bystander
        self._camera = next(spec for spec in world.specs.sensed if spec.name == camera)
        controls = (
            msgspec.structs.replace(each, cell=(cells or {}).get(each.name, each.cell)) for each in world.controls
        )
        self.reach = Reach(device=type(world).__name__.lower(), controls=tuple(controls))
        self.here: dict[str, float] = {}
        self.now_ns = 0
        self.is_over = False
        self._asks, self._count = 0, 0
        self._asked, self._answered, self._why = False, False, ""
        self._before_ns = 0
        self._saw(world.reset(seed, task))

    def ask(self, asked: Mapping[str, Value]) -> None:
        self._asks += 1
        self._asked, self._answered, self._why = True, False, ""
        self._world.ask(str(self._asks), asked)

    def step(self) -> BodyStep:
        seen, done = self._world.step(self._world.scripted())
        self.is_over = bool(done)
        captured = self._saw(seen)
        ended = self.is_over or (self._asked and self._answered and bool(captured))
        if ended:
            self._asked = False
        for note in seen.told:
            if note.name == str(self._asks):
                self._answered, self._why = True, str(note.value.get("why") or "")
        return BodyStep(captured, ended, (self._why or done) if ended else "")

    def close(self) -> None:
        self._world.close()

    def _saw(self, seen: Any) -> tuple[Captured, ...]:
        self.now_ns = seen.now_ns
        self._bystander.saw(seen)
        frames: list[Block] = []
        for block in seen.sensed:
            if block.stream == STREAM and len(block):
                names = (control.name for control in self.reach.controls)
                self.here = dict(zip(names, np.asarray(block.data[-1]).tolist(), strict=True))
            elif block.stream == self._camera.name:
                frames.append(block)
        return tuple(self._captured(picture) for block in frames for picture in np.asarray(block.data))

    def _captured(self, picture: Any) -> Captured:
        number, self._count = self._count, self._count + 1
        start_ns, self._before_ns = self._before_ns, self.now_ns
        self._bystander.captured(number)
        return Captured(
            number=number,
            start_ns=start_ns,
            end_ns=self.now_ns,
            where=self.here,
            size_bytes=len(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]),
            look=descriptor(working(picture, self._camera.color_order)).tobytes(),
            asked=self._asked and self._answered,
        )
