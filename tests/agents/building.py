"""What tests of the device side build: streams, blocks, manifests, episodes, and the records of a file."""

from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import uuid_utils

from sensorium.agents.recording.recorder import Recorder
from sensorium.agents.spool.episode_file import EpisodeFile
from sensorium.agents.spool.spool import Spool
from sensorium.drivers.clock import Clock, ClockKind
from sensorium.drivers.stream import Block, StreamSpec
from sensorium.episode.account import Tally
from sensorium.episode.device_account import Between, DeviceAccount
from sensorium.episode.documents import FORMAT_VERSION, BetweenTotals, Chunk, Encoding, Mission, Open, StreamEntry
from sensorium.episode.records import Record, scan

ROWS = StreamSpec(name="imu", modality="imu", dtype="float64", shape=(2,), rate_hz=100.0, channels=("a", "b"))
FRAMES = StreamSpec(name="cam", modality="camera", dtype="uint8", shape=(4, 6), rate_hz=10.0)


def entry(spec: StreamSpec, chunk_rows: int = 25) -> StreamEntry:
    return StreamEntry(spec=spec, encoding=Encoding(), chunk_rows=1 if spec.is_frames else chunk_rows)


def manifest(*specs: StreamSpec, kind: ClockKind = "recording", **more: Any) -> Open:
    fields: dict[str, Any] = {
        "version": FORMAT_VERSION,
        "episode": uuid_utils.uuid7().bytes,
        "device": "rig",
        "spool_id": "",
        "ordinal": 0,
        "start_ns": 0,
        "end_ns": 10**9,
        "mission": Mission(),
        "clock": Clock(kind=kind),
        "streams": tuple(entry(spec) for spec in specs or (ROWS,)),
    }
    return Open(**(fields | more))


def rows(start_ns: int, n: int, step_ns: int = 10_000_000, lost: int = 0, spec: StreamSpec = ROWS) -> Block:
    stamps = start_ns + np.arange(n, dtype=np.int64) * step_ns
    data = np.repeat(stamps[:, None] / 1e9, 2, axis=1) if spec is ROWS else np.empty((n, *spec.shape), spec.dtype)
    if spec is FRAMES:
        data[:] = (stamps // step_ns % 251).astype(np.uint8)[:, None, None]
    return Block(spec.name, stamps, data, lost)


def fresh_account() -> DeviceAccount:
    """Of a device whose spool is new."""
    return DeviceAccount(Between({}, BetweenTotals()), 0)


def span(block: Block) -> tuple[int, int] | None:
    """First and last stamp."""
    return (int(block.captured_ns[0]), int(block.captured_ns[-1])) if len(block) else None


def add(recorder: Recorder, block: Block, dropped: Tally | None = None, *, again: bool = False) -> Block | None:
    """As the intake and the pipeline do; `again` if it was refused before."""
    dropped = dropped or Tally()
    recorder.account.enter(block.stream, 0 if again else len(block) + block.lost_before + dropped.captured)
    return recorder.add(block.stream, block, dropped, span(block))


def chunk(row: int) -> tuple[Chunk, bytes]:
    stamps = np.array([row * 10], "<i8").tobytes()
    return Chunk(stream=0, first_row=row, captured_ns=stamps, captured=row + 1), bytes([row % 256]) * 100


def begin(spool: Spool, **more: Any) -> tuple[UUID, EpisodeFile]:
    """A new episode of one stream in `spool`."""
    file = spool.create(lambda ordinal, _: manifest(ROWS, spool_id=spool.spool_id, ordinal=ordinal, **more))
    return UUID(bytes=file.manifest.episode), file


def records(path: Path, episode: UUID) -> list[Record]:
    found = list(scan(episode.bytes, path.read_bytes()))
    assert all(isinstance(item, Record) for item in found)
    return [item for item in found if isinstance(item, Record)]


def records_in(path: Path) -> list[Record]:
    """Of a file in a spool, named by its episode."""
    return records(path, UUID(path.stem.partition("-")[2]))


def commit(spool: Spool, episode: UUID) -> bool:
    """As the uplink does when the ingest says that it has what the spool sealed."""
    (digest,) = [waiting.digest for waiting in spool.waiting() if waiting.episode == episode]
    return spool.committed(episode, digest)
