"""Finding episodes among a million: ours against DuckDB on the same rows, which it has in memory; what else is asked.

The ratio is that of a filter by device and time range, from the text of the condition to the rows. DuckDB is told of no
index; where its rows are the same is looked at first. In `detail`: one by id, device and mission, a score, a stream of
few, health, a group-by, the first batch of windows over 100,000, growth from 1,000 episodes, and the filter while
episodes are entered beside it. 50,000 are entered as an ingest does, and copied to a million by SQL.
"""

import contextlib
import functools
import multiprocessing
import sqlite3
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import similar
from measuring import Comparison, Options, compared, main

import sensorium
from sensorium.corpus.catalog import Catalog
from sensorium.corpus.catalog_entries import enter_records
from sensorium.corpus.catalog_reading import CATALOG
from sensorium.corpus.catalog_tables import COLUMNS, META
from sensorium.corpus.commits import CommitRecord, StreamSummary
from sensorium.corpus.corpus import Corpus
from sensorium.episode.documents import Account
from sensorium.episode.utc_text import utc_text
from sensorium.errors import ConfigError, SensoriumError
from sensorium.ingest.store import Store

EPISODES, DEVICES, MISSIONS = 1_000_000, 50, 20
BEGIN_NS = 1_780_000_000_000_000_000
EACH_NS = 2_592_000_000_000_000  # of a month, one after the other
ENTERED = 50_000
ENTERED_BESIDE_S = 0.02


def records(count: int, first: int = 0, of: int = 0) -> Iterator[CommitRecord]:
    """Episodes of a month of a fleet: a camera and an IMU, one in a thousand with a lidar; `of` is how many there are
    in the month."""
    rng = np.random.default_rng(first)
    step_ns = EACH_NS // max(of, count)
    sharpness = np.exp(rng.normal(5, 1, count)).tolist()
    seconds = rng.uniform(2, 60, count).tolist()
    places = rng.integers(0, DEVICES * MISSIONS, count).tolist()
    account = {name: Account(captured=n, stored=n) for name, n in (("front", 300), ("imu", 2000), ("lidar", 100))}
    for at in range(count):
        number = first + at
        device, mission = divmod(places[at], MISSIONS)
        start_ns = BEGIN_NS + number * step_ns
        end_ns = start_ns + int(seconds[at] * 1e9)
        episode = named(start_ns - BEGIN_NS, number)
        names = ("front", "imu", "lidar") if number % 1000 == 7 else ("front", "imu")
        rows = sum(account[name].stored for name in names)
        streams = {name: summary(name, account[name].stored, sharpness[at]) for name in names}
        row = {
            "episode": episode,
            "device": f"rig-{device}",
            "spool_id": f"{device:032x}",
            "ordinal": number,
            "identity": f"rig-{device}",
            "mission": f"mission-{mission}",
            "domain": "home",
            "priority": 1.0,
            "origin": "sensor",
            "clock": "boottime",
            "reason": "complete",
            "start_ns": start_ns - BEGIN_NS,
            "end_ns": end_ns - BEGIN_NS,
            "start_utc": utc_text(start_ns),
            "end_utc": utc_text(end_ns),
            "committed_utc": utc_text(end_ns + 10**9),
            "duration_s": (end_ns - start_ns) / 1e9,
            "bytes": rows * 1000 + number % 997,
            "streams": len(names),
            "rows": rows,
            "captured": rows,
            "stored": rows,
            "filtered": 0,
            "lost": number % 13,
            "licence": "",
            "consent": "",
            "source": "",
            "generation": 0,
            "digest": f"{number:064x}",
            "timeline": "boottime b5b1f3c0-0000-4000-8000-000000000000",
        }
        yield CommitRecord(
            format_version=1,
            row=row,
            streams=streams,
            account={name: account[name] for name in names},
            objects={},
            events={"trigger": {"motion": 1}},
        )


def summary(name: str, rows: int, sharpness: float) -> StreamSummary:
    """Of a stream, with its health."""
    shape: tuple[int, ...] = {"front": (480, 640, 3), "imu": (6,), "lidar": (16, 360)}[name]
    health = {"rate_hz": 29.97, "interval_ms": 33.3, "gaps": 0} | ({"sharpness": sharpness} if name == "front" else {})
    rate_hz = {"front": 30.0, "imu": 200.0, "lidar": 10.0}[name]
    dtype, media = ("uint8", "image/jpeg") if name == "front" else ("float64", "application/octet-stream")
    return StreamSummary(
        modality=name,
        dtype=dtype,
        shape=shape,
        rate_hz=rate_hz,
        media_type=media,
        rows=rows,
        bytes=rows * 1000,
        health=health,
    )


