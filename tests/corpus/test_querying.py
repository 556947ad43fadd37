"""Conditions over all that a catalog knows, rows a page at a time, sums; in both forms, and once it is rebuilt."""

import doctest
import json
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from typer.testing import CliRunner

import sensorium
from sensorium.cli.main import app
from sensorium.corpus import finding, placing
from sensorium.corpus.catalog import Catalog
from sensorium.corpus.catalog_entries import catalog_document
from sensorium.corpus.catalog_reading import CATALOG
from sensorium.corpus.commits import CommitRecord, read_record, record_paths
from sensorium.corpus.corpus import Corpus
from sensorium.corpus.placed import UNKNOWN
from sensorium.corpus.placing import placed
from sensorium.corpus.verify import verify
from sensorium.episode.documents import Account, Note, PreviewOf
from sensorium.errors import ConfigError, StoreError
from sensorium.ingest.mending import rebuild_catalog
from sensorium.ingest.store import Store
from tests.corpus.conftest import PROBES
from tests.former_catalog import as_former
from tests.forms import FORMS, arrived

SHARP = {"p10": 20.0, "p50": 70.0}
HEALTH = {"rate_hz": 9.5, "jitter_ms": {"p50": 0.5, "p99": 4.0}, "gaps": {"count": 2, "longest_ms": 300.0}}


def store_of(path: Path, make_episode: Any, small_bytes: int) -> Path:
    """Four episodes: a camera of which two are sharp and one is not judged, an IMU in the later two."""
    scores = {"front": {"blur": 0.25, "sharpness": 1.0, "odd": "x", "endless": 1e999}, "imu": {"blur": 1.0}}
    said: list[dict[str, Any]] = [
        {
            "summary": {
                "scores": scores,
                "health": {"front": HEALTH | {"sharpness": SHARP, "stuck": ["all"]}},
                "value": 2.5,
            }
        },
        {"labels": {"task": "pick", "tries": 3, "done": True}, "summary": {"outcome": "success"}},
        {
            "summary": {"health": {"front": {"sharpness": {"p50": 7.0}, "rate_hz": None}, "imu": "odd"}},
            "notes": [
                Note(kind="event", name="grasp", start_ns=10**9),
                Note(kind="event", name="grasp", start_ns=2 * 10**9),
                Note(kind="decision", name="novelty"),
            ],
        },
        {"labels": {"task": "place"}, "mission": "hall", "device": "rig-2", "summary": {"labels": {"late": "x"}}},
    ]
    with Store.open(path, small_bytes=small_bytes) as store:
        for ordinal, more in enumerate(said):
            arrays: dict[str, Any] = {"front": np.zeros((20, 8, 6), np.uint8)}
            if ordinal > 1:
                arrays["imu"] = np.arange(30.0).reshape(10, 3)
            made = make_episode(
                arrays,
                ordinal=ordinal,
                step_ns=10**8,
                specs={"front": {"rate_hz": 10.0}},
                **{"start_ns": 10**9, **more},
            )
            store.commit(arrived(store, made), device=more.get("device", "rig-1"), identity="k", probes=PROBES)
    return path


