"""What tests of selection feed a device: pictures that look as they are told, and what a recorder made of it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sensorium.agents.recording.encode import EncoderPool
from sensorium.agents.recording.recorder import Recorder
from sensorium.agents.selection.budgets import SelectionBudget
from sensorium.agents.spool.spool import Spool
from sensorium.agents.triggers.desk import SpoolDesk
from sensorium.agents.triggers.selecting import Selecting
from sensorium.agents.triggers.worth import WorthConfig
from sensorium.drivers.clock import SECOND_NS
from sensorium.drivers.described import Described
from sensorium.drivers.stream import Block, StreamSpec
from sensorium.episode.documents import Open
from sensorium.episode.unit import Judged
from tests.agents.building import add, manifest

CAM = StreamSpec(name="cam", modality="image", dtype="uint8", shape=(12, 16), rate_hz=5.0)
IMU = StreamSpec(name="imu", modality="imu", dtype="float64", shape=(2,), rate_hz=20.0)
STEP_NS = SECOND_NS // 5
PLACES = np.random.default_rng(5).integers(-90, 91, (64, 16)).astype(np.int8)


def config(**fields: Any) -> WorthConfig:
    """Of a camera; `share`, `bytes_per_s`, `burst_s` and `floor` are the budget's."""
    names = ("share", "bytes_per_s", "bytes_per_day", "burst_s", "floor")
    budget = {name: fields.pop(name) for name in names if name in fields}
    return WorthConfig(kind="worth", budget=SelectionBudget(**(budget or {"share": 0.2})), **fields)


def frames(at_ns: int, n: int, place: int = 0, by: str = "maker/1", step_ns: int = STEP_NS, **scores: float) -> Block:
    """`n` pictures of a place, from a stamp on; their last stamp is just before the next would begin."""
    stamps = at_ns + (np.arange(n, dtype=np.int64) + 1) * step_ns - 1
    noise = np.random.default_rng(abs(at_ns) % 2**32).integers(-3, 4, (n, PLACES.shape[1]))
    vectors = np.clip(PLACES[place] + noise, -127, 127).astype(np.int8)
    described = Described(by, np.arange(n), vectors, np.zeros((n, 2), np.uint64))
    pictures = np.random.default_rng([place, 1]).integers(0, 256, (1, *CAM.shape), np.uint8).repeat(n, axis=0)
    said = {name: np.full(n, value) for name, value in {"noise": 0.1, **scores}.items()}
    return Block("cam", stamps, pictures, scores=said, described=described)


def rows(at_ns: int, n: int) -> Block:
    """`n` rows of the IMU, as `frames`."""
    stamps = at_ns + (np.arange(n, dtype=np.int64) + 1) * (SECOND_NS // 20) - 1
    return Block("imu", stamps, np.zeros((n, 2)), scores={"stuck": np.zeros(n)})


def walk(seconds: int, seed: int = 0, from_s: int = 0) -> list[Block]:
    """A second each of somewhere: the camera stays for a while, and comes back."""
    rng = np.random.default_rng(seed)
    places = np.repeat(rng.integers(0, len(PLACES), seconds), rng.integers(1, 9, seconds))[:seconds]
    return [frames(s * SECOND_NS, 5, int(places[s])) for s in range(from_s, seconds)]


def undescribed(block: Block) -> Block:
    """The same, where the encoder failed."""
    return replace(block, described=None)


class Device:
    """A recorder with `worth` over a spool; what it was told is in `judged`."""

    def __init__(
        self,
        path: Path,
        wanted: WorthConfig,
        specs: Sequence[StreamSpec] = (CAM,),
        *,
        boot: str = "boot",
        run: str = "",
    ) -> None:
        self.judged: list[Judged] = []
        self.spool = Spool(path, "rig")
        self.opening: Open = manifest(*specs, spool_id=self.spool.spool_id)
        trigger = wanted.start(specs)
        assert isinstance(trigger, Selecting)
        self.trigger = trigger
        desk = SpoolDesk(
            wanted.policy, path, "spool", boot, self.opening.streams, run, self.judged.append, live=not run
        )
        trigger.sit_at(desk)
        self.pool = EncoderPool()
        self.recorder = Recorder(self.spool, trigger, self.opening, grace_ns=None, pool=self.pool)

    def feed(self, blocks: Sequence[Block]) -> "Device":
        for block in blocks:
            assert add(self.recorder, block) is None
        return self

    def stop(self) -> "Device":
        self.recorder.stop()
        self.trigger.close()
        self.spool.flush()
        self.spool.close()
        self.pool.close()
        return self

    def kept(self) -> list[tuple[int, int]]:
        """Of each kept unit start and end, in seconds."""
        return [_seconds(each) for each in self.judged if each.decision.kept]

    def sizes(self) -> Iterator[int]:
        """Bytes of each episode."""
        for path in sorted((self.spool.path / "episodes").glob("*.episode")):
            yield path.stat().st_size


def balanced(device: Device, fed: Callable[[str], int]) -> dict[str, dict[str, int]]:
    """That every sample fed has a fate; by stream what selection left out."""
    found = {}
    for name, account in device.recorder.account.totals().items():
        assert account.balances, (name, account)
        assert account.captured == fed(name)
        found[name] = dict(account.filtered)
    return found


def _seconds(judged: Judged) -> tuple[int, int]:
    return judged.unit.start_ns // SECOND_NS, -(-judged.unit.end_ns // SECOND_NS)
