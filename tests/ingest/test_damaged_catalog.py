"""A catalog whose files are removed, cut, overwritten or replaced: it is made again from the records, and service goes
on, at a start and while it is open."""

import contextlib
import fcntl
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import sensorium
from sensorium.corpus import filling
from sensorium.corpus.beside_catalog import enter_beside
from sensorium.corpus.catalog import Catalog
from sensorium.corpus.catalog_reading import read_engine
from sensorium.corpus.spool_ledgers import spool_ledgers
from sensorium.corpus.verify import verify
from sensorium.episode import locking
from sensorium.episode.documents import BetweenReport
from sensorium.errors import StoreError
from sensorium.ingest.deleting import delete
from sensorium.ingest.mending import rebuild_catalog
from sensorium.ingest.store import Store
from sensorium.ingest.store_folder import StoreHeld

CATALOG = "catalog.sqlite"
Damage = Callable[[Path], None]


def gone(path: Path) -> None:
    path.unlink()


def emptied(path: Path) -> None:
    os.truncate(path, 0)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def overwritten(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"\xa5" * path.stat().st_size)


def copied(path: Path) -> None:
    """What a backup put back, say: the same bytes, and another file."""
    other = path.with_name("other")
    shutil.copy(path, other)
    other.rename(path)


def replaced(path: Path) -> None:
    path.unlink()
    path.write_bytes(b"rubbish" * 1000)


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "kept").write_text("what somebody put there")


def a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def a_socket(path: Path) -> None:
    path.unlink()
    os.mknod(path, 0o140644)