CONDITIONS = {
    "stream('front').rate_hz > 5": [0, 1, 2, 3],
    "stream('imu').rows = 10 and has('front')": [2, 3],
    "stream('imu').dtype = 'float64' and stream('imu').shape = '(3,)'": [2, 3],
    "stream('front').shape in ('[8, 6]', '1x1')": [0, 1, 2, 3],
    "not stream('imu').rows > 5": [],
    "stream('imu').rows is null": [0, 1],
    "not has('imu')": [0, 1],
    "stream('front').modality = 'test' and stream('front').media_type like 'application/%'": [0, 1, 2, 3],
    "stream('front').bytes > 1 and stream('front').captured = 20 and stream('front').lost = 0": [0, 1, 2, 3],
    "health('front').rate_hz < 10": [0],
    "health('front').jitter_p99_ms = 4 and health('front').gaps = 2 and health('front').stuck = 1": [0],
    "health('front').longest_gap_ms between 299 and 301 or health('front').sharpness = 7": [0, 2],
    "score('front', 'sharpness') > 10": [0],
    "10 > score('front', 'sharpness')": [2],
    "score('front', 'sharpness') is null": [1, 3],
    "not score('front', 'sharpness') > 10": [2],
    "score('front', 'sharpness') > 10 or mission = 'hall'": [0, 3],
    "score('front', 'sharpness') > 10 and device = 'rig-1' and duration_s > 1": [0],
    "score('front', 'blur') between 0.1 and 0.3": [0],
    "score('front', 'blur') in (0.25, 7) and score('front', 'sharpness') = 70": [0],
    "not score('front', 'blur') in (0.5, 7)": [0],
    "health('front').sharpness between 69 and 71": [0],
    "health('front').sharpness in (7, 70)": [0, 2],
    "health('front').sharpness not in (7)": [0],
    "stream('imu').rows between 1 and 10 and mission = 'hall'": [3],
    "worth > 2": [0],
    "outcome = 'success'": [1],
    "label('task') = 'pick'": [1],
    "label('task') in ('pick', 'place') and device = 'rig-2'": [3],
    "label('tries') >= 3 and label('done') = true": [1],
    "label('tries') = 'three'": [],
    "label('late') = 'x'": [3],
    "recorded_label('task') like 'p%'": [1, 3],
    "label('task') is null": [0, 2],
    "event('grasp')": [2],
    "event('decision') and not event('grasp').count > 2": [2],
    "event('decision/novelty')": [2],
    "not event('decision/novelty')": [0, 1, 3],
    "not event('grasp')": [0, 1, 3],
    "event('grasp').count >= 2": [2],
    "event('grasp').count = 0": [0, 1, 3],
    "committed_utc > now() - interval '1 hour' and start_utc < now()": [0, 1, 2, 3],
    "start_utc > '2023' and start_utc < '2023-12'": [0, 1, 2, 3],
    "origin = 'sensor' and lost = 0": [0, 1, 2, 3],
}


def found(corpus: Corpus, where: str) -> list[int]:
    return [episode.row["ordinal"] for episode in corpus.query(where, "ordinal")]


@FORMS
def test_conditions_over_all_that_a_catalog_knows(make_episode: Any, tmp_path: Path, small_bytes: int) -> None:
    store = store_of(tmp_path / "store", make_episode, small_bytes)
    corpus = sensorium.open(store)
    assert {where: found(corpus, where) for where in CONDITIONS} == CONDITIONS
    with closing(sqlite3.connect(store / CATALOG)) as catalog:
        catalog.execute("DROP TABLE stream_figures")
        catalog.commit()
    assert {where: found(corpus, where) for where in CONDITIONS} == CONDITIONS, "from the documents"
    as_former(store)
    Store.open(store).close()
    assert {where: found(corpus, where) for where in CONDITIONS} == CONDITIONS, "the former catalog is brought up"
    rebuild_catalog(store)
    assert {where: found(corpus, where) for where in CONDITIONS} == CONDITIONS
    assert list(verify(store, deep=True)) == []
    assert [row["ordinal"] for row in corpus.rows("event('grasp')")] == [2]
    assert corpus.aggregate("", "count", "has('imu')") == [{"count": 2}]
    assert len(list(corpus.windows("label('task') = 'pick'", length_s=1, streams=["front"]))) == 2


@pytest.fixture(scope="module")
def store(make_episode: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return store_of(tmp_path_factory.mktemp("querying") / "store", make_episode, 0)


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("score('front', 'endless') > 1", "it has blur, sharpness"),
        ("kind = 'traces'", "no such kind of episode, did you mean 'trace'.; there are full, trace, preview"),
        ("duration_s > 1 and kind = 'x'", "no such kind of episode; there are full"),
        ("has('frnt')", "no episode has a stream 'frnt', did you mean 'front'"),
        ("stream('im').rows > 1", "no episode has a stream 'im', did you mean 'imu'"),
        ("score('front', 'sharpnes') > 1", "no episode has a score 'sharpnes' of 'front', did you mean 'sharpness'"),
        ("score('imu', 'sharpness') > 1", "it has none"),
        ("health('front').gap > 1", "did you mean .gaps"),
        ("labl('task') = 'x'", "did you mean 'label'"),
        ("label('tsk') = 'x'", "no episode has a label 'tsk', did you mean 'task'.; there are done, late, task, tries"),
        ("recorded_label('tsk') is null", "no episode has a label 'tsk', did you mean 'task'"),
        ("not event('grsp')", "no episode has an event 'grsp', did you mean 'grasp'.; there are .*decision"),
        ("event('event/novelty').count > 1", "no episode has an event 'event/novelty', did you mean"),
        ("missin = 'x'", "did you mean 'mission'"),
        ("committed_utc > 'yesterday'", "expected a time"),
        ("label('task') = 'x' union select 1", "expected one boolean expression"),
    ],
)
def test_what_is_misspelt_is_no_empty_answer(store: Path, where: str, message: str) -> None:
    corpus = sensorium.open(store)
    for ask in (corpus.query, corpus.rows, lambda where: corpus.aggregate("", "count", where)):
        with pytest.raises(ConfigError, match=message) as caught:
            ask(where)
        assert "\n" not in str(caught.value)


