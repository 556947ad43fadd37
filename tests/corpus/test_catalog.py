"""The catalog: what it has been told is on disk before anybody acts on it."""

import errno
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

import sensorium
from sensorium.corpus import catalog, catalog_making, filling
from sensorium.corpus.commits import read_record, record_paths
from sensorium.corpus.verify import verify
from sensorium.episode.documents import BetweenReport
from sensorium.errors import ConfigError, Corrupt, StoreError
from sensorium.ingest.mending import rebuild_catalog
from sensorium.ingest.store import Store
from tests.effects import FULL, commit_levels
from tests.former_catalog import as_former
from tests.forms import FORMS, in_form


def test_every_change_of_the_catalog_is_on_disk_when_it_returns(make_episode: Any, tmp_path: Path) -> None:
    made = make_episode({"imu": np.arange(20.0)})
    with commit_levels() as levels:
        with Store.open(tmp_path) as store:
            begun = len(levels)
            assembly = store.begin(made.episode)
            assembly.append(made.data)
            store.commit(assembly, device="rig-1", identity="key-1")
            store.discarded("rig-1", "spool-a", [1, 2], "evicted")
            store.saw_spool("rig-1", "spool-a", 0, 6)
            used = len(levels)
        rebuild_catalog(tmp_path)
    assert begun >= 1
    assert used - begun == 3, "a commit, a discard and a range are a transaction each"
    assert len(levels) > used, "rebuilding is durable too"
    assert set(levels) == {FULL}


