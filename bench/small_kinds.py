"""Small episodes of rows alone, recorded into spools as a device does, with a digest of what each stream holds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import numpy as np
import uuid_utils
from blake3 import blake3

from sensorium.agents.recording.encode import encoder
from sensorium.agents.spool.spool import Spool
from sensorium.drivers.clock import Clock
from sensorium.drivers.stream import Samples, Stamps, StreamSpec
from sensorium.episode.codecs.lossless import LosslessConfig
from sensorium.episode.codecs.registry import codec_of
from sensorium.episode.documents import FORMAT_VERSION, Account, Chunk, Mission, Open

FLUSH_EVERY = 50
LENGTH_NS = 10_000_000_000


@dataclass(frozen=True)
class Kind:
    """A kind of small episode: its streams, and how many rows each has."""

    name: str
    rows: Mapping[str, int]
    specs: Sequence[StreamSpec]


def _kind(name: str, streams: Mapping[str, tuple[int, str, tuple[int, ...], float]]) -> Kind:
    specs = [
        StreamSpec(name=stream, modality=name, dtype=dtype, shape=shape, rate_hz=rate_hz)
        for stream, (_, dtype, shape, rate_hz) in streams.items()
    ]
    return Kind(name, {stream: rows for stream, (rows, *_) in streams.items()}, specs)


def _rollout(name: str, rate_hz: float) -> Kind:
    """11 steps, 462 bytes of samples."""
    streams = {
        "observation": ("float32", (6,)),
        "action": ("float32", (2,)),
        "reward": ("float32", ()),
        "terminated": ("bool", ()),
        "info": ("uint8", (5,)),
    }
    return _kind(name, {stream: (11, dtype, shape, rate_hz) for stream, (dtype, shape) in streams.items()})


ROLLOUT = _rollout("rollout", 50.0)
"""A chunk a stream, which is a quarter of a second: at the rate of many a control task."""
SLOW_ROLLOUT = _rollout("slow_rollout", 20.0)
"""Three chunks a stream, each a record of the file: more to check of the same samples."""
ROWS = _kind(  # a file of 42 kB
    "rows",
    {
        "imu": (540, "float64", (6,), 200.0),
        "joints": (100, "float64", (7,), 40.0),
        "wrench": (100, "float32", (6,), 40.0),
    },
)

Digests = dict[str, dict[str, bytes]]
"""By episode and stream: `digest` of what was recorded."""


def digest(captured_ns: Stamps, data: Samples) -> bytes:
    """BLAKE3 of stamps and samples."""
    return blake3(captured_ns.tobytes()).update(data.tobytes()).digest()


def record(path: Path, device: str, kind: Kind, count: int, seed: int) -> Digests:
    """`count` episodes of noise, no two alike, sealed and synced in the spool at `path`."""
    noise = np.random.default_rng(seed)
    entries = {spec.name: LosslessConfig().entry(spec) for spec in kind.specs}
    encoders = {name: encoder(codec_of(entry)) for name, entry in entries.items()}
    digests: Digests = {}
    spool = Spool(path, device)

    def manifest(ordinal: int, between: dict[str, Account]) -> Open:
        return Open(
            version=FORMAT_VERSION,
            episode=uuid_utils.uuid7().bytes,
            device=device,
            spool_id=spool.spool_id,
            ordinal=ordinal,
            start_ns=ordinal * LENGTH_NS,
            end_ns=(ordinal + 1) * LENGTH_NS,
            mission=Mission(name="bench"),
            clock=Clock(kind="simulated"),
            streams=tuple(entries.values()),
            between=between,
        )

    try:
        for number in range(count):
            file = spool.create(manifest)
            found = digests[str(UUID(bytes=file.manifest.episode))] = {}
            for index, (name, entry) in enumerate(entries.items()):
                spec, rows = entry.spec, kind.rows[name]
                data = noise.normal(size=(rows, *spec.shape)).astype(spec.dtype)
                period_ns = int(1e9 / (spec.rate_hz or 1))
                captured_ns = file.manifest.start_ns + np.arange(rows, dtype=np.int64) * period_ns
                found[name] = digest(captured_ns, data)
                for first in range(0, rows, entry.chunk_rows):
                    part = slice(first, first + entry.chunk_rows)
                    chunk = np.zeros((entry.chunk_rows, *spec.shape), spec.dtype)
                    chunk[: len(data[part])] = data[part]
                    header = Chunk(
                        stream=index,
                        first_row=first,
                        captured_ns=captured_ns[part].tobytes(),
                        captured=min(rows, part.stop),
                    )
                    file.append(header, encoders[name](chunk))
            account = {name: Account(captured=rows, stored=rows) for name, rows in kind.rows.items()}
            file.seal("complete", dict(kind.rows), account, {}, file.manifest.end_ns)
            if number % FLUSH_EVERY == 0:
                spool.flush()
        spool.flush()
    finally:
        spool.close()
    return digests