def test_an_empty_store_has_no_wrong_names(tmp_path: Path) -> None:
    Store.open(tmp_path).close()
    corpus = sensorium.open(tmp_path)
    assert corpus.query("has('front') and score('front', 'sharpness') > 1") == []
    assert corpus.query("label('task') = 'pick' or event('grasp')") == []
    assert list(corpus.rows()) == []
    assert list(corpus.windows(length_s=1, streams=["front"])) == []
    assert corpus.aggregate("mission", "hours") == []


def test_a_former_catalog_says_what_it_does_not_know(store: Path, tmp_path: Path, make_episode: Any) -> None:
    former = store_of(tmp_path / "store", make_episode, 0)
    as_former(former)
    corpus = sensorium.open(former)
    assert found(corpus, "has('imu') and duration_s > 0") == [2, 3]
    assert [row["ordinal"] for row in corpus.rows("has('imu')")] == [2, 3]
    assert corpus.query()[0].streams["front"][:].shape == (20, 8, 6)
    assert [each["account"] for each in corpus.records()] == [
        each["account"] for each in sensorium.open(store).records()
    ]
    assert corpus.aggregate("mission", "count") == [{"mission": "hall", "count": 1}, {"mission": "kitchen", "count": 3}]
    assert len(list(corpus.windows(length_s=2, streams=["imu", "front"]))) == 2
    with pytest.raises(ConfigError, match=r"of an earlier release.*rebuild-catalog"):
        corpus.query("label('task') = 'pick'")
    with pytest.raises(ConfigError, match="unknown column 'outcome'"):
        corpus.query("outcome = 'x'")


def another(record: CommitRecord, number: int, **row: Any) -> CommitRecord:
    episode = f"01900000-0000-7000-8000-{number:012x}"
    return CommitRecord(
        format_version=1,
        row={**record.row, "episode": episode, "ordinal": number, **row},
        streams=record.streams,
        account=record.account,
        objects=record.objects,
        events={"event": {"grasp": 1}} if number == 1 else {},
    )


@pytest.fixture(scope="module")
def many(store: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, CommitRecord]:
    """A catalog of 3,000 episodes of twenty devices and ten missions, a second apart."""
    path = tmp_path_factory.mktemp("many")
    Store.open(path).close()
    record = next(read_record(path) for path in record_paths(store))
    catalog = Catalog(path / CATALOG)
    catalog.add(
        another(
            record,
            number,
            device=f"rig-{number % 20}",
            mission=f"m{number % 10}",
            start_utc=f"2026-01-01T{number // 3600:02}:{number // 60 % 60:02}:{number % 60:02}.000000Z",
            kind="full" if number % 100 else "trace",
            **({"labels": {"task": "pick"}} if number == 1 else {}),
        )
        for number in range(3000)
    )
    catalog.close()
    return path, record