def test_all_tables_are_made_at_once_or_none_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each by itself would wait for the disk, thirty times."""

    def fails(_: sa.Connection) -> None:
        raise OSError(errno.ENOSPC, "no room")

    with monkeypatch.context() as patch:
        patch.setattr(catalog_making, "make_indices", fails)
        with pytest.raises(OSError, match="no room"):
            catalog.Catalog(tmp_path / "catalog.sqlite")
    with closing(sqlite3.connect(tmp_path / "catalog.sqlite")) as connection:
        assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    catalog.Catalog(tmp_path / "catalog.sqlite").close()
    with closing(sqlite3.connect(tmp_path / "catalog.sqlite")) as connection:
        assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() > (20,)


def commit(store: Store, made: Any) -> None:
    assembly = store.begin(made.episode)
    assembly.append(made.data)
    store.commit(assembly, device="rig-1", identity="key-1")


def test_a_store_of_before_there_was_a_column_opens_and_gets_it(make_episode: Any, tmp_path: Path) -> None:
    """Read as it is; written, the catalog has the column; rebuilt, what old commit records lack is empty."""
    first, second = (make_episode({"imu": np.arange(n)}, ordinal=int(n)) for n in (20.0, 21.0))
    with Store.open(tmp_path, small_bytes=0) as store:
        commit(store, first)
    as_former(tmp_path)
    sql(tmp_path, "ALTER TABLE episodes DROP COLUMN source")
    (record,) = (tmp_path / "commits").glob("????-??/*.json")
    document = json.loads(record.read_bytes())
    del document["row"]["source"]
    record.write_text(json.dumps(document))

    assert len(sensorium.open(tmp_path).query("rows > 1")) == 1
    assert list(verify(tmp_path)) == []
    with pytest.raises(ConfigError, match="source"):
        sensorium.open(tmp_path).query("source = ''")
    with Store.open(tmp_path, small_bytes=0) as store:
        commit(store, second)
    assert len(sensorium.open(tmp_path).query("source = ''")) == 1
    assert list(verify(tmp_path)) == []
    rebuild_catalog(tmp_path)
    assert list(verify(tmp_path)) == []
    assert len(sensorium.open(tmp_path).query("device = 'rig-1'")) == 2


@pytest.mark.parametrize("small_bytes", [0, 8 << 20])
def test_records_that_cannot_be_read_are_left_out_said_and_hide_no_others(
    make_episode: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture, small_bytes: int
) -> None:
    made = [make_episode({"imu": np.arange(20.0)}, ordinal=ordinal) for ordinal in range(7)]
    with Store.open(tmp_path, small_bytes=small_bytes) as store:
        for each in made:
            commit(store, each)
        store.discarded("rig-1", "spool-a", [90], "evicted")
        store.note_between("rig-1", "spool-a", BetweenReport(number=1))
    paths = [next((tmp_path / "commits").glob(f"????-??/{each.episode}.json")) for each in made]
    there = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and "episodes" in str(path)}
    paths[0].write_bytes(b"rubbish")
    paths[1].write_bytes(b"")
    document = json.loads(paths[2].read_bytes())
    paths[2].write_text(json.dumps(document | {"row": {"episode": str(made[2].episode)}}))
    paths[3].write_text(
        json.dumps(document | {"row": document["row"] | {"episode": str(made[3].episode), "rows": 2**70}})
    )
    paths[4].unlink()
    paths[4].mkdir()
    (tmp_path / "commits" / "discarded" / "rig-1" / "spool-a.between.json").write_bytes(b"[]")
    (tmp_path / "commits" / "discarded" / "rig-1" / "spool-b.jsonl").write_text('{"ordinals": [1e99], "reason": ""}\n')
    whole = {str(each.episode) for each in made[5:]}

    assert rebuild_catalog(tmp_path) == 2
    assert {row.id for row in sensorium.open(tmp_path).query()} == whole
    said = [record.getMessage() for record in caplog.records if "left out" in record.getMessage()]
    assert len(said) == 6
    assert all(any(path.stem in line for line in said) for path in paths[:5])
    for suffix in ("", "-wal", "-shm"):
        (tmp_path / f"catalog.sqlite{suffix}").unlink(missing_ok=True)
    with Store.open(tmp_path, small_bytes=small_bytes) as store:
        again = make_episode({"imu": np.arange(20.0)}, ordinal=8)
        commit(store, again)
        with pytest.raises(StoreError, match="verify"):
            store.state(made[0].episode)
    assert {row.id for row in sensorium.open(tmp_path).query()} == whole | {str(again.episode)}
    assert all(path.read_bytes() == data for path, data in there.items()), "what was committed is left where it is"


def sql(store: Path, *statements: str) -> list[Any]:
    with closing(sqlite3.connect(store / "catalog.sqlite")) as catalog:
        rows = [row for statement in statements for row in catalog.execute(statement)]
        catalog.commit()
    return rows


@pytest.fixture
def two(make_episode: Any, tmp_path: Path) -> Path:
    """A store of two folders, whose device has begun a third."""
    with Store.open(tmp_path / "made") as store:
        for ordinal in range(2):
            commit(store, make_episode({"imu": np.arange(20.0)}, ordinal=ordinal))
        store.saw_spool("rig-1", "spool-a", 0, 3)
    return in_form(tmp_path / "made", False, tmp_path / "two")


FORMER = ""
OLD = "UPDATE about SET value = '0'"
NO_FORM = "ALTER TABLE episodes DROP COLUMN form"
NO_KIND = "ALTER TABLE episodes DROP COLUMN kind"
NO_OUTCOME = "ALTER TABLE episodes DROP COLUMN outcome"
EARLIER: dict[str, tuple[str, ...]] = {
    "the former tables": (FORMER,),
    "the former tables, no forms": (FORMER, NO_FORM),
    "the former tables, no kinds": (FORMER, NO_KIND),
    "the former tables, no forms, no kinds": (FORMER, NO_FORM, NO_KIND),
    "the former tables, an index less": (FORMER, "DROP INDEX episodes_committed"),
    "the former tables, a lower version": (FORMER, OLD),
    "the former tables, a lower version, a column less": (FORMER, OLD, NO_FORM),
    "the former tables, other rows": (FORMER, "UPDATE episodes SET rows = 7, device = 'nobody'"),
    "a column less": (NO_FORM,),
    "a column less that few have": (NO_OUTCOME,),
    "an index less": ("DROP INDEX episodes_committed",),
    "an index less of another table": ("DROP INDEX scores_value",),
    "a lower version": (OLD,),
    "a lower version, a column less": (OLD, NO_FORM),
    "a lower version, other rows": (OLD, "UPDATE episodes SET rows = 7, device = 'nobody'"),
}


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("what", EARLIER)
def test_a_catalog_of_an_earlier_release_is_read_and_brought_up(
    two: Path, tmp_path: Path, what: str, zipped: bool
) -> None:
    store = in_form(two, zipped, tmp_path / "store")
    schema = sorted(sql(store, "SELECT type, name, tbl_name FROM sqlite_master"))
    sql(store, "INSERT INTO spools VALUES ('rig-1', 'spool-a', 0, 3)")
    ledger = sensorium.open(store).ledger()
    if EARLIER[what][0] == FORMER:
        as_former(store)
    sql(store, *filter(None, EARLIER[what]))
    for episode in sensorium.open(store).query():
        assert len(episode.streams["imu"][:]) == 20
        assert episode.kind == episode.as_dict()["kind"] == "full"
    assert len(sensorium.open(store).query("kind = 'full'")) == len(sensorium.open(store).query())
    assert sensorium.open(store).query("kind = 'trace'") == []
    Store.open(store).close()
    assert sql(store, "SELECT value FROM about") == [("2",)]
    assert sorted(sql(store, "SELECT type, name, tbl_name FROM sqlite_master")) == schema
    assert list(verify(store, deep=True)) == []
    assert sensorium.open(store).ledger() == ledger
    assert len(sensorium.open(store).query("has('imu') and rows = 20 and device = 'rig-1'")) == 2
    assert len(sensorium.open(store).query(f"form = '{'zip' if zipped else 'loose'}'")) == 2
    assert len(sensorium.open(store).query("kind = 'full'")) == 2


@FORMS
def test_only_full_episodes_are_found_unless_kind_is_named(make_episode: Any, tmp_path: Path, small_bytes: int) -> None:
    with Store.open(tmp_path, small_bytes=small_bytes) as store:
        made = [
            make_episode({"imu": np.arange(20.0)}, ordinal=ordinal, kind=kind)
            for ordinal, kind in enumerate(("full", "trace", "preview", "full"))
        ]
        for each in made:
            commit(store, each)

    def check() -> None:
        corpus = sensorium.open(tmp_path)
        assert [each.kind for each in corpus.query()] == ["full", "full"]
        assert [each["kind"] for each in corpus.records("rows = 20", "kind")] == ["full", "full"]
        assert len(list(corpus.windows(length_s=0.1, streams=["imu"]))) == 2
        assert [each.kind for each in corpus.query("kind = 'trace'")] == ["trace"]
        assert len(corpus.query("kind in ('full', 'trace', 'preview')")) == 4
        assert len(list(corpus.windows("kind = 'trace'", length_s=0.1, streams=["imu"]))) == 1
        assert corpus.episode(str(made[1].episode)).attributes["kind"] == "trace"
        assert "kind" not in corpus.episode(str(made[0].episode)).attributes
        (ledger,) = corpus.ledger()
        assert (ledger.committed, ledger.pending) == (4, 0)
        assert list(verify(tmp_path, deep=True)) == []

    check()
    rebuild_catalog(tmp_path)
    check()


@pytest.mark.parametrize(
    "lost",
    ["ledger", "episodes", "about", "documents", "layouts", "layout_streams", "scores", "events", "labels"],
)
def test_a_table_that_a_start_was_cut_off_before_is_made_and_filled(two: Path, lost: str) -> None:
    sql(two, f"DROP TABLE {lost}")
    Store.open(two).close()
    assert list(verify(two, deep=True)) == []
    assert len(sensorium.open(two).query("has('imu')")) == 2
    (ledger,) = sensorium.open(two).ledger()
    assert ledger.committed == 2


@pytest.mark.parametrize("after", ["drop_all", "create_all"])
def test_bringing_up_goes_on_where_it_was_cut_off(two: Path, monkeypatch: pytest.MonkeyPatch, after: str) -> None:
    as_former(two)

    class CutOff(BaseException):
        pass

    done = getattr(sa.MetaData, after)

    def cut_off(*arguments: Any) -> None:
        done(*arguments)
        raise CutOff

    with monkeypatch.context() as patch:
        patch.setattr(sa.MetaData, after, cut_off)
        with pytest.raises(CutOff):
            Store.open(two)
    Store.open(two).close()
    assert list(verify(two, deep=True)) == []
    assert len(sensorium.open(two).query("has('imu')")) == 2


@pytest.mark.parametrize("version", ["3", "10", "x", ""])
def test_a_catalog_of_a_later_release_is_refused_and_left(two: Path, version: str) -> None:
    sql(two, f"UPDATE about SET value = '{version}'", "DROP INDEX episodes_committed")
    before = (two / "catalog.sqlite").read_bytes()
    said = f"catalog of version {version}, this release reads up to 2; use the release that made it"
    for opening in (sensorium.open, Store.open):
        with pytest.raises(StoreError, match=said) as caught:
            opening(two)
        assert "\n" not in str(caught.value)
    assert sql(two, "SELECT count(*) FROM sqlite_master WHERE name = 'episodes_committed'") == [(0,)]
    assert (two / "catalog.sqlite").read_bytes() == before
    rebuild_catalog(two)
    assert list(verify(two)) == []


def test_what_sqlite_says_of_a_commit_is_trouble_of_the_store(two: Path, make_episode: Any) -> None:
    with Store.open(two) as store:
        sql(two, "DROP TABLE documents")
        with pytest.raises(StoreError, match="no such table"):
            commit(store, make_episode({"imu": np.arange(20.0)}, ordinal=2))


def test_a_catalog_that_is_filled_anew_has_all_its_indices(
    make_episode: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where that was cut off, once it is opened again."""
    monkeypatch.setattr(filling, "_MANY", 1)
    monkeypatch.setattr(filling, "AT_ONCE", 2)
    with Store.open(tmp_path) as store:
        for number in range(3):
            commit(store, make_episode({"imu": np.arange(20.0)}, ordinal=number))
    had = indices(tmp_path)
    seen: list[tuple[int, int]] = []
    assert rebuild_catalog(tmp_path, lambda done, of: seen.append((done, of))) == 3
    assert seen == [(2, 3), (3, 3)]
    assert indices(tmp_path) == had
    sql(tmp_path, "DELETE FROM episodes", "DELETE FROM documents")

    def cut_off(path: Path) -> Any:
        assert {name.partition("_")[0] for (name,) in indices(tmp_path)} == {"beside", "label"}
        raise OSError(errno.EMFILE, f"{path}: too many open files")

    monkeypatch.setattr(filling, "read_record", cut_off)
    with pytest.raises(StoreError, match="too many open files"):
        Store.open(tmp_path)
    monkeypatch.undo()
    Store.open(tmp_path).close()
    assert indices(tmp_path) == had
    assert list(verify(tmp_path)) == []


def indices(store: Path) -> list[tuple[str]]:
    return sql(store, "SELECT name FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL ORDER BY name")


def test_a_record_that_names_another_episode_is_no_record(make_episode: Any, tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        commit(store, make_episode({"imu": np.arange(20.0)}))
    (path,) = record_paths(tmp_path)
    document = json.loads(path.read_bytes())
    for odd in ("x", 5, None, "01890000-0000-7000-8000-000000000000"):
        path.write_text(json.dumps(document | {"row": document["row"] | {"episode": odd}}))
        with pytest.raises(Corrupt, match=r"not a commit record|of version 2, episode"):
            read_record(path)
    for name in ("x", path.stem.upper()):
        other = path.with_stem(name)
        other.write_text(json.dumps(document | {"row": document["row"] | {"episode": name}}))
        with pytest.raises(Corrupt, match=r"not a commit record|of version 2, episode"):
            read_record(other)
