"""Trace episodes made of rows, for tests of those that read them."""

import uuid
from collections.abc import Sequence
from typing import Any

import msgspec
import uuid_utils

from sensorium.drivers.clock import Clock
from sensorium.episode.codecs.registry import codec_of
from sensorium.episode.documents import Account, Chunk, Mission, Open, Seal
from sensorium.episode.layout import with_checksum
from sensorium.episode.parser import Header
from sensorium.episode.trace import About, Layout, Words
from sensorium.episode.trace_row import TraceRow
from sensorium.episode.unit import Judged
from sensorium.ingest.store import Store
from tests.episode_files import BOOT, EpisodeFile


def trace_episode(
    rows: Sequence[TraceRow | Judged],
    *,
    device: str = "rig-1",
    spool_id: str = "spool-a",
    ordinal: int = 0,
    clock: Clock = BOOT,
    reason: Any = "complete",
    document: dict[str, Any] | None = None,
    resets: int = 0,
) -> EpisodeFile:
    """An episode of kind `trace` that holds these, all of one boot and policy, in one chunk a stream."""
    held = [row if isinstance(row, TraceRow) else TraceRow(judged=row) for row in rows]
    decision = held[0].judged.decision
    about = About(boot=decision.boot, policy=decision.policy, document=document or {}, resets=resets)
    layout, words = Layout().widened(held), Words()
    stamps, arrays = layout.arrays(held, words)
    entries = layout.entries(len(held))
    episode = uuid.UUID(bytes=uuid_utils.uuid7().bytes)
    manifest = Open(
        version=1,
        episode=episode.bytes,
        kind="trace",
        device=device,
        spool_id=spool_id,
        ordinal=ordinal,
        start_ns=held[0].start_ns,
        end_ns=held[-1].end_ns,
        mission=Mission(),
        clock=clock,
        streams=entries,
    )
    records: list[tuple[Header, bytes]] = [(manifest, b""), (about.note(held[0].start_ns), b"")]
    noted = words.note(held[0].start_ns)
    records += [] if noted is None else [(noted, b"")]
    for number, (entry, array) in enumerate(zip(entries, arrays, strict=True)):
        header = Chunk(stream=number, first_row=0, captured_ns=stamps.tobytes(), captured=len(held))
        records.append((header, with_checksum(codec_of(entry).encode(array))))
    names = [entry.spec.name for entry in entries]
    account = {name: Account(captured=len(held), stored=len(held)) for name in names}
    end_ns = held[-1].end_ns if reason == "complete" else None
    seal = Seal(digest=b"", reason=reason, rows=dict.fromkeys(names, len(held)), account=account, end_ns=end_ns)
    records.append((seal, b""))
    return EpisodeFile(episode, manifest, records, dict.fromkeys(names, stamps), dict(zip(names, arrays, strict=True)))


def commit_trace(store: Store, rows: Sequence[TraceRow | Judged], **about: Any) -> EpisodeFile:
    """Have one in a store."""
    made = trace_episode(rows, **about)
    probes = about.pop("probes", [(10**9, 1_700_000_000 * 10**9, 2_000_000)])
    assembly = store.begin(made.episode)
    assembly.append(made.data)
    store.commit(assembly, device=made.manifest.device, identity="k", probes=probes)
    return made


def again(judged: Judged, **more: Any) -> Judged:
    """The same unit, of which something else was decided."""
    return msgspec.structs.replace(judged, decision=msgspec.structs.replace(judged.decision, **more))
