"""Growth: what an episode costs to commit, and to find, with 100 and with 10,000 in the store."""

import json
import os
import statistics
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import numpy as np
import uuid_utils
from blake3 import blake3
from measuring import DEVICE, Comparison, Options, compared, main

import sensorium
from sensorium.agents.recording.encode import encoder
from sensorium.corpus.corpus import Corpus
from sensorium.drivers.clock import Clock
from sensorium.drivers.stream import StreamSpec
from sensorium.episode.codecs.lossless import LosslessConfig
from sensorium.episode.codecs.registry import codec_of
from sensorium.episode.documents import FORMAT_VERSION, Account, Chunk, Mission, Open, Seal
from sensorium.episode.records import encode_record
from sensorium.ingest.mending import rebuild_catalog
from sensorium.ingest.store import Store

FEW, MANY = 100, 10_000
SPOOL_ID = "0123456789abcdef"
SPECS = (
    StreamSpec(name="cam", modality="camera", dtype="uint8", shape=(120, 160), rate_hz=30.0),
    StreamSpec(name="imu", modality="imu", dtype="float64", shape=(6,), rate_hz=200.0),
)
EPISODE_NS = 1_000_000_000


def measure(options: Options) -> Comparison:
    """Milliseconds of `begin`, `append` and `commit`, a run being one episode in each store, by turns."""
    few, many, runs = (20, 200, 5) if options.quick else (FEW, MANY, options.runs)
    began = time.perf_counter()
    paths = {count: options.folder / f"store-{count}" for count in (few, many)}
    for count, path in paths.items():
        fill(path, count)
    fill_s = time.perf_counter() - began
    stores = {count: Store.open(path) for count, path in paths.items()}
    corpora = {count: sensorium.open(path) for count, path in paths.items()}
    commits: dict[int, list[float]] = {few: [], many: []}
    cpu: dict[int, list[float]] = {few: [], many: []}
    queries: dict[int, list[float]] = {few: [], many: []}
    try:
        for run in range(-1, runs):  # the first only warms up
            for count in (few, many) if run % 2 else (many, few):
                ordinal = count + run + 1
                episode, data = episode_file(ordinal)
                wall_ms, cpu_ms = timed(lambda: commit(stores[count], episode, data))  # noqa: B023 (called at once)
                query_ms, _ = timed(lambda: find(corpora[count], ordinal))  # noqa: B023
                if run >= 0:
                    commits[count].append(wall_ms)
                    cpu[count].append(cpu_ms)
                    queries[count].append(query_ms)
    finally:
        for store in stores.values():
            store.close()
    detail = {
        "episodes": {"few": few, "many": many},
        "ours": f"commit with {many} in the store; against: with {few}; so the ratio is 1 where nothing grows",
        "cpu_ms": {str(count): round(statistics.median(values), 2) for count, values in cpu.items()},
        "query_ms": {str(count): round(statistics.median(values), 2) for count, values in queries.items()},
        "p90_ms": {str(count): round(float(np.percentile(values, 90)), 1) for count, values in commits.items()},
        "fill": "100 committed, the rest with the ZIP of one of them (hard links, records) before rebuild-catalog",
        "fill_s": round(fill_s, 1),
    }
    return compared("growth", commits[many], commits[few], "ms", False, detail)


def episode_file(ordinal: int) -> tuple[uuid.UUID, bytes]:
    """One second of small frames and of an IMU, as the bytes of its file."""
    episode = uuid.UUID(bytes=uuid_utils.uuid7().bytes)
    noise = np.random.default_rng(ordinal)
    start_ns = ordinal * EPISODE_NS
    entries = [LosslessConfig().entry(spec) for spec in SPECS]
    manifest = Open(
        version=FORMAT_VERSION,
        episode=episode.bytes,
        device=DEVICE,
        spool_id=SPOOL_ID,
        ordinal=ordinal,
        start_ns=start_ns,
        end_ns=start_ns + EPISODE_NS,
        mission=Mission(name="bench"),
        clock=Clock(kind="recording"),
        streams=tuple(entries),
    )
    records = [b"".join(encode_record(episode.bytes, 0, manifest))]
    rows = {}
    for number, entry in enumerate(entries):
        size = entry.chunk_rows
        data = encoder(codec_of(entry))(noise.integers(0, 256, (size, *entry.spec.shape)).astype(entry.spec.dtype))
        rows[entry.spec.name] = 0
        while rows[entry.spec.name] < (entry.spec.rate_hz or 0):
            first = rows[entry.spec.name]
            stamps = start_ns + np.arange(first, first + size, dtype=np.int64) * 1_000_000
            header = Chunk(stream=number, first_row=first, captured_ns=stamps.tobytes(), captured=first + size)
            records.append(b"".join(encode_record(episode.bytes, len(records), header, data)))
            rows[entry.spec.name] += size
    account = {name: Account(captured=count, stored=count) for name, count in rows.items()}
    digest = blake3(b"".join(records)).digest()
    seal = Seal(digest=digest, reason="complete", rows=rows, account=account, summary={}, end_ns=manifest.end_ns)
    records.append(b"".join(encode_record(episode.bytes, len(records), seal)))
    return episode, b"".join(records)


def commit(store: Store, episode: uuid.UUID, data: bytes) -> None:
    """As staging does it, with the bytes at hand."""
    assembly = store.begin(episode)
    assembly.append(data)
    store.commit(assembly, device=DEVICE, identity="bench")


def find(corpus: Corpus, ordinal: int) -> None:
    """One question, of the kind that a reader asks."""
    if len(corpus.query(f"device = '{DEVICE}' and ordinal = {ordinal}")) != 1:
        raise RuntimeError(f"{corpus.path}: episode {ordinal} is not there")


def fill(path: Path, count: int) -> None:
    """A store of `count` episodes: up to 100 committed, then copies under ids and ordinals of their own."""
    committed = min(count, FEW)
    with Store.open(path) as store:
        for ordinal in range(committed):
            episode, data = episode_file(ordinal)
            commit(store, episode, data)
    original = next((path / "commits").glob("????-??/*.json"))
    packed = path / "episodes.zarr" / original.parent.name / f"{original.stem}.zip"
    record = json.loads(original.read_bytes())
    for ordinal in range(committed, count):
        copy(packed, original, record, ordinal)
    if count > committed:
        rebuild_catalog(path)


def copy(packed: Path, original: Path, record: dict[str, dict[str, object]], ordinal: int) -> None:
    """Another episode with the ZIP `packed`; its id is of now, so that it stands in the same month's folder."""
    identity = str(uuid_utils.uuid7())
    name = f"{identity}.zip"
    os.link(packed, packed.with_name(name))
    about = {
        "row": record["row"] | {"episode": identity, "ordinal": ordinal},
        "objects": {name: record["objects"][packed.name]},
    }
    original.with_name(f"{identity}.json").write_text(json.dumps(record | about), encoding="utf-8")


def timed(work: Callable[[], None]) -> tuple[float, float]:
    """Wall and CPU milliseconds of `work`."""
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    work()
    return 1e3 * (time.perf_counter() - began_s), 1e3 * (time.process_time() - began_cpu_s)


if __name__ == "__main__":
    main(__doc__ or "", measure, runs=200)