def nowhere(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def itself(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


OTHERS = (a_folder, a_pipe, a_socket, nowhere, itself)
WHILE_OPEN = [
    *((suffix, each) for suffix in ("", "-wal") for each in (gone, emptied, cut, overwritten, copied, replaced)),
    # One that is cut ends every process that has it open; SQLite makes one that is overwritten anew by itself.
    *(("-shm", each) for each in (gone, overwritten, copied, replaced)),
    *((suffix, each) for suffix in ("", "-wal", "-shm") for each in OTHERS),
]


def commit(store: Store, made: Any) -> None:
    assembly = store.begin(made.episode)
    assembly.append(made.data)
    store.commit(assembly, device="rig-1", identity="key-1")


@pytest.fixture(scope="module")
def few(make_episode: Any) -> list[Any]:
    return [make_episode({"imu": np.arange(20.0)}, ordinal=ordinal) for ordinal in range(4)]


@pytest.fixture
def store(few: list[Any], memory: Path) -> Iterator[Store]:
    """One with two episodes, of a spool that has begun six; the catalog's log is not folded in."""
    with Store.open(memory / "store") as opened:
        commit(opened, few[0])
        opened.saw_spool("rig-1", few[0].manifest.spool_id, 0, 6)
        commit(opened, few[1])
        yield opened


def holds(path: Path, few: list[Any], count: int) -> None:
    """Others find these episodes, each once, and nothing is wrong."""
    assert sorted(each.id for each in sensorium.open(path).query()) == sorted(str(each.episode) for each in few[:count])
    assert not list(verify(path, deep=True))
    with read_engine(path / CATALOG).connect() as connection:
        [ledger] = spool_ledgers(connection)
    assert (ledger.committed, ledger.discarded) == (count, {})


def aside(path: Path) -> list[str]:
    return sorted(each.name for each in path.glob(f"{CATALOG}.damaged-*"))


@pytest.mark.parametrize(("suffix", "damage"), WHILE_OPEN)
def test_what_becomes_of_its_files_while_it_is_open_is_noticed(
    store: Store, few: list[Any], suffix: str, damage: Damage, caplog: pytest.LogCaptureFixture
) -> None:
    damage(store.path / f"{CATALOG}{suffix}")
    store.catalog.try_reading(whole=True)
    store.check()
    holds(store.path, few, 2)
    commit(store, few[2])
    commit(store, few[0])  # offered again: it is there
    holds(store.path, few, 3)
    again = [record.message for record in caplog.records if "made again" in record.message]
    assert len(again) <= 1
    if (suffix, damage) not in (("-shm", overwritten), ("", cut), ("", overwritten)):
        assert again, "its log alone may have all of it"
    assert len(caplog.records) == len(again)


@pytest.mark.parametrize("damage", [gone, emptied, cut, overwritten, copied, replaced, *OTHERS])
@pytest.mark.parametrize("suffix", ["", "-wal"])
def test_it_is_found_by_who_commits_too(store: Store, few: list[Any], suffix: str, damage: Damage) -> None:
    """Each commit that is confirmed has its record, from which the catalog is made again."""
    damage(store.path / f"{CATALOG}{suffix}")
    for each in few[2:]:
        for _ in range(3):
            try:
                commit(store, each)
                break
            except StoreError:  # the device is told busy, and asks again
                continue
        else:
            pytest.fail("it went on failing")
    store.catalog.try_reading(whole=True)
    store.check()
    holds(store.path, few, 4)


@pytest.mark.parametrize("suffix", ["-wal", "-shm", ""])
def test_what_devices_said_of_what_they_have_yet_is_not_forgotten(store: Store, few: list[Any], suffix: str) -> None:
    (store.path / f"{CATALOG}{suffix}").unlink()
    store.check()
    with read_engine(store.path / CATALOG).connect() as connection:
        [ledger] = spool_ledgers(connection)
    assert (ledger.next_ordinal, ledger.pending) == (6, 4)


@pytest.mark.parametrize("damage", [gone, emptied, cut, overwritten, copied, replaced, *OTHERS])
@pytest.mark.parametrize("suffix", ["", "-wal", "-shm"])
def test_a_start_sets_a_damaged_one_aside(
    few: list[Any], memory: Path, suffix: str, damage: Damage, caplog: pytest.LogCaptureFixture
) -> None:
    path, left = memory / "store", memory / "left"
    with Store.open(path) as opened:
        commit(opened, few[0])
        commit(opened, few[1])
        shutil.copytree(path, left)  # as a kill leaves it
    damage(left / f"{CATALOG}{suffix}")
    with Store.open(left) as opened:
        opened.catalog.try_reading(whole=True)
        opened.check()
        commit(opened, few[2])
        holds(left, few, 3)
    holds(left, few, 3)
    said = [record.message for record in caplog.records if "made again" in record.message]
    assert len(said) <= 1
    if aside(left):
        assert said
        assert aside(left)[0].removesuffix("-wal").removesuffix("-shm") in said[0]
    if damage in OTHERS:
        assert said
    if damage is a_folder:
        assert [each.read_text() for each in left.glob("*/kept")] == ["what somebody put there"]


@pytest.mark.parametrize("at", [0.3, 0.6, 0.9])
def test_damage_in_the_middle_is_found_at_the_first_look(few: list[Any], memory: Path, at: float) -> None:
    with Store.open(memory / "store") as opened:
        for each in few[:3]:
            commit(opened, each)
    catalog = memory / "store" / CATALOG
    pages = catalog.stat().st_size // 4096
    with catalog.open("r+b") as file:
        file.seek(int(pages * at) * 4096)
        file.write(b"\xa5" * 4096 * (pages // 4))
    with Store.open(memory / "store") as opened:
        opened.catalog.try_reading(whole=True)
        opened.check()
        commit(opened, few[3])
        holds(opened.path, few, 4)


def test_one_is_kept_and_none_that_may_have_what_was_deleted(few: list[Any], memory: Path) -> None:
    path = memory / "store"
    for each in few[:2]:
        with Store.open(path) as opened:
            commit(opened, each)
        with (path / CATALOG).open("r+b") as file:
            file.write(b"rubbish")
    with Store.open(path):
        assert len(aside(path)) == 1
    delete(path, (str(few[0].episode),), reason="asked", who="ann", grace_s=0)
    assert not aside(path)


@pytest.mark.parametrize("table", ["ledger", "episodes", "documents", "spools", "between_totals"])
def test_one_of_which_somebody_takes_a_table_out_is_made_again(
    store: Store, few: list[Any], table: str, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(sqlite3.connect(store.path / CATALOG)) as connection:
        connection.execute(f"DROP TABLE {table}")
        connection.commit()
    with contextlib.suppress(StoreError):  # the device is told busy, and asks again
        store.saw_spool("rig-1", few[0].manifest.spool_id, 0, 6)
        store.ordinal("rig-1", few[0].manifest.spool_id, 0)
        store.note_between("rig-1", few[0].manifest.spool_id, BetweenReport(number=1))
    store.catalog.try_reading()
    store.check()
    commit(store, few[2])
    holds(store.path, few, 3)
    assert f"is damaged (no such table: {table})" in caplog.text


def test_one_that_goes_again_and_again_leaves_nothing(store: Store) -> None:
    for _ in range(3):
        (store.path / CATALOG).unlink()
        store.check()
    assert not aside(store.path)


def test_one_of_a_later_release_is_not_damaged(few: list[Any], memory: Path) -> None:
    with Store.open(memory / "store") as opened:
        commit(opened, few[0])
    with closing(sqlite3.connect(memory / "store" / CATALOG)) as connection:
        connection.execute("UPDATE about SET value = '99' WHERE name = 'version'")
        connection.commit()
    with pytest.raises(StoreError, match="catalog of version 99"):
        Store.open(memory / "store")
    assert not aside(memory / "store")


def test_readers_are_not_given_a_part_while_it_is_made_again(
    store: Store, few: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def add(self: Catalog, records: Any) -> None:
        for each in records:
            with pytest.raises(StoreError, match="is being made again from the commit records") as refused:
                sensorium.open(store.path).query()
            read.append(str(refused.value))
            entered(self, [each])

    entered = Catalog.add
    monkeypatch.setattr(Catalog, "add", add)
    (store.path / CATALOG).unlink()
    store.check()
    assert len(read) == 2
    holds(store.path, few, 2)


@pytest.mark.parametrize("damage", [gone, emptied, replaced])
def test_readers_are_told_to_ask_again_until_that_is_noticed(store: Store, few: list[Any], damage: Damage) -> None:
    reader = sensorium.open(store.path)
    assert len(reader.query()) == 2
    for suffix in ("-wal", "-shm"):
        gone(store.path / f"{CATALOG}{suffix}")
    damage(store.path / CATALOG)
    asks: list[Callable[[], object]] = [reader.query, lambda: sensorium.open(store.path).query()]
    for ask in asks:
        with pytest.raises(StoreError, match="writes this store, and makes it again: ask again in some seconds"):
            ask()
    if damage is gone:
        with pytest.raises(StoreError, match=r"no catalog; .*ask again in some seconds"):
            enter_beside(store.path)
    store.check()
    holds(store.path, few, 2)


@pytest.mark.parametrize("damage", [gone, emptied, replaced])
def test_where_nobody_writes_the_store_readers_are_told_what_to_run(
    few: list[Any], memory: Path, damage: Damage
) -> None:
    with Store.open(memory / "store") as opened:
        commit(opened, few[0])
    damage(memory / "store" / CATALOG)
    with pytest.raises(StoreError, match="; run `sensorium rebuild-catalog"):
        sensorium.open(memory / "store").query()
    assert rebuild_catalog(memory / "store") == 1
    holds(memory / "store", few, 1)


def test_nobody_else_makes_it_again_under_an_ingest(store: Store, few: list[Any]) -> None:
    there = sorted(each.name for each in store.path.iterdir())
    with pytest.raises(StoreHeld, match=r"another ingest writes this store, .*leave it to that, or stop"):
        rebuild_catalog(store.path)
    assert sorted(each.name for each in store.path.iterdir()) == there
    commit(store, few[2])
    holds(store.path, few, 3)


def test_a_reader_who_looks_whether_an_ingest_runs_keeps_none_from_starting(
    few: list[Any], memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store.open(memory / "store") as opened:
        commit(opened, few[0])
    looks = os.open(memory / "store" / ".lock", os.O_RDONLY)
    fcntl.flock(looks, fcntl.LOCK_SH)
    monkeypatch.setattr(locking, "time", SimpleNamespace(sleep=lambda _: os.close(looks)))
    with Store.open(memory / "store"):
        holds(memory / "store", few, 1)


def test_one_that_was_left_half_made_is_not_read_until_it_is_whole(
    store: Store, few: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Catalog, "add", killed)
    (store.path / CATALOG).unlink()
    with pytest.raises(KeyboardInterrupt):
        store.check()
    with pytest.raises(StoreError, match="rebuild-catalog"):
        sensorium.open(store.path).query()
    monkeypatch.undo()
    store.check()
    holds(store.path, few, 2)


def test_one_that_lacks_much_at_a_start_is_not_read_until_it_is_whole(
    few: list[Any], memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = memory / "store"
    with Store.open(path) as opened:
        for each in few[:3]:
            commit(opened, each)
    (path / CATALOG).unlink()
    monkeypatch.setattr(filling, "AT_ONCE", 1)
    refused = 0
    entered = Catalog.add

    def add(self: Catalog, records: Any) -> None:
        nonlocal refused
        if records:
            with pytest.raises(StoreError, match="is being made again"):
                sensorium.open(path).query()
            refused += 1
        entered(self, records)

    monkeypatch.setattr(Catalog, "add", add)
    with Store.open(path):
        holds(path, few, 3)
    assert refused == 3
