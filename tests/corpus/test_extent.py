"""What an episode is of: the interval that it was cut as, and how much of it its data covers."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import sensorium
from sensorium.corpus.extent import Extent, Span, extent_of
from sensorium.corpus.verify import verify
from sensorium.drivers.clock import Clock
from sensorium.episode.documents import Mission, Open, Seal
from sensorium.ingest.mending import rebuild_catalog
from sensorium.ingest.store import Store

S = 1_000_000_000


def documents() -> tuple[Open, Seal]:
    """Of an episode that was cut from 10 s to 20 s."""
    manifest = Open(
        version=1,
        mission=Mission(name="m"),
        episode=bytes(16),
        device="rig",
        spool_id=bytes(16).hex(),
        ordinal=0,
        clock=Clock(kind="recording"),
        start_ns=10 * S,
        end_ns=20 * S,
        streams=(),
    )
    return manifest, Seal(digest=bytes(32), reason="complete", rows={}, account={})


@pytest.mark.parametrize(
    ("spans", "covered_s"),
    [
        ([(10.0, 19.99, 1000, 100.0)], 10.0),
        ([(10.004, 19.995, 1000, 100.0)], 10.0),
        ([(10.014, 19.986, 998, 100.0)], 10.0),
        ([(10.016, 19.984, 997, 100.0)], 9.978008032),
        ([(10.0, 10.49, 50, 100.0)], 0.5),
        ([(17.3, 19.99, 270, 100.0)], 2.7),
        ([(10.0, 19.9, 100, 30.0)], 10.0),
        ([(10.0, 10.4, 3, 5.0), (12.0, 14.0, 5, 2.0)], 4.5),
        ([(13.0, 16.0, 4, None)], 4.0),
        ([(12.0, 12.0, 1, 4.0)], 0.25),
        ([(12.0, 12.0, 1, None)], 1e-9),
        ([], 0.0),
    ],
)
def test_what_the_data_covers(spans: list[tuple[float, float, int, float | None]], covered_s: float) -> None:
    made = [Span(round(first * S), round(last * S), rows, rate_hz) for first, last, rows, rate_hz in spans]
    found = extent_of(*documents(), made)
    assert (found.start_ns, found.end_ns) == (10 * S, 20 * S)
    assert found.covered_s == pytest.approx(covered_s, abs=1e-9)


def test_a_trace_is_of_all_that_it_judged() -> None:
    manifest, seal = documents()
    assert extent_of(msgspec.structs.replace(manifest, kind="trace"), seal, []).covered_s == 10.0


def test_one_that_was_interrupted_ends_with_its_last_sample() -> None:
    manifest, seal = documents()
    cut = msgspec.structs.replace(seal, reason="interrupted")
    assert extent_of(manifest, cut, [Span(10 * S, 13 * S, 31, 10.0)]) == Extent(10 * S, 13 * S + 1, 3.000000001)


@pytest.mark.parametrize("small_bytes", [0, 8 << 20], ids=["folder", "zip"])
def test_a_tail_of_half_a_second_is_not_ten(make_episode: Any, tmp_path: Path, small_bytes: int) -> None:
    """In records and catalog; of those of before there was `interval_s`, that is what `duration_s` said."""
    with Store.open(tmp_path, small_bytes=small_bytes) as store:
        for rows in (100, 5):
            made = make_episode({"imu": np.zeros((rows, 6))}, ordinal=rows, step_ns=S // 10, length_ns=10 * S)
            assembly = store.begin(made.episode)
            assembly.append(made.data)
            store.commit(assembly, device="rig-1", identity="k")
    corpus = sensorium.open(tmp_path)
    whole, tail = corpus.query(order_by="rows desc")
    assert [(each.duration_s, each.interval_s, each.end_ns) for each in (whole, tail)] == [
        (10.0, 10.0, 11 * S),
        (0.5, 10.0, 11 * S),
    ]
    assert [each.id for each in corpus.query("duration_s < 1 and interval_s = 10")] == [tail.id]
    for path in tmp_path.glob("commits/*/*.json"):
        record = msgspec.json.decode(path.read_bytes())
        record["row"]["duration_s"] = record["row"].pop("interval_s")
        path.write_bytes(msgspec.json.encode(record))
    rebuild_catalog(tmp_path)
    assert len(corpus.query("duration_s = 10 and interval_s = 10")) == 2
    assert list(verify(tmp_path)) == []
    with closing(sqlite3.connect(tmp_path / "catalog.sqlite")) as catalog:
        catalog.execute("ALTER TABLE episodes DROP COLUMN interval_s")
    assert [each.as_dict()["interval_s"] for each in sensorium.open(tmp_path).query()] == [10.0, 10.0]
    Store.open(tmp_path, small_bytes=small_bytes).close()
    assert len(sensorium.open(tmp_path).query("interval_s = 10")) == 2
    assert list(verify(tmp_path)) == []
