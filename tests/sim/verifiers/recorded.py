"""What a driver delivers, held as an episode is: in memory for verifiers, or as a file for a store."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np

from sensorium.corpus.episode import Episode
from sensorium.drivers.driver import DriverConfig
from sensorium.drivers.marks import EpisodeBegin, EpisodeEnd
from sensorium.drivers.stream import Block, StreamSpec
from sensorium.ingest.store import Store
from tests.episode_files import EpisodeFile, build_episode


@dataclass
class RecordedStream:
    """A stream as verifiers read one."""

    spec: StreamSpec
    captured_ns: np.ndarray
    data: np.ndarray
    lost: int = 0

    def __len__(self) -> int:
        return len(self.captured_ns)

    def __getitem__(self, key: Any) -> Any:
        return self.data[key]


@dataclass
class Recorded:
    """Streams by name, and what the episode's documents would say."""

    streams: dict[str, RecordedStream]
    labels: dict[str, Any] = field(default_factory=dict)
    outcome: str = ""
    start_ns: int = 0
    end_ns: int = 0

    @property
    def row(self) -> dict[str, Any]:
        return {"start_ns": self.start_ns, "end_ns": self.end_ns, "reason": "complete"}

    @property
    def duration_s(self) -> float:
        return (self.end_ns - self.start_ns) / 1e9

    @property
    def account(self) -> dict[str, Any]:
        return {
            name: {
                "captured": len(each) + each.lost,
                "stored": len(each),
                "filtered": {},
                "lost": {"driver": each.lost} if each.lost else {},
            }
            for name, each in self.streams.items()
        }

    @property
    def episode(self) -> Episode:
        """As what verifiers take."""
        return cast(Episode, self)

    def file(self, ordinal: int = 0) -> EpisodeFile:
        """As a device would have written it, but for what was lost."""
        specs = {
            name: {key: value for key, value in msgspec.structs.asdict(each.spec).items() if key not in _TOLD}
            for name, each in self.streams.items()
        }
        return build_episode(
            {name: each.data for name, each in self.streams.items()},
            specs=specs,
            stamps={name: each.captured_ns for name, each in self.streams.items()},
            start_ns=self.start_ns,
            length_ns=self.end_ns - self.start_ns,
            labels=self.labels,
            ordinal=ordinal,
        )


_TOLD = ("name", "dtype", "shape")


def record(config: DriverConfig, name: str = "rig", base: Path = Path()) -> Recorded:
    """All that a driver delivers until it ends, or its first episode does, as one episode."""
    driver = config.open(name, base)
    blocks: dict[str, list[Block]] = {spec.name: [] for spec in driver.specs}
    labels: dict[str, Any] = {}
    outcome = ""
    ended = False
    while not ended and (deliveries := driver.read(10.0)) is not None:
        for each in deliveries:
            if isinstance(each, Block):
                blocks[each.stream].append(each)
            elif isinstance(each, EpisodeBegin):
                labels |= each.labels
            elif isinstance(each, EpisodeEnd):
                outcome, ended = each.outcome, True
    driver.close()
    streams = {spec.name: joined(spec, blocks[spec.name]) for spec in driver.specs}
    return whole(streams, labels, outcome)


def whole(
    streams: Mapping[str, RecordedStream], labels: Mapping[str, Any] | None = None, outcome: str = ""
) -> Recorded:
    """An episode of streams, from the first stamp to behind the last."""
    ends = [(int(each.captured_ns[0]), int(each.captured_ns[-1])) for each in streams.values() if len(each)]
    start_ns, end_ns = min(first for first, _ in ends), max(last for _, last in ends) + 1
    return Recorded(dict(streams), dict(labels or {}), outcome, start_ns, end_ns)


def joined(spec: StreamSpec, blocks: Sequence[Block]) -> RecordedStream:
    stamps = [np.empty(0, np.int64), *(block.captured_ns for block in blocks)]
    data = [np.empty((0, *spec.shape), spec.dtype), *(block.data for block in blocks)]
    return RecordedStream(spec, np.concatenate(stamps), np.concatenate(data), sum(b.lost_before for b in blocks))


def stored(path: Path, *recorded: Recorded) -> Path:
    """A store of them."""
    with Store.open(path) as store:
        for ordinal, each in enumerate(recorded):
            made = each.file(ordinal)
            assembly = store.begin(made.episode)
            assembly.append(made.data)
            store.commit(assembly, device="rig-1", identity="k")
    return path
