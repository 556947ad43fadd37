"""Episode files made of arrays, for all tests of what is stored and read."""

import itertools
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import msgspec
import numpy as np
import numpy.typing as npt
import uuid_utils
from blake3 import blake3

from sensorium.drivers.clock import Clock
from sensorium.drivers.stream import StreamSpec
from sensorium.episode.codecs.lossless import LosslessConfig
from sensorium.episode.codecs.registry import codec_of
from sensorium.episode.documents import (
    Account,
    Chunk,
    Encoding,
    Items,
    Kind,
    Mission,
    Note,
    Open,
    PreviewOf,
    Seal,
    StreamEntry,
)
from sensorium.episode.layout import with_checksum
from sensorium.episode.parser import Header
from sensorium.episode.records import encode_record

BOOT = Clock(kind="boottime", boot_id="4c0e3a4e-0000-4000-8000-000000000000")
Array = npt.NDArray[Any]


@dataclass
class EpisodeFile:
    """An episode's records and, joined, its file; with the arrays that a reader must find."""

    episode: uuid.UUID
    manifest: Open
    records: list[tuple[Header, bytes]]
    stamps: dict[str, Array]
    arrays: dict[str, Array]
    probes: list[tuple[int, int, int]] = field(default_factory=list)

    @property
    def pieces(self) -> list[bytes]:
        """Every record's bytes, SEAL with the right digest last."""
        return seal_records(self.episode, self.records)

    @property
    def data(self) -> bytes:
        return b"".join(self.pieces)

    @property
    def digest(self) -> bytes:
        """BLAKE3 of its bytes up to SEAL."""
        return blake3(b"".join(self.pieces[:-1])).digest()


def seal_records(
    episode: uuid.UUID, records: Sequence[tuple[Header, bytes]], numbers: Sequence[int] | None = None
) -> list[bytes]:
    """The bytes of each record; a SEAL's digest is made to fit what stands before it."""
    pieces: list[bytes] = []
    for number, (header, payload) in zip(numbers or itertools.count(), records, strict=False):
        if isinstance(header, Seal):
            header = msgspec.structs.replace(header, digest=blake3(b"".join(pieces)).digest())
        pieces.append(b"".join(encode_record(episode.bytes, number, header, payload)))
    return pieces


def entry_of(
    name: str, array: Array, chunk_rows: int | None = None, encoding: Encoding | None = None, **spec: Any
) -> StreamEntry:
    made = StreamSpec(**{"modality": "test", **spec}, name=name, dtype=array.dtype.name, shape=array.shape[1:])
    encoding = encoding or LosslessConfig().encoding(made)
    rows = chunk_rows or (1 if made.is_frames else 8)
    return StreamEntry(spec=made, encoding=encoding, chunk_rows=rows)


def build_episode(
    streams: Mapping[str, Array],
    *,
    chunk_rows: Mapping[str, int] | None = None,
    encodings: Mapping[str, Encoding] | None = None,
    specs: Mapping[str, Mapping[str, Any]] | None = None,
    device: str = "rig-1",
    spool_id: str = "spool-a",
    ordinal: int = 0,
    start_ns: int = 1_000_000_000,
    step_ns: int = 5_000_000,
    length_ns: int | None = None,
    clock: Clock = BOOT,
    mission: str = "kitchen",
    notes: Sequence[Note] = (),
    reason: Any = "complete",
    episode: uuid.UUID | None = None,
    kind: Kind = "full",
    base_ns: int | None = None,
    stamps: Mapping[str, Array] | None = None,
    labels: Mapping[str, str | int | float | bool] | None = None,
    summary: Mapping[str, Any] | None = None,
    preview_of: PreviewOf | None = None,
) -> EpisodeFile:
    """An episode of `streams`, {name: [n, *shape]}, a sample each `step_ns` unless `stamps` say; chunks of the streams
    take turns."""
    episode = episode or uuid.UUID(str(uuid_utils.uuid7()))
    entries = [
        entry_of(
            name,
            array,
            (chunk_rows or {}).get(name),
            (encodings or {}).get(name),
            **dict((specs or {}).get(name, {})),
        )
        for name, array in streams.items()
    ]
    steady = {name: start_ns + step_ns * np.arange(len(array), dtype=np.int64) for name, array in streams.items()}
    stamps = {**steady, **(stamps or {})}
    longest = max((len(array) for array in streams.values()), default=0)
    manifest = Open(
        version=1,
        episode=episode.bytes,
        kind=kind,
        device=device,
        spool_id=spool_id,
        ordinal=ordinal,
        start_ns=start_ns,
        end_ns=start_ns + (step_ns * longest if length_ns is None else length_ns),
        base_ns=base_ns,
        mission=Mission(name=mission, domain="home"),
        clock=clock,
        streams=tuple(entries),
        software={"sensorium": "test"},
        labels=dict(labels or {}),
        preview_of=preview_of,
    )
    queues = [
        _stream_records(number, entry, streams[entry.spec.name], stamps[entry.spec.name])
        for number, entry in enumerate(entries)
    ]
    turns = [record for turn in itertools.zip_longest(*queues) for record in turn if record is not None]
    seal = Seal(
        digest=b"",
        reason=reason,
        rows={name: len(array) for name, array in streams.items()},
        account={name: Account(captured=len(array), stored=len(array)) for name, array in streams.items()},
        summary=dict(summary or {}),
    )
    records: list[tuple[Header, bytes]] = [(manifest, b""), *turns, *((note, b"") for note in notes), (seal, b"")]
    return EpisodeFile(episode, manifest, records, stamps, dict(streams))


def _stream_records(number: int, entry: StreamEntry, array: Array, stamps: Array) -> list[tuple[Header, bytes]]:
    records: list[tuple[Header, bytes]] = []
    codec = codec_of(entry)
    rows = 3 if codec.stores_items else entry.chunk_rows
    for first in range(0, len(array), rows):
        part = np.ascontiguousarray(array[first : first + rows])
        about: dict[str, Any] = {"stream": number, "first_row": first, "captured": first + len(part)}
        about["captured_ns"] = stamps[first : first + rows].tobytes()
        if entry.spec.has_sensor_ns:
            about["sensor_ns"] = (stamps[first : first + rows] // 1000).tobytes()
        if codec.stores_items:
            items = [cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes() for frame in part]
            records.append((Items(lengths=tuple(map(len, items)), **about), b"".join(items)))
        else:
            padded = np.zeros((rows, *array.shape[1:]), array.dtype)
            padded[: len(part)] = part
            records.append((Chunk(**about), with_checksum(codec.encode(padded))))
    return records