def filled(folder: Path, count: int) -> Path:
    """A store whose catalog has so many episodes: the first as an ingest enters them, the others as these once more,
    later; the indices are made behind."""
    Store.open(folder).close()
    path = folder / CATALOG
    first = min(count, ENTERED)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("pragma synchronous = off")
        connection.execute("pragma journal_mode = off")
        connection.create_function("utc", 1, lambda ns: utc_text(BEGIN_NS + ns), deterministic=True)
        connection.create_function("named", 2, named, deterministic=True)
        for index in (index for table in META.tables.values() for index in table.indexes):
            connection.execute(f"DROP INDEX IF EXISTS {index.name}")
        connection.execute("BEGIN")
        enter_records(connection.cursor(), records(first, of=count))
        for times in range(1, -(-count // first)):
            again(connection, times * first, min(first, count - times * first), times * first * (EACH_NS // count))
            print(f"{(times + 1) * first:,} of {count:,} episodes", file=sys.stderr, flush=True)
        connection.execute("COMMIT")
    Catalog(path).close()  # which makes the indices that are not there
    return folder


def again(connection: sqlite3.Connection, number: int, count: int, later_ns: int) -> None:
    """Enter the first `count` episodes once more, as those from `number` on."""
    values = {"number": number, "count": count, "later": later_ns}
    more = {"id": "id + :number", "ordinal": "ordinal + :number"}
    moved = {
        **more,
        **{name: f"{name} + :later" for name in ("start_ns", "end_ns")},
        "episode": "named(start_ns + :later, ordinal + :number)",
        "start_utc": "utc(start_ns + :later)",
        "end_utc": "utc(end_ns + :later)",
        "committed_utc": "utc(end_ns + :later + 1000000000)",
    }
    of_ledger = more | {"episode": "(SELECT episode FROM episodes WHERE id = ledger.ordinal + :number + 1)"}
    of = {"episodes": moved, "ledger": of_ledger}
    for name in ("episodes", "documents", "scores", "events", "stream_figures", "ledger"):
        columns = META.tables[name].columns.keys()
        what = ", ".join(of.get(name, more).get(column, column) for column in columns)
        which = "ordinal < :count" if name == "ledger" else "id <= :count"
        connection.execute(f"INSERT INTO {name} ({', '.join(columns)}) SELECT {what} FROM {name} WHERE {which}", values)


def named(start_ns: int, number: int) -> str:
    """The id of an episode, of when it begins after the first."""
    stamp_ms = (BEGIN_NS + start_ns) // 1_000_000
    return f"{stamp_ms >> 16:08x}-{stamp_ms & 0xFFFF:04x}-7{number >> 48 & 0xFFF:03x}-8000-{number:012x}"


def conditions(count: int, seed: int) -> Iterator[str]:
    """A device and some hours, so many that about a dozen episodes match."""
    rng = np.random.default_rng(seed)
    length_ns = 12 * DEVICES * (EACH_NS // count)
    while True:
        start_ns = BEGIN_NS + int(rng.integers(0, max(EACH_NS - length_ns, 1)))
        device = f"rig-{rng.integers(DEVICES)}"
        begin, end = utc_text(start_ns), utc_text(start_ns + length_ns)
        yield f"device = '{device}' and start_utc >= '{begin}' and start_utc < '{end}'"


def milliseconds(call: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """Of one call."""
    began_s = clock()
    call()
    return 1e3 * (clock() - began_s)


def p50(calls: Iterator[Callable[[], object]], times: int) -> float:
    """The median of so many, in milliseconds."""
    return median(milliseconds(next(calls)) for _ in range(times))


def median(values: Iterable[float]) -> float:
    return float(f"{statistics.median(values):.4g}")


def spent(calls: Iterator[Callable[[], object]], times: int) -> list[float]:
    """The medians of so many, in milliseconds, and in those of CPU, which other processes lengthen less."""
    cpu = []

    def timed(call: Callable[[], object]) -> None:
        cpu.append(milliseconds(call, time.process_time))

    wall = p50((functools.partial(timed, call) for call in calls), times)
    return [wall, median(cpu)]


def in_duckdb(corpus: Corpus) -> "duckdb.DuckDBPyConnection":
    """A table `episodes` in memory with the same rows."""
    connection = duckdb.connect()
    table = corpus.rows().arrow()
    connection.register("rows_of_catalog", table)
    connection.execute("CREATE TABLE episodes AS SELECT * FROM rows_of_catalog ORDER BY episode")
    connection.unregister("rows_of_catalog")
    return connection


def measure(options: Options) -> Comparison:
    """The filter by turns; then what else is asked, once the peer is closed."""
    count = 20_000 if options.quick else EPISODES
    store = filled(options.folder / "store", count)
    corpus = sensorium.open(store)
    every = [f'"{name}"' for name in COLUMNS]
    duck = in_duckdb(corpus)
    asked = conditions(count, 0)
    for condition in (next(asked) for _ in range(20)):
        ours = [row["episode"] for row in corpus.rows(condition)]
        theirs = duck.execute(f"SELECT episode FROM episodes WHERE {condition} ORDER BY episode").fetchall()
        if not ours or ours != [episode for (episode,) in theirs]:
            raise ValueError(f"{condition}: DuckDB finds others")
    found: dict[str, list[float]] = {"ours": [], "duckdb": []}
    cpu: dict[str, list[float]] = {"ours": [], "duckdb": []}
    for _ in range(options.runs * (5 if options.quick else 40)):
        condition = next(asked)
        text = f"SELECT {', '.join(every)} FROM episodes WHERE {condition} ORDER BY episode"
        calls: dict[str, Callable[[], object]] = {
            "ours": functools.partial(corpus.query, condition),
            "duckdb": lambda: duck.execute(text).fetchall(),  # noqa: B023
        }
        for name, call in calls.items():
            began_s = time.process_time()
            found[name].append(milliseconds(call))
            cpu[name].append(1e3 * (time.process_time() - began_s))
    groups = "SELECT mission, sum(duration_s) / 3600, sum(bytes) FROM episodes GROUP BY 1 ORDER BY 1"
    lidar = "SELECT mission, avg(lost) FROM episodes WHERE duration_s > 30 GROUP BY 1 ORDER BY 1"
    duck_ms = {"group_by": spent(iter(lambda: lambda: duck.execute(groups).fetchall(), None), 5)}
    duck_ms["unindexed_group_by"] = spent(iter(lambda: lambda: duck.execute(lidar).fetchall(), None), 5)
    duck.close()
    hundred = filled(options.folder / "hundred", 5000 if options.quick else 100_000)
    sizes = [size for size in (1000, 10_000) if size < count]
    smaller = {size: sensorium.open(filled(options.folder / str(size), size)) for size in sizes}
    if not options.quick:
        smaller[100_000] = sensorium.open(hundred)
    detail = {
        "episodes": count,
        "catalog_mb": round((store / CATALOG).stat().st_size / 1e6, 1),
        "cpu_ms": {name: median(each) for name, each in cpu.items()},
        "cpu_ratio": round(statistics.median(cpu["duckdb"]) / statistics.median(cpu["ours"]), 3),
        "duckdb_ms_and_cpu_ms": duck_ms,
        "p50_ms_and_cpu_ms": asked_of(corpus),
        "memory": light(corpus),
        "windows_begin_s_and_cpu_s": first_windows(hundred),
        "p50_ms_while_entering": while_entering(store, corpus, count),
        "growth_ms": growth({**smaller, count: corpus}),
        "top_10_of_100_000_ms": similar.measure(replace(options, folder=options.folder / "similar")).ours,
    }
    return compared("catalog", found["ours"], found["duckdb"], "ms", False, detail)


def asked_of(corpus: Corpus) -> dict[str, list[float]]:
    """Medians of what is asked of a catalog, in milliseconds, and in those of CPU."""
    rng = np.random.default_rng(1)
    ids = [row["episode"] for row in corpus.rows(columns=["episode"], limit=50)]
    missions = [
        f"device = 'rig-{rng.integers(DEVICES)}' and mission = 'mission-{rng.integers(MISSIONS)}'" for _ in range(50)
    ]
    best = [float(np.exp(8.6 + each / 50)) for each in range(50)]  # a handful of a hundred thousand are above

    def each(*calls: Callable[[], object]) -> list[float]:
        return spent(iter(calls * (1 + 20 // len(calls))), min(20, 20 * len(calls)))

    return {
        "by_id": each(*(lambda of=of: corpus.episode(of) for of in ids)),
        "by_prefix": each(*(lambda of=of: _prefixed(corpus, of[:30]) for of in ids)),
        "device_mission_count": each(*(lambda w=w: corpus.aggregate("", "count", w) for w in missions)),
        "device_mission_first": each(*(lambda w=w: corpus.query(w, limit=10) for w in missions)),
        "kind": each(lambda: corpus.query("kind = 'trace'")),
        "latest": each(lambda: corpus.query(order_by="start_utc desc", limit=10)),
        "score": each(*(lambda v=v: corpus.query(f"score('front', 'sharpness') > {v}") for v in best)),
        "has_of_few": each(lambda: corpus.query("has('lidar')")),
        "rate_of_few": each(lambda: corpus.query("stream('lidar').rate_hz < 20", limit=10)),
        "health": each(lambda: corpus.query("health('front').rate_hz < 10")),
        "health_of_a_device": each(lambda: corpus.query("device = 'rig-1' and health('front').sharpness > 3000")),
        "event": each(lambda: corpus.query("event('motion')", limit=10)),
        "group_by": each(lambda: corpus.aggregate("mission", "hours, bytes")),
        "unindexed_group_by": each(lambda: corpus.aggregate("mission", "mean(lost)", "duration_s > 30")),
    }


def _prefixed(corpus: Corpus, prefix: str) -> None:
    with contextlib.suppress(ConfigError):
        corpus.episode(prefix)


def light(corpus: Corpus) -> dict[str, float]:
    """Going through all rows, and what that holds; the first of them comes at once."""
    began_s = time.perf_counter()
    rows = iter(corpus.rows(columns=["episode", "device", "duration_s"]))
    next(rows)
    first_ms = 1e3 * (time.perf_counter() - began_s)
    count = 1 + sum(1 for _ in rows)
    took_s = time.perf_counter() - began_s
    tracemalloc.start()
    for number, _ in enumerate(corpus.rows()):
        if number == 50_000:
            break
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return {"rows": count, "first_ms": round(first_ms, 1), "all_s": round(took_s, 2), "peak_mb": round(peak / 1e6, 1)}


def first_windows(store: Path) -> dict[str, list[float]]:
    """Seconds, and those of CPU, until the first window is looked for in its files, of which there are none."""
    corpus = sensorium.open(store)
    asked: dict[str, Callable[[], object]] = {
        "plain": lambda: next(corpus.windows(length_s=2, streams=["front", "imu"])),
        "across": lambda: next(corpus.windows(length_s=2, streams=["front", "imu"], across=True)),
        "around": lambda: next(corpus.windows(around="motion", after_s=2, streams=["front", "imu"])),
        "around_across": lambda: next(corpus.windows(around="motion", after_s=2, streams=["imu"], across=True)),
        "batches": lambda: next(iter(corpus.batches(length_s=2, streams=["front", "imu"], prefetch=0))),
    }

    def begun(ask: Callable[[], object]) -> float:
        with contextlib.suppress(SensoriumError):
            ask()
        return 0.0

    found = {name: spent(iter([functools.partial(begun, ask)] * 5), 5) for name, ask in asked.items()}
    return {name: [round(each / 1e3, 3) for each in times] for name, times in found.items()}


def while_entering(store: Path, corpus: Corpus, count: int) -> dict[str, float]:
    """The filter, with nobody beside, and while a process enters fifty episodes a second, each by itself."""
    asked = conditions(count, 2)
    calls = ((lambda w=w: corpus.query(w)) for w in asked)
    alone = p50(calls, 200)
    context = multiprocessing.get_context("spawn")
    begun, stop, entered = context.Event(), context.Event(), context.Value("i", 0)
    beside = context.Process(target=enter, args=(store / CATALOG, count, begun, stop, entered))
    beside.start()
    begun.wait(60)
    busy = p50(calls, 500)
    stop.set()
    beside.join()
    return {"alone": alone, "beside": busy, "entered": entered.value}


def enter(catalog: Path, count: int, begun: Any, stop: Any, entered: Any) -> None:
    """What an ingest does: in a process of its own."""
    ours = Catalog(catalog)
    for record in records(20_000, count):
        ours.add([record])
        begun.set()
        entered.value += 1
        if stop.wait(ENTERED_BESIDE_S):
            break
    ours.close()


def growth(stores: Mapping[int, Corpus]) -> dict[str, float]:
    """The filter's median by how many episodes there are, each condition with about as many matches."""
    found = {}
    for size, corpus in stores.items():
        calls = ((lambda w=w: corpus.query(w)) for w in conditions(size, 3))  # noqa: B023
        found[str(size)] = p50(calls, 100)
    return found


if __name__ == "__main__":
    main(__doc__ or "", measure, runs=5)
