"""A body whose every step is a measurement: the laboratory, and worlds like it."""

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from sensorium.agents.planning.planner import Reach
from sensorium.drivers.controls import Value
from sensorium.drivers.stream import Block
from sensorium.sim.agency.body import BodyStep, Captured
from sensorium.sim.agency.bystander import NOBODY, Bystander
from sensorium.sim.worlds.world import World


class Measuring:
    """Where it was and with what it measured is as the world says of what it did; what came of it is by stream: the
    values of a row, the mean and the maximum of a picture. `rows` are its streams that tell nothing of the sample."""

    def __init__(
        self,
        world: World,
        seed: int,
        task: str,
        cells: Mapping[str, float] | None = None,
        rows: Sequence[str] = ("stage",),
        bystander: Bystander = NOBODY,
    ) -> None:
        self._world, self._bystander = world, bystander
        controls = (
            msgspec.structs.replace(each, cell=(cells or {}).get(each.name, each.cell)) for each in world.controls
        )
        self.reach = Reach(device=type(world).__name__.lower(), controls=tuple(controls))
        self._rows = frozenset(rows)
        self._count = 0
        began = world.reset(seed, task)
        bystander.saw(began)
        self.now_ns = began.now_ns
        self.is_over = False

    def ask(self, asked: Mapping[str, Value]) -> None:
        self._world.ask(str(self._count), asked)

    def step(self) -> BodyStep:
        seen, done = self._world.step(self._world.scripted())
        self.is_over = bool(done)
        before_ns, self.now_ns = self.now_ns, seen.now_ns
        did: dict[str, Value] = next((note.value["did"] for note in seen.told if note.name == str(self._count)), {})
        self._count += 1
        self._bystander.saw(seen)
        self._bystander.captured(self._count)
        blocks = [block for block in seen.sensed if block.stream not in self._rows and len(block)]
        captured = Captured(
            number=self._count,
            start_ns=before_ns,
            end_ns=self.now_ns,
            where={name: value for name, value in did.items() if not isinstance(value, str)},
            labels={name: value for name, value in did.items() if isinstance(value, str)},
            size_bytes=sum(block.data.nbytes for block in blocks),
            measured=_measured(blocks),
            asked=bool(did),
        )
        return BodyStep((captured,), ended=True)

    def close(self) -> None:
        self._world.close()


def _measured(blocks: Sequence[Block]) -> dict[str, float]:
    found: dict[str, float] = {}
    for block in blocks:
        last = np.asarray(block.data[-1], np.float64)
        if last.ndim == 2:
            found |= {f"{block.stream}.mean": float(last.mean()), f"{block.stream}.max": float(last.max())}
        else:
            found |= {f"{block.stream}.{number}": float(value) for number, value in enumerate(last)}
    return found
