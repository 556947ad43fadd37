"""Stores of what worlds did, for tests: a world that is acted on by anything, with or without something wrong in it."""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from pydantic import Field

import sensorium
from sensorium.agents.agent import Agent
from sensorium.agents.device_file import check_device
from sensorium.corpus.episode import Episode
from sensorium.drivers.clock import Clock
from sensorium.drivers.driver import Delivery, Driver, DriverConfig
from sensorium.drivers.identity import Identity
from sensorium.drivers.marks import EpisodeBegin, EpisodeEnd
from sensorium.drivers.pacing import Pacer, Timed
from sensorium.drivers.stream import Block
from sensorium.ingest.server import Ingest
from sensorium.ingest.store import Store
from sensorium.sim.worlds.config import WorldConfig
from sensorium.sim.worlds.playing import steps
from sensorium.sim.worlds.running import Named

BASE_NS = 5_000_000_000


@contextmanager
def collecting(folder: Path) -> Iterator[Callable[..., list[Episode]]]:
    """A function that collects with these sensors and parts of a device file; it returns all episodes of the store."""
    store = Store.open(folder / "store")
    ingest = Ingest(store, "tcp://127.0.0.1:0")
    ingest.start()

    def collect(sensors: dict[str, Any], **parts: Any) -> list[Episode]:
        document = {
            "device": "rig",
            "ingest": {"url": ingest.address},
            "trigger": {"kind": "source"},
            "sensors": sensors,
            **parts,
        }
        assert Agent(check_device(document, folder)).run()
        return sensorium.open(folder / "store").query(order_by="start_ns")

    yield collect
    ingest.stop()
    store.close()


class Acted(DriverConfig):
    """A rollout of `world`, by random actions, of `length` steps; `spoil` may change what is delivered."""

    kind: str = "sim-acted"
    world: Any
    seed: int = 4
    task: str = "roam"
    length: int = 20
    spoil: Any = Field(default=None, exclude=True)
    labels: Any = None

    def open(self, name: str, base: Path) -> Driver:
        config: WorldConfig = self.world
        world = config.make()
        named = Named(name, world, config.truth)
        names = tuple(_components(config, self.task))
        reward = msgspec.structs.replace(
            world.specs.action, name=f"{name}.reward", shape=(len(names),), channels=names, unit=""
        )
        delivered = _delivered(self, named, name)
        world.close()
        return Timed((*named.specs, reward), Clock(kind="simulated"), delivered, Pacer("fast"))

    def identity(self, base: Path) -> Identity:
        world: WorldConfig = self.world
        return Identity(world.identity(base).said)


def _components(config: WorldConfig, task: str) -> Sequence[str]:
    world = config.make()
    try:
        *_, last = steps(world, 0, task, most=1)
        return sorted(last.observation.rewards)
    finally:
        world.close()


def _delivered(acted: Acted, named: Named, name: str) -> Generator[tuple[int, Delivery], None, None]:
    world = acted.world.make()
    rng = np.random.default_rng(9)
    labels = {"world": acted.world.kind, "task": acted.task, "seed": acted.seed, "policy": "random"}
    yield BASE_NS, EpisodeBegin(BASE_NS, labels | (acted.labels or {}), BASE_NS)
    now_ns, last_ns = BASE_NS, BASE_NS
    blocks: list[tuple[int, Block]] = []
    for step in steps(world, acted.seed, acted.task, lambda _, w: rng.uniform(w.specs.low, w.specs.high), acted.length):
        if step.action is not None:
            blocks.append(named.action(step.action, now_ns, world))
        now_ns = BASE_NS + step.observation.now_ns
        blocks += named.blocks(step.observation, BASE_NS)
        if step.action is not None:
            row = np.array([[value for _, value in sorted(step.observation.rewards.items())]])
            blocks.append((now_ns, Block(f"{name}.reward", np.array([now_ns], np.int64), row)))
    for due_ns, block in blocks:
        last_ns = max(last_ns, due_ns)
        for each in [block] if acted.spoil is None else acted.spoil(block):
            yield due_ns, each
    end_ns = max(now_ns, last_ns) + 1
    yield end_ns, EpisodeEnd(end_ns, step.done or "truncated", passed=True)
    world.close()
