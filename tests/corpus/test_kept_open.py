"""The catalog stays open between questions, and nothing is the worse for it: not a fork, an ingest, or a disk."""

import gc
import os
import pickle
import shutil
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sensorium
from sensorium.corpus import kept_open
from sensorium.corpus.catalog_reading import CATALOG, open_catalog
from sensorium.corpus.kept_open import IDLE, KeptCatalog
from sensorium.errors import StoreError
from sensorium.ingest.mending import rebuild_catalog
from sensorium.ingest.store import Store
from tests.corpus.forking import forked


@pytest.fixture
def store(folders_path: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folders_path, tmp_path / "store"))


def opened_of(store: Path) -> list[str]:
    """What this process has open of a catalog."""
    found = []
    for each in Path("/proc/self/fd").iterdir():
        try:
            found.append(str(each.readlink()))
        except FileNotFoundError:  # that by which they are listed
            continue
    return sorted(name for name in found if name.startswith(str(store / CATALOG)))


@pytest.fixture
def openings(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The catalogs that are opened."""
    found: list[Path] = []

    def counted(path: Path) -> sqlite3.Connection:
        found.append(path)
        return open_catalog(path)

    monkeypatch.setattr(kept_open, "open_catalog", counted)
    return found


def test_it_is_opened_once(store: Path, openings: list[Path]) -> None:
    corpus = sensorium.open(store)
    for _ in range(3):
        assert len(corpus.query("device = 'rig-1'")) == 5
        assert corpus.episode(corpus.query()[0].id).device == "rig-1"
        assert corpus.aggregate("mission")[0]["count"] == 3
    assert openings == [store / CATALOG]


def test_it_is_let_go_by_close_and_with_its_corpus(store: Path) -> None:
    corpus = sensorium.open(store)
    corpus.query()
    assert opened_of(store)
    corpus.close()
    assert opened_of(store) == []
    assert len(corpus.query()) == 5, "it is opened again"
    with corpus:
        corpus.query()
    assert opened_of(store) == []
    assert len(corpus.query()) == 5
    del corpus
    gc.collect()
    assert opened_of(store) == []


def test_no_transaction_is_left_open(store: Path) -> None:
    """Or the log could never be folded in."""
    corpus = sensorium.open(store)
    with closing(sqlite3.connect(store / CATALOG)) as writer:
        for number in range(3):
            assert len(corpus.query()) == 5
            writer.execute("UPDATE episodes SET priority = ?", (number,))
            writer.commit()
            assert writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
            assert {each.row["priority"] for each in corpus.query()} == {number}


asked: list[Any] = []
"""What a process that is about to fork has open."""


def _open_and_ask(store: Path) -> tuple[list[str], int]:
    """What this process finds open when it begins, and what it is answered."""
    held = opened_of(store)
    asked.append(sensorium.open(store))
    return held, len(asked[0].query("duration_s > 1"))


def test_a_fork_carries_nothing_over(store: Path) -> None:
    assert forked(_open_and_ask, store) == ([], 5)


def test_who_has_forked_goes_on(store: Path) -> None:
    corpus = sensorium.open(store)
    assert len(corpus.query()) == 5
    before, after = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(after, b"open" if opened_of(store) else b"none")
        os._exit(0)
    os.waitpid(child, 0)
    said = os.read(before, 4)
    os.close(before)
    os.close(after)
    assert said == b"none"
    assert len(corpus.query()) == 5


def test_another_catalog_of_the_name_is_asked(store: Path) -> None:
    corpus = sensorium.open(store)
    assert len(corpus.query("priority = 5")) == 0
    other = store.parent / "other.sqlite"
    shutil.copyfile(store / CATALOG, other)
    with closing(sqlite3.connect(other)) as writer:
        writer.execute("UPDATE episodes SET priority = 5")
        writer.commit()
        writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    other.replace(store / CATALOG)
    assert len(corpus.query("priority = 5")) == 5
    rebuild_catalog(store)
    assert len(corpus.query("priority = 5")) == 0
    (store / CATALOG).unlink()
    with pytest.raises(StoreError, match="no catalog"):
        corpus.query()


def test_what_a_later_release_has_made_of_it_is_not_read(store: Path) -> None:
    corpus = sensorium.open(store)
    corpus.query()
    with closing(sqlite3.connect(store / CATALOG)) as writer:
        writer.execute("UPDATE about SET value = '99' WHERE name = 'version'")
        writer.commit()
    with pytest.raises(StoreError, match="version 99"):
        corpus.query()


def test_who_cleared_the_log_away_is_noticed(store: Path) -> None:
    """A process that reads the file by itself takes SQLite's locks from it, and nobody waits for it then."""
    corpus = sensorium.open(store)
    corpus.query()
    with closing(sqlite3.connect(store / CATALOG)) as writer:
        writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for suffix in ("-wal", "-shm"):
        (store / f"{CATALOG}{suffix}").unlink()
    with closing(sqlite3.connect(store / CATALOG)) as writer:
        writer.execute("UPDATE episodes SET priority = 7")
        writer.commit()
        assert len(corpus.query("priority = 7")) == 5


def test_an_ingest_that_ends_leaves_the_whole_catalog_in_its_file(make_episode: Any, tmp_path: Path) -> None:
    """Though readers have it open, a copy of that file has what was committed."""
    store = tmp_path / "store"
    with Store.open(store) as ingest:
        corpus = sensorium.open(store)
        made = make_episode({"imu": np.arange(4.0)})
        assembly = ingest.begin(made.episode)
        assembly.append(made.data)
        ingest.commit(assembly, device="rig-1", identity="k")
        assert len(corpus.query()) == 1
    assert opened_of(store)
    assert (store / f"{CATALOG}-wal").stat().st_size == 0
    shutil.copyfile(store / CATALOG, tmp_path / "copy.sqlite")
    with closing(sqlite3.connect(tmp_path / "copy.sqlite")) as copy:
        assert copy.execute("SELECT count(*) FROM episodes").fetchone() == (1,)


def test_threads_ask_at_once(store: Path) -> None:
    """Each by a connection of its own, of which few are kept."""
    catalog = KeptCatalog(store / CATALOG)
    asking, found = threading.Barrier(5), []

    def ask() -> None:
        with catalog.reading() as (connection, _):
            asking.wait(60)
            found.append(connection.execute("SELECT count(*) FROM episodes").fetchone()[0])
            asking.wait(60)

    threads = [threading.Thread(target=ask) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == [5] * 5
    assert len(catalog._idle) == IDLE
    catalog.close()
    assert opened_of(store) == []


def test_a_failure_lets_go_of_it(store: Path) -> None:
    catalog = KeptCatalog(store / CATALOG)
    with catalog.reading() as (connection, _):
        connection.execute("SELECT 1 FROM episodes")
    with pytest.raises(StoreError, match=r"no such table.*rebuild-catalog"), catalog.reading() as (connection, _):
        connection.execute("SELECT 1 FROM nowhere")
    assert opened_of(store) == []
    with catalog.reading() as (connection, _):
        assert connection.execute("SELECT count(*) FROM episodes").fetchone() == (5,)


def test_where_nobody_can_write_nothing_is_kept(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_open, "is_read_only", lambda _: True)
    corpus = sensorium.open(store)
    assert len(corpus.query()) == 5
    assert opened_of(store) == []


def test_it_may_be_sent_to_another_process(store: Path) -> None:
    catalog = KeptCatalog(store / CATALOG)
    with catalog.reading():
        pass
    again = pickle.loads(pickle.dumps(catalog))
    with again.reading() as (connection, _):
        assert connection.execute("SELECT count(*) FROM episodes").fetchone() == (5,)
