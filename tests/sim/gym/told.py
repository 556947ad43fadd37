"""What a source of episodes tells, gathered by episode."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sensorium.drivers.driver import Delivery, Driver
from sensorium.drivers.marks import EpisodeBegin, EpisodeEnd, SourceNote
from sensorium.drivers.stream import Block

Rows = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]


@dataclass
class Told:
    """One episode: stamps since its base and samples by stream (without the sensor's name), and what was said of it."""

    base_ns: int
    labels: dict[str, Any]
    outcome: str = ""
    end_ns: int = 0
    stamps: dict[str, list[int]] = field(default_factory=dict)
    rows: dict[str, list[Any]] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)
    notes: list[SourceNote] = field(default_factory=list)

    def __getitem__(self, stream: str) -> np.ndarray[Any, Any]:
        return np.array(self.rows.get(stream, []))

    def count(self, stream: str) -> int:
        return len(self.rows.get(stream, []))


def told_by(driver: Driver, most_reads: int = 100_000) -> list[Told]:
    """The episodes of a driver, read to its end, closed then; every block is one of its spec's."""
    specs = {spec.name: spec for spec in driver.specs}
    delivered: list[Delivery] = []
    try:
        for _ in range(most_reads):
            got = driver.read(10.0)
            if got is None:
                break
            delivered += got
    finally:
        driver.close()
    for each in delivered:
        if isinstance(each, Block):
            each.check(specs[each.stream])
        else:
            each.check()
    return gathered(delivered)


def gathered(delivered: Iterable[Delivery]) -> list[Told]:
    """Episodes in their order; each sample is in the one whose interval holds its stamp."""
    found: list[Told] = []
    for each in delivered:
        match each:
            case EpisodeBegin():
                assert each.base_ns == each.at_ns
                assert not found or each.at_ns >= found[-1].end_ns
                found.append(Told(each.at_ns, dict(each.labels)))
            case EpisodeEnd():
                found[-1].outcome, found[-1].end_ns = each.outcome, each.at_ns
            case SourceNote():
                found[-1].notes.append(each)
            case Block():
                name = each.stream.partition(".")[2]
                told = found[-1]
                told.lost[name] = told.lost.get(name, 0) + each.lost_before
                told.stamps.setdefault(name, []).extend((each.captured_ns - told.base_ns).tolist())
                told.rows.setdefault(name, []).extend(each.data)
    for told in found:
        for name, stamps in told.stamps.items():
            assert all(0 <= stamp < told.end_ns - told.base_ns for stamp in stamps), name
    return found