def test_rows_come_a_page_at_a_time_in_any_order(
    many: tuple[Path, CommitRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = sensorium.open(many[0])
    monkeypatch.setattr(finding, "PAGE", 100)
    full = [number for number in range(3000) if number % 100]
    rows = corpus.rows(columns=["ordinal", "device"])
    assert rows.columns == ("ordinal", "device")
    for _ in range(2):
        assert [row["ordinal"] for row in rows] == full
    assert [row["ordinal"] for row in corpus.rows(order_by="device desc, ordinal desc", limit=250)] == [
        each.row["ordinal"] for each in corpus.query(order_by="device desc, ordinal desc", limit=250)
    ]
    for limit in (0, 1, 99, 100, 101, 1000, 5000):
        assert [row["ordinal"] for row in corpus.rows(limit=limit)] == full[:limit]
    row = next(iter(rows))
    assert dict(row) == {"ordinal": 1, "device": "rig-1"}
    assert list(corpus.rows("ordinal = 7", columns=["ordinal"]).dicts()) == [{"ordinal": 7}]
    for columns in (["devise"], []):
        with pytest.raises(ConfigError, match=r"did you mean 'device'|no columns"):
            corpus.rows(columns=columns)


def test_rows_are_those_of_the_moment_when_a_pass_began(
    many: tuple[Path, CommitRecord], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, record = many
    copy = tmp_path / "store"
    copy.mkdir()
    (copy / "episodes.zarr").symlink_to(path / "episodes.zarr")
    (copy / CATALOG).write_bytes((path / CATALOG).read_bytes())
    monkeypatch.setattr(finding, "PAGE", 100)
    corpus = sensorium.open(copy)
    seen: list[int] = []
    catalog = Catalog(copy / CATALOG)
    for row in corpus.rows(columns=["ordinal"]):
        if len(seen) in (0, 150):
            catalog.add([another(record, 5000 + len(seen)), another(record, 1, mission="m1")])
        seen.append(row["ordinal"])
    catalog.close()
    assert sorted(seen) == [number for number in range(3000) if number % 100]
    assert len(list(corpus.rows())) == 2972


def test_arrow_pandas_and_polars_or_what_to_install(
    many: tuple[Path, CommitRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = sensorium.open(many[0]).rows(
        "ordinal < 3", columns=["episode", "ordinal", "duration_s", "start_utc", "end_utc"]
    )
    frame = rows.pandas()
    assert frame["ordinal"].tolist() == [1, 2]
    assert str(frame["start_utc"][0]) == "2026-01-01 00:00:01+00:00"
    for name, ask in (("pyarrow", rows.arrow), ("polars", rows.polars)):
        with monkeypatch.context() as patch:
            patch.setitem(__import__("sys").modules, name, None)
            with pytest.raises(ConfigError, match=f"pip install {name}"):
                ask()
    columns = ["episode", "ordinal", "duration_s", "start_utc", "worth"]
    for where in ("device = 'nobody'", "ordinal < 3"):
        kinds = sensorium.open(many[0]).rows(where, columns=columns).pandas().dtypes
        assert str(kinds["episode"]) in ("str", "object")
        assert [str(kinds[name]) for name in columns[1:]] == ["int64", "float64", "datetime64[us, UTC]", "float64"]
    table = pytest.importorskip("pyarrow", reason="pip install pyarrow") and rows.arrow()
    assert table.column("ordinal").to_pylist() == [1, 2]
    assert str(table.schema.field("start_utc").type) == "timestamp[us, tz=UTC]"
    pytest.importorskip("polars", reason="pip install polars")
    assert rows.polars()["ordinal"].to_list() == [1, 2]


PLANS = {
    "device = 'rig-1' and start_utc > '2026-01-01T00:10' and start_utc < '2026-01-01T01'": "INDEX episodes_device ",
    "device = 'rig-1' and mission = 'm1'": "INDEX episodes_device_mission ",
    "device = 'rig-1' and mission = 'm1' and start_utc < '2026-02-01'": "INDEX episodes_device_mission ",
    "mission = 'm1' and start_utc > '2026-01-01'": "INDEX episodes_mission ",
    "start_utc between '2026-01-01T00:10Z' and '2026-01-01T00:11Z'": "INDEX episodes_start ",
    "committed_utc > '2026-01-01'": "INDEX episodes_committed ",
    "kind = 'trace' and device = 'rig-1'": "INDEX episodes_",
    "kind = 'trace'": "INDEX episodes_kind ",
    "score('front', 'sharpness') > 1e9": "USING INTEGER PRIMARY KEY (rowid=?)",
    "label('task') = 'x'": "USING INTEGER PRIMARY KEY (rowid=?)",
    "event('grasp')": "USING INTEGER PRIMARY KEY (rowid=?)",
    "health('front').gaps > 2": "USING INTEGER PRIMARY KEY (rowid=?)",
    "stream('front').rows > 20": "USING INTEGER PRIMARY KEY (rowid=?)",
    "has('front')": "INDEX episodes_layout ",
    "has('front') and stream('front').rate_hz > 5 and device = 'rig-1'": "INDEX episodes_device",
    "episode = '01900000-0000-7000-8000-000000000007'": "(episode=?)",
}


@pytest.mark.parametrize("where", PLANS)
def test_conditions_are_answered_by_an_index(many: tuple[Path, CommitRecord], where: str) -> None:
    plan = finding.Finder(many[0] / CATALOG).plan(where)
    assert PLANS[where] in plan[0]
    assert not [step for step in plan if step.startswith("SCAN episodes")]


def test_the_rest_of_the_plans(many: tuple[Path, CommitRecord]) -> None:
    finder = finding.Finder(many[0] / CATALOG)
    with finder.asking() as asked:

        def plan(text: str) -> list[str]:
            return [step[3] for step in asked.connection.execute(f"EXPLAIN QUERY PLAN {text}")]

        by_id = plan("SELECT episode FROM episodes WHERE episode >= 'a' AND episode < 'ag' ORDER BY episode LIMIT 2")
        assert by_id == ["SEARCH episodes USING COVERING INDEX sqlite_autoindex_episodes_1 (episode>? AND episode<?)"]
        groups = plan(
            "SELECT mission, sum(bytes), total(duration_s), count(*) FROM episodes WHERE +kind = 'full' GROUP BY 1"
        )
        assert groups == ["SCAN episodes USING COVERING INDEX episodes_mission"]
    assert finder.plan(limit=10) == ["SCAN episodes USING INDEX sqlite_autoindex_episodes_1"], "the first at once"
    assert finder.plan(order_by="start_utc desc", limit=10)[0] == "SCAN episodes USING INDEX episodes_start"


def test_of_many_scores_those_within_a_narrow_time_are_looked_at(
    many: tuple[Path, CommitRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sensorium.corpus.catalog_terms.FEW", 10)
    finder = finding.Finder(many[0] / CATALOG)
    where = "device = 'rig-1' and start_utc < '2026-01-01T00:02Z' and score('front', 'sharpness') > 1"
    assert "INDEX episodes_device " in finder.plan(where)[0]
    assert len(finder.episodes(where)) == 6
    few = finder.plan("device = 'rig-1' and score('front', 'sharpness') > 71")
    assert [step for step in few if step.startswith("LIST SUBQUERY")], "gathered, and not looked up one by one"


def test_of_many_that_have_a_stream_each_is_looked_at(
    many: tuple[Path, CommitRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sensorium.corpus.catalog_terms.FEW", 100)
    assert "episodes_layout" not in str(finding.Finder(many[0] / CATALOG).plan("has('front')", limit=10))


def test_a_time_of_another_form_is_looked_at_again(many: tuple[Path, CommitRecord]) -> None:
    finder = finding.Finder(many[0] / CATALOG)
    where = "start_utc < '{}' and device <> 'x'"
    found = [len(finder.episodes(where.format(each))) for each in ("2026-01-01T00:00:10Z", "2026-01-01T00:00:20.0Z")]
    assert found == [9, 19]
    assert len(finder.episodes(where.format("2026-01-01T01:00:20+01:00"))) == 19
    assert len(finder.episodes(where.format("2027"))) == 2970
    for odd in ("yesterday", "2026-13-01"):
        with pytest.raises(ConfigError, match="expected a time"):
            finder.episodes(where.format(odd))


def test_what_is_summed_by_rows_is_what_is_summed_by_an_index(many: tuple[Path, CommitRecord]) -> None:
    finder = finding.Finder(many[0] / CATALOG)
    by_rows = finder.grouped(["mission"], ["count(*)", 'max("lost")'], "duration_s > 0", ["1"], None)
    assert [row[:2] for row in by_rows] == finder.grouped(["mission"], ["count(*)"], "duration_s > 0", ["1"], None)


def test_figures_are_those_of_the_record(many: tuple[Path, CommitRecord], tmp_path: Path) -> None:
    Store.open(tmp_path).close()
    catalog = Catalog(tmp_path / CATALOG)
    had = Account(captured=9, stored=2, filtered={"a": 3, "b": 1}, lost={"c": 3})
    catalog.add([msgspec.structs.replace(another(many[1], 1), account={"front": had})])
    catalog.close()
    figures = {"captured": 9, "stored": 2, "filtered": 4, "lost": 3, "rows": 20}
    where = " and ".join(f"stream('front').{name} = {value}" for name, value in figures.items())
    assert len(finding.Finder(tmp_path / CATALOG).episodes(where)) == 1


def test_the_events_of_traces_are_looked_up(many: tuple[Path, CommitRecord]) -> None:
    finder = finding.Finder(many[0] / CATALOG)
    assert set(placed(finder, "kind = 'trace'", ["front"], "x")[0].events.tolist()) == {UNKNOWN}
    assert set(placed(finder, "", ["front"], "x")[0].events.tolist()) == {0}


def test_sums(many: tuple[Path, CommitRecord]) -> None:
    corpus = sensorium.open(many[0])
    (every,) = corpus.aggregate(agg="count, hours, bytes, mean(ordinal), min(ordinal), max(start_utc)")
    assert (every["count"], every["min(ordinal)"]) == (2970, 1)
    assert every["max(start_utc)"] == "2026-01-01T00:49:59.000000Z"
    assert every["hours"] == pytest.approx(2970 * 2 / 3600)
    sums = corpus.aggregate(
        ["mission", "device = 'rig-1'"], ["count", "sum(rows)"], "ordinal < 100", "count desc, mission", 3
    )
    assert [list(each) for each in sums] == [["mission", "device = 'rig-1'", "count", "sum(rows)"]] * 3
    assert [(each["mission"], each["count"]) for each in sums] == [("m2", 10), ("m3", 10), ("m4", 10)]
    kinds = corpus.aggregate("kind", "count", "kind in ('full', 'trace')")
    assert kinds == [{"kind": "full", "count": 2970}, {"kind": "trace", "count": 30}]
    by_minute = corpus.aggregate("substr(start_utc, 1, 16)", "count", "ordinal < 120")
    assert [each["count"] for each in by_minute] == [59, 59]
    for group_by, agg, order_by, message in (
        ("missin", "count", "", "mission"),
        ("mission", "cont", "", "did you mean 'count'"),
        ("mission", "avg(rows)", "", "expected count, hours"),
        ("mission", "mean(device)", "", "holds no numbers"),
        ("mission", "bytess", "", "did you mean 'bytes'"),
        ("mission", "", "", "no aggregates"),
        ("mission", "count", "hours", "not among what is shown"),
        ("(select 1)", "count", "", "expected one expression"),
    ):
        with pytest.raises(ConfigError, match=message):
            corpus.aggregate(group_by, agg, "", order_by)


@FORMS
def test_groups_by_where_the_bytes_are(make_episode: Any, tmp_path: Path, small_bytes: int) -> None:
    """As a condition knows it: of one full episode that is here, and of two that are previewed, one of them here."""
    here = make_episode({"imu": np.arange(20.0)}, ordinal=0)
    with Store.open(tmp_path, small_bytes=small_bytes) as store:
        store.commit(arrived(store, here), device="rig-1", identity="k", probes=PROBES)
    by = ("bytes_at", "count", "kind in ('full', 'preview')")
    assert sensorium.open(tmp_path).aggregate(*by) == [{"bytes_at": "store", "count": 1}]
    with Store.open(tmp_path, small_bytes=small_bytes) as store:
        for ordinal, whole in ((1, here.episode), (2, uuid.UUID(int=9))):
            told = PreviewOf(episode=str(whole), ordinal=7 * ordinal, bytes=1000)
            made = make_episode({"imu": np.arange(4.0)}, ordinal=ordinal, kind="preview", preview_of=told)
            store.commit(arrived(store, made), device="rig-1", identity="k", probes=PROBES)
    corpus = sensorium.open(tmp_path)
    assert corpus.aggregate(*by) == [{"bytes_at": "device", "count": 1}, {"bytes_at": "store", "count": 2}]
    upper = corpus.aggregate("upper(bytes_at), kind", "count", "bytes_at = 'device'")
    assert upper == [{"upper(bytes_at)": "DEVICE", "kind": "preview", "count": 1}]
    assert corpus.aggregate("bytes_at") == [{"bytes_at": "store", "count": 1}]
    assert corpus.cells(["bytes_at"])["preview"] == {("device",), ("store",)}
    (of,) = corpus.query(f"preview_of = '{here.episode}'")
    assert of.row["kind"] == "preview"
    (full,) = corpus.query("preview_of is null and bytes_at = 'store'")
    assert full.id == str(here.episode)
    assert corpus.aggregate("preview_of", *by[1:]) == [
        {"preview_of": None, "count": 1},
        *({"preview_of": str(each), "count": 1} for each in sorted((here.episode, uuid.UUID(int=9)), key=str)),
    ]


def test_the_label_that_devices_will_give_may_be_asked_for_before(store: Path) -> None:
    corpus = sensorium.open(store)
    for function in ("label", "recorded_label"):
        assert corpus.query(f"{function}('campaign') = 'dock'") == []
    with pytest.raises(ConfigError, match="did you mean 'campaign'"):
        corpus.query("recorded_label('campain') = 'dock'")


@FORMS
def test_of_a_store_without_previews_nothing_is_one(make_episode: Any, tmp_path: Path, small_bytes: int) -> None:
    with Store.open(tmp_path, small_bytes=small_bytes) as store:
        here = make_episode({"imu": np.arange(20.0)}, ordinal=0)
        store.commit(arrived(store, here), device="rig-1", identity="k", probes=PROBES)
    corpus = sensorium.open(tmp_path)
    assert corpus.query("preview_of is not null") == []
    assert len(corpus.query("preview_of is null")) == 1


def test_groups_of_what_a_store_knows(store: Path) -> None:
    corpus = sensorium.open(store)
    assert corpus.aggregate("label('task')") == [
        {"label('task')": None, "count": 2},
        {"label('task')": "pick", "count": 1},
        {"label('task')": "place", "count": 1},
    ]
    by_figure = corpus.aggregate(
        ["stream('imu').rows", "has('imu') or event('grasp')"], "count", "mission <> 'x, (y'", "count desc", 1
    )
    assert by_figure == [{"stream('imu').rows": None, "has('imu') or event('grasp')": 0, "count": 2}]
    assert corpus.aggregate("score('front', 'blur') > 0.1", "count", "score('front', 'blur') > 0") == [
        {"score('front', 'blur') > 0.1": 1, "count": 1}
    ]
    assert corpus.aggregate("mission = 'a, (b', device", "count")[0].keys() == {"mission = 'a, (b'", "device", "count"}
    assert corpus.cells(["coalesce(label('task'), 'none')"])["full"] == {("none",), ("pick",), ("place",)}
    for wrong, message in (("label('tsk')", "did you mean 'task'"), ("stream('im').rows", "did you mean 'imu'")):
        with pytest.raises(ConfigError, match=message):
            corpus.aggregate(wrong)


def test_windows_look_episodes_up_when_their_turn_comes(many: tuple[Path, CommitRecord]) -> None:
    corpus = sensorium.open(many[0])
    batches = corpus.windows("mission = 'm1'", length_s=1, streams=["front"])
    with pytest.raises(sensorium.SensoriumError, match="01900000"):  # there are no such files
        next(batches)
    with pytest.raises(ConfigError, match="no episode has a stream 'frnt'"):
        next(corpus.windows(length_s=1, streams=["frnt"]))


def test_documents_are_read_when_they_are_asked_for(store: Path, tmp_path: Path, make_episode: Any) -> None:
    path = store_of(tmp_path / "store", make_episode, 8_000_000)
    episode = sensorium.open(path).query()[1]
    assert "document" not in episode.row
    assert episode.labels == {"task": "pick", "tries": 3, "done": True}
    assert episode.outcome == episode.as_dict()["outcome"] == "success"
    later = sensorium.open(path).query()[2]
    with closing(sqlite3.connect(path / CATALOG)) as catalog:
        catalog.execute("DELETE FROM documents")
        catalog.commit()
    with pytest.raises(StoreError, match="no longer in it; query again"):
        _ = later.labels
    assert json.loads(catalog_document(read_record(next(iter(record_paths(path))))))["streams"].keys() == {"front"}


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, arguments)


def test_the_command_sums_up_and_streams(store: Path) -> None:
    by = ("query", str(store), "--group-by", "mission", "--agg", "hours,bytes,count")
    found = json.loads(run(*by, "--format", "json").stdout)
    assert [(each["mission"], each["count"]) for each in found] == [("hall", 1), ("kitchen", 3)]
    assert run(*by, "--format", "csv").stdout.splitlines()[0] == "mission,hours,bytes,count"
    assert "kitchen" in run(*by).stdout
    assert json.loads(run("query", str(store), "--agg", "mean(rows)", "--format", "json").stdout) == [
        {"mean(rows)": 25.0}
    ]
    listed = json.loads(run("query", str(store), "--where", "event('grasp')", "--format", "json").stdout)
    assert [each["ordinal"] for each in listed] == [2]
    assert listed[0]["streams"]["front"]["health"] == {"sharpness": 7.0}
    assert run("query", str(store), "--where", "ordinal > 9", "--format", "json").stdout == "[]\n"
    assert len(run("query", str(store), "--format", "csv").stdout.splitlines()) == 5


def test_who_goes_through_rows_holds_nothing_open(many: tuple[Path, CommitRecord], tmp_path: Path) -> None:
    """A page is a transaction of its own, so that the log is folded in while somebody goes through the rows."""
    path, record = many
    copy = tmp_path / "store"
    copy.mkdir()
    (copy / "episodes.zarr").symlink_to(path / "episodes.zarr")
    (copy / CATALOG).write_bytes((path / CATALOG).read_bytes())
    rows: Iterator[Any] = iter(sensorium.open(copy).rows())
    next(rows)
    catalog = Catalog(copy / CATALOG)
    catalog.add(another(record, 10_000 + number) for number in range(50))
    with closing(sqlite3.connect(copy / CATALOG)) as other:
        busy, *_ = other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    catalog.close()
    assert busy == 0
    assert sum(1 for _ in rows) == 2969


def test_episodes_that_a_column_narrows_are_not_looked_for_by_their_streams(many: tuple[Path, CommitRecord]) -> None:
    with finding.Finder(many[0] / CATALOG).asking() as asked:
        for where, narrowed in (("device = 'rig-1'", True), ("rows > 3", False)):
            condition = asked.condition(where, ["front"])
            assert ("+layout IN" in condition.text) == narrowed


@pytest.mark.parametrize("together", [10**6, 700])
def test_where_episodes_are_is_read_as_columns(
    many: tuple[Path, CommitRecord], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, together: int
) -> None:
    """Those of SQLite's rows, however many are read together and whatever a column has in it."""
    copy = tmp_path / CATALOG
    copy.write_bytes((many[0] / CATALOG).read_bytes())
    with closing(sqlite3.connect(copy)) as catalog:
        catalog.execute("UPDATE episodes SET source = 'a' || char(10) || 'b' WHERE id % 900 = 5")
        catalog.execute("UPDATE episodes SET source = NULL, timeline = NULL WHERE id % 3 = 0")
        catalog.execute("UPDATE episodes SET ordinal = 5000 - ordinal, layout = NULL WHERE id % 5 = 1")
        catalog.execute("INSERT OR REPLACE INTO events SELECT id, 'trigger', 'x', id % 4 FROM episodes WHERE id % 2")
        catalog.execute("UPDATE episodes SET timeline = coalesce(timeline, 'boottime t') WHERE id % 3")
        catalog.commit()
        key = "device, spool_id, kind, clock, source"
        text = f"SELECT episode, start_ns, end_ns, iif(id % 2, id % 4, 0), ifnull(layout, -1), timeline, {key}"
        rows = catalog.execute(f"{text} FROM episodes WHERE kind = 'full' ORDER BY device, spool_id, ordinal, episode")
        expected = rows.fetchall()
    monkeypatch.setattr(placing, "TOGETHER", together)
    found, _ = placed(finding.Finder(copy), "", [], "x", of_runs=True)
    assert list(found.ids) == [row[0] for row in expected]
    for at, column in enumerate((found.starts_ns, found.ends_ns, found.events, found.layouts), 1):
        known = [UNKNOWN if at == 3 and row[5] is None else row[at] for row in expected]
        assert column.tolist() == known
    assert [each < 0 for each in found.times.tolist()] == [row[5] is None for row in expected]
    same: dict[Any, set[int]] = {}
    for row, common in zip(expected, found.in_common.tolist(), strict=True):
        same.setdefault(row[6:], set()).add(common)
    assert [len(each) for each in same.values()] == [1] * len(same)
    assert len(set.union(*same.values())) == len(same) > 1
    alone, _ = placed(finding.Finder(copy), "", [])
    assert list(alone.ids) == sorted(found.ids)


@pytest.mark.parametrize("scanned", [8, 0])
def test_events_are_summed_by_episode(
    many: tuple[Path, CommitRecord], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scanned: int
) -> None:
    """Of several kinds and names, whatever stands in these, and of episodes of which not all are known."""
    copy = tmp_path / CATALOG
    copy.write_bytes((many[0] / CATALOG).read_bytes())
    with closing(sqlite3.connect(copy)) as catalog:
        for kind, name, each in (("event", "x", 2), ("note", "x", 3), ("x", "y", 5), ("x/y", "z", 7), ("x", "y/z", 11)):
            text = "INSERT OR REPLACE INTO events SELECT id, ?, ?, ? FROM episodes WHERE id % ? = 0"
            catalog.execute(text, (kind, name, each, each))
        catalog.execute("INSERT OR REPLACE INTO events SELECT id, '', '', 1 FROM episodes WHERE id % 13 = 0")
        catalog.execute("UPDATE episodes SET timeline = 'boottime t'")
        catalog.commit()
        rows = catalog.execute("SELECT id, episode FROM episodes WHERE kind = 'full' ORDER BY episode").fetchall()
    monkeypatch.setattr(placing, "_SCANNED", scanned)
    for event, such in (("x", (2, 3, 5, 11)), ("event/x", (2,)), ("x/y/z", (7, 11)), ("y", (5,)), ("y/z", (11,))):
        expected = [sum(each for each in such if row % each == 0) if row % 13 else UNKNOWN for row, _ in rows]
        for of_runs in (False, True):
            found, _ = placed(finding.Finder(copy), "", [], event, of_runs)
            by_id = dict(zip(found.ids, found.events.tolist(), strict=True))
            assert [by_id[episode] for _, episode in rows] == expected


def test_examples_of_places_hold() -> None:
    assert doctest.testmod(placing) == (0, 1)
