"""A trace from the device's spool to units read from a store, for tests of the writer."""

from pathlib import Path
from typing import Any
from uuid import UUID

import sensorium
from sensorium.agents.recording.trace_writer import TraceWriter
from sensorium.agents.spool.spool import Spool
from sensorium.corpus.traces import TracedUnit, traces
from sensorium.ingest.store import Store
from tests.agents.building import manifest

AMPLE = 1e6
"""Bytes a second, more than any unit here makes."""


def writer(spool: Spool, bytes_per_s: float = AMPLE, **more: Any) -> TraceWriter:
    return TraceWriter(spool, manifest(spool_id=spool.spool_id), bytes_per_s=bytes_per_s, **more)


def files(spool: Path) -> list[Path]:
    """Of the episodes that wait, the earlier first."""
    return sorted((spool / "episodes").glob("*.episode"))


def delivered(spool: Path, store: Path) -> list[TracedUnit]:
    """What a store has of the traces in a spool whose agent is gone."""
    with Store.open(store) as into:
        for path in files(spool):
            data = path.read_bytes()
            assembly = into.begin(episode_of(path))
            assembly.append(data)
            into.commit(assembly, device="rig", identity="k")
    return list(traces(sensorium.open(store)))


def episode_of(path: Path) -> UUID:
    """The episode that a file of a spool is."""
    return UUID(path.stem.partition("-")[2])
