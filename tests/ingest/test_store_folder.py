"""A store whose disk is moved, replaced or gone while it is written: nothing is said to be in it that is not."""

import errno
import fcntl
import os
import random
import shutil
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

import sensorium
from sensorium.corpus.verify import verify
from sensorium.episode import durable
from sensorium.episode.documents import Account, BetweenReport
from sensorium.errors import StoreError
from sensorium.ingest.assembly import Assembly
from sensorium.ingest.store import Store
from sensorium.ingest.store_folder import StoreAway, store_errors
from tests.forms import FORMS, arrived

STEPS = [
    (0, step) for step in ("finished", "files", "synced", "renamed", "folder", "writing record", "record", "catalog")
]
STEPS += [
    (8_000_000, step) for step in ("finished", "version", "synced", "folder", "writing record", "record", "catalog")
]


class ReadOnly:
    """A file system that the kernel lets nobody write."""

    def __getattr__(self, name: str) -> Any:
        return self.refuse if name in ("mkdir", "pwrite", "writev", "rename", "link", "unlink") else getattr(os, name)

    def refuse(self, *_: Any, **__: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))


@pytest.fixture
def made(make_episode: Any) -> Any:
    return make_episode({"front": np.arange(3 * 64, dtype=np.uint8).reshape(3, 8, 8), "imu": np.arange(20.0)})


def commit(store: Store, assembly: Assembly) -> Any:
    return store.commit(assembly, device="rig-1", identity="key-1")


def begun(store: Store, made: Any) -> Assembly:
    """All of an episode, in staging."""
    assembly = store.begin(made.episode)
    assembly.append(made.data)
    return assembly


def under(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def away(path: Path) -> Path:
    return path.rename(path.with_name("aside"))


def gone(path: Path) -> None:
    away(path)


def replaced(path: Path) -> None:
    away(path)
    path.mkdir()


def another_store(path: Path) -> None:
    away(path)
    Store.open(path).close()


def a_copy(path: Path) -> None:
    shutil.copytree(away(path), path, symlinks=True)


def a_file(path: Path) -> None:
    away(path)
    path.touch()


def parent_gone(path: Path) -> None:
    path.parent.rename(path.parent.with_name("disk-aside"))


def restore(path: Path) -> None:
    if not path.parent.exists():
        path.parent.with_name("disk-aside").rename(path.parent)
        return
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.with_name("aside").rename(path)


CHANGES: dict[str, Callable[[Path], None]] = {
    "gone": gone,
    "replaced by an empty folder": replaced,
    "replaced by another store": another_store,
    "replaced by a copy": a_copy,
    "replaced by a file": a_file,
    "its disk gone": parent_gone,
}


@pytest.mark.parametrize("change", CHANGES)
@FORMS
def test_what_was_opened_is_not_there(
    made: Any, make_episode: Any, memory: Path, change: str, small_bytes: int
) -> None:
    """Every promise is refused, nothing is made in or above the place, and with the store back it goes on."""
    path = memory / "disk" / "store"
    with Store.open(path, small_bytes=small_bytes) as store:
        before = make_episode({"imu": np.arange(5)}, ordinal=7)
        commit(store, arrived(store, before))
        assembly = store.begin(made.episode)
        assembly.append(made.data[:700])
        CHANGES[change](path)
        there = under(memory)
        assembly.append(made.data[700:])
        refused: list[Callable[[], object]] = [
            lambda: commit(store, assembly),
            lambda: store.begin(made.episode),
            lambda: store.state(before.episode),
            lambda: store.discarded("rig-1", "spool-a", [9], "evicted"),
            lambda: store.note_between(
                "rig-1", "s", BetweenReport(number=1, streams={"x": Account(captured=1, stored=1)})
            ),
        ]
        for promise in refused:
            with pytest.raises(StoreAway, match=r"put (it|that) back"):
                promise()
        staged = {name for name in under(memory) - there if ".staging" not in name}
        assert not {name for name in staged if "aside" not in name}, "nothing is written where the name leads by now"
        assert assembly.failed is None
        restore(path)
        commit(store, assembly)
        assert store.state(made.episode) is not None
        assert store.state(before.episode) is not None
        store.discarded("rig-1", "spool-a", [9], "evicted")
    assert len(sensorium.open(path).query()) == 2
    assert not list(verify(path, deep=True))


@pytest.mark.parametrize(("small_bytes", "at"), STEPS)
@pytest.mark.parametrize("change", ["gone", "replaced by an empty folder", "replaced by a copy"])
def test_it_goes_at_any_step_of_a_commit(made: Any, memory: Path, small_bytes: int, at: str, change: str) -> None:
    """A commit that returns is in the folder of that name, whole; one that does not is asked for again."""
    path, changing = memory / "disk" / "store", [True]

    def step(name: str) -> None:
        if name == at and changing:
            changing.clear()
            CHANGES[change](path)

    with Store.open(path, step, small_bytes) as store:
        assembly = arrived(store, made)
        with pytest.raises(StoreAway):
            commit(store, assembly)
        with pytest.raises(StoreAway):
            commit(store, assembly)
        restore(path)
        commit(store, assembly)
        assert store.state(made.episode) is not None
    assert len(sensorium.open(path).query()) == 1
    assert not list(verify(path, deep=True))


def test_the_working_folder_is_moved(made: Any, memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative name would still lead to the store, where nobody looks for it any more."""
    (memory / "work").mkdir()
    monkeypatch.chdir(memory / "work")
    with Store.open("store") as store:
        assembly = arrived(store, made)
        (memory / "work").rename(memory / "aside")
        with pytest.raises(StoreAway, match="is gone"):
            commit(store, assembly)
        (memory / "aside").rename(memory / "work")
        commit(store, assembly)


@FORMS
def test_it_comes_and_goes_all_the_time(make_episode: Any, memory: Path, small_bytes: int) -> None:
    """With a folder of the same name in its place in between: every commit that returned is in the store, whole."""
    path, rng, ended = memory / "disk" / "store", random.Random(4), threading.Event()
    episodes = [make_episode({"imu": np.arange(30.0), "x": np.arange(8)}, ordinal=number) for number in range(60)]
    refused = tries = 0

    def flap() -> None:
        # Longer in its place the more often this episode was refused: on a busy machine a commit takes more than 4 ms.
        while not ended.wait(rng.uniform(0, 0.004 * (1 + tries / 20))):
            aside = path.rename(path.with_name("aside"))
            if rng.random() < 0.5:
                (path / "episodes.zarr").mkdir(parents=True)
            ended.wait(rng.uniform(0, 0.004))
            if path.exists():
                assert under(path) == {"episodes.zarr"}
                shutil.rmtree(path)
            aside.rename(path)

    with Store.open(path, small_bytes=small_bytes) as store:
        flapping = threading.Thread(target=flap)
        flapping.start()
        try:
            for made in episodes:
                tries = 0
                while True:
                    assembly = None
                    try:
                        assembly = arrived(store, made)
                        commit(store, assembly)
                        break
                    except StoreError:
                        refused += 1
                        tries += 1
                        assert tries < 2000, "never in its place for long enough"
                        if assembly is not None:
                            assembly.discard()
        finally:
            ended.set()
            flapping.join()
        assert refused > 10
        assert all(store.state(made.episode) is not None for made in episodes)
    assert len(sensorium.open(path).query()) == len(episodes)
    assert not list(verify(path, deep=True))


@FORMS
def test_a_removed_store_is_not_made_again(made: Any, memory: Path, small_bytes: int) -> None:
    path = memory / "store"
    with Store.open(path, small_bytes=small_bytes) as store:
        assembly = arrived(store, made)
        shutil.rmtree(path)
        for _ in range(2):
            with pytest.raises(StoreAway, match="is gone"):
                commit(store, assembly)
            with pytest.raises(StoreAway, match="is gone"):
                store.begin(made.episode)
        assert not path.exists()


@pytest.mark.parametrize("name", ["episodes.zarr", "commits"])
@FORMS
def test_a_folder_of_the_store_is_another(made: Any, memory: Path, name: str, small_bytes: int) -> None:
    path = memory / "store"
    with Store.open(path, small_bytes=small_bytes) as store:
        assembly = arrived(store, made)
        for replace in (gone, replaced):
            replace(path / name)
            with pytest.raises(StoreAway, match=f"{name}: not the folder"):
                commit(store, assembly)
            assert not (path / name).exists() or not list((path / name).iterdir())
            restore(path / name)
        commit(store, assembly)
    assert not list(verify(path, deep=True))


@FORMS
def test_staging_that_was_cleared_is_made_again(made: Any, make_episode: Any, memory: Path, small_bytes: int) -> None:
    """By somebody who wanted room: what was there comes again, and so does the rest."""
    with Store.open(memory, small_bytes=small_bytes) as store:
        lost = begun(store, made)
        shutil.rmtree(store.staging)
        with pytest.raises(StoreError, match="taken out of staging"):
            commit(store, lost)
        assert lost.failed
        lost.discard()
        commit(store, begun(store, made))
        half = store.begin(made.episode)
        away(store.staging)
        other = make_episode({"imu": np.arange(4)}, ordinal=1)
        commit(store, arrived(store, other))
        half.append(made.data)
    assert len(sensorium.open(memory).query()) == 2
    assert not list(verify(memory, deep=True))


@pytest.mark.parametrize("at", ["renamed", "folder", "record"])
@pytest.mark.parametrize("name", ["imu/data/c.0", "imu/captured_ns/c.0", "zarr.json"])
def test_a_file_that_is_not_what_was_written_is_not_committed(made: Any, memory: Path, at: str, name: str) -> None:
    def step(done: str) -> None:
        if done == at and not looked:
            path = next(memory.glob(f"episodes.zarr/*/{made.episode}")) / name
            data = path.read_bytes()
            path.rename(memory / "quarantine" / "x")  # or the other would have its inode
            path.write_bytes(data)
            looked.append(path)

    looked: list[Path] = []
    with Store.open(memory, step, small_bytes=0) as store:
        assembly = arrived(store, made)
        with pytest.raises(StoreError, match=f"{name}: not the file"):
            commit(store, assembly)
        assert assembly.failed
        assert bool(list(memory.glob("commits/2*/*.json"))) == (at == "record")


@pytest.mark.parametrize("at", ["synced", "folder", "writing record", "record"])
def test_a_zip_that_is_not_what_was_written_is_not_told_of(made: Any, memory: Path, at: str) -> None:
    """It is held still, and written again unless its record is there."""

    def step(done: str) -> None:
        if done == at and not looked:
            path = next(memory.glob(f"episodes.zarr/*/{made.episode}.zip"))
            data = path.read_bytes()
            path.rename(memory / "quarantine" / "x")
            path.write_bytes(data[:-1] if at in ("synced", "folder") else data)
            looked.append(path)

    looked: list[Path] = []
    with Store.open(memory, step) as store:
        assembly = arrived(store, made)
        with pytest.raises(StoreError, match=f"{made.episode}.zip: not the file"):
            commit(store, assembly)
        assert assembly.failed is None
        assert bool(list(memory.glob("commits/2*/*.json"))) == (at in ("writing record", "record"))
        commit(store, assembly)
        assert store.state(made.episode) is not None
    assert not list(verify(memory, deep=True))


@FORMS
def test_a_record_that_is_not_where_it_was_published_is_not_told_of(made: Any, memory: Path, small_bytes: int) -> None:
    """Say, its month was moved in that very moment: it is published again."""

    def step(done: str) -> None:
        if done == "record" and not moved:
            month = next(memory.glob("commits/2*"))
            moved.append(month.rename(memory / "quarantine" / month.name))
            month.mkdir()

    moved: list[Path] = []
    with Store.open(memory, step, small_bytes=small_bytes) as store:
        assembly = arrived(store, made)
        with pytest.raises(StoreError, match="not the record"):
            commit(store, assembly)
        assert store.state(made.episode) is None
        commit(store, assembly)
        assert store.state(made.episode) is not None
    assert not list(verify(memory, deep=True))


def test_the_lock_file_is_removed(made: Any, memory: Path) -> None:
    """No second ingest gets in, as soon as the first has looked; if one was faster, the first commits nothing."""
    with Store.open(memory) as store:
        (memory / ".lock").unlink()
        commit(store, arrived(store, made))
        with pytest.raises(StoreError, match="another ingest"):
            Store.open(memory)
        (memory / ".lock").unlink()
        with Store.open(memory):
            with pytest.raises(StoreAway, match="another ingest"):
                store.begin(made.episode)
            with pytest.raises(StoreAway, match="another ingest"):
                store.state(made.episode)
        assert store.state(made.episode) is not None


@FORMS
def test_committed_files_that_are_missing_keep_the_episode_on_the_device(
    made: Any, memory: Path, small_bytes: int
) -> None:
    """Whoever offers it again must not be told to delete it."""
    with Store.open(memory, small_bytes=small_bytes) as store:
        commit(store, arrived(store, made))
        path = next(memory.glob("episodes.zarr/*/*.zip" if small_bytes else "episodes.zarr/*/*/imu/data/c.0"))
        data = path.read_bytes()
        for damage in (path.unlink, lambda: path.write_bytes(data[:-1])):
            damage()
            with pytest.raises(StoreError, match=f"{path}: committed, but missing or of another size"):
                store.state(made.episode)
            again = arrived(store, made)
            with pytest.raises(StoreError, match="committed, but missing"):
                commit(store, again)
            path.write_bytes(data)
        commit(store, again)


@FORMS
def test_an_unreadable_record_is_not_the_devices_fault(made: Any, memory: Path, small_bytes: int) -> None:
    """Else the device would be told three times that its bytes are damaged, and then that nobody wants them."""
    with Store.open(memory, small_bytes=small_bytes) as store:
        commit(store, arrived(store, made))
        path = next(memory.glob("commits/2*/*.json"))
        whole = path.read_bytes()
        path.write_bytes(whole[:-9])
        with pytest.raises(StoreError, match="the device keeps the episode"):
            store.state(made.episode)
        again = arrived(store, made)
        with pytest.raises(StoreError, match="the device keeps the episode"):
            commit(store, again)
        path.write_bytes(whole)
        commit(store, again)


@FORMS
def test_a_record_that_is_gone_is_not_committed_whatever_the_catalog_says(
    made: Any, memory: Path, small_bytes: int
) -> None:
    with Store.open(memory, small_bytes=small_bytes) as store:
        commit(store, arrived(store, made))
        next(memory.glob("commits/2*/*.json")).unlink()
        assert store.state(made.episode) is None
        commit(store, arrived(store, made))
        assert store.state(made.episode) is not None
    assert not list(verify(memory, deep=True))


# -- the catalog, which is but an index --------------------------------------------------------------------------------


@pytest.mark.parametrize("suffixes", [("",), ("", "-wal", "-shm")])
def test_a_catalog_that_is_removed_is_made_again(
    made: Any, make_episode: Any, memory: Path, suffixes: tuple[str, ...]
) -> None:
    with Store.open(memory) as store:
        commit(store, arrived(store, made))
        store.discarded("rig-1", "spool-a", [5], "evicted")
        for suffix in suffixes:
            (memory / f"catalog.sqlite{suffix}").unlink()
        with pytest.raises(StoreError, match="made again"):
            store.state(made.episode)
        commit(store, arrived(store, make_episode({"imu": np.arange(3)}, ordinal=1)))
        assert store.state(made.episode) is not None
        assert store.ordinal("rig-1", "spool-a", 5) is not None
        assert len(sensorium.open(memory).query()) == 2
    assert not list(verify(memory, deep=True))


def test_a_catalog_that_is_emptied_is_made_again(made: Any, make_episode: Any, memory: Path) -> None:
    """Its log was all that was left: what was committed was confirmed, and no reader found any of it."""
    with Store.open(memory) as store:
        commit(store, arrived(store, made))
        os.truncate(memory / "catalog.sqlite", 0)
        with pytest.raises(StoreError, match="made again"):
            store.state(made.episode)
        commit(store, arrived(store, make_episode({"imu": np.arange(3)}, ordinal=1)))
        assert store.state(made.episode) is not None
        assert len(sensorium.open(memory).query()) == 2
    assert not list(verify(memory, deep=True))


def test_a_catalog_that_cannot_be_made_again_is_no_news_each_time(
    made: Any, memory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Store.open(memory) as store:
        commit(store, arrived(store, made))
        (memory / "catalog.sqlite").unlink()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(durable, "os", ReadOnly())
            for _ in range(3):
                with pytest.raises(StoreError, match="Read-only"):
                    store.check()
        assert not caplog.records
        store.check()
        assert [record.message for record in caplog.records if "made again" in record.message]
        assert len(sensorium.open(memory).query()) == 1


def test_a_catalog_that_another_took_the_place_of(made: Any, make_episode: Any, memory: Path) -> None:
    """Say, one that was restored: what it lacks is entered."""
    with Store.open(memory / "store") as store:
        shutil.copy(memory / "store" / "catalog.sqlite", memory / "old")
        commit(store, arrived(store, made))
        (memory / "old").rename(memory / "store" / "catalog.sqlite")
        store.check()
        assert store.state(made.episode) is not None
        commit(store, arrived(store, make_episode({"imu": np.arange(3)}, ordinal=1)))
    assert len(sensorium.open(memory / "store").query()) == 2
    assert not list(verify(memory / "store", deep=True))


def test_a_catalog_whose_disk_is_replaced(made: Any, make_episode: Any, memory: Path) -> None:
    """It was a link to a faster one: the store has all that is needed, and one of its own from then on."""
    (memory / "fast").mkdir()
    Store.open(memory / "store").close()
    catalog = memory / "store" / "catalog.sqlite"
    catalog.rename(memory / "fast" / "catalog.sqlite")
    catalog.symlink_to(memory / "fast" / "catalog.sqlite")
    with Store.open(memory / "store") as store:
        commit(store, arrived(store, made))
        (memory / "fast").rename(memory / "away")
        (memory / "fast").mkdir()
        commit(store, arrived(store, make_episode({"imu": np.arange(3)}, ordinal=1)))
        assert store.state(made.episode) is not None
        assert len(sensorium.open(memory / "store").query()) == 2
    assert not list((memory / "fast").iterdir())
    assert not list(verify(memory / "store", deep=True))


# -- disks -------------------------------------------------------------------------------------------------------------


def test_a_file_system_without_what_a_store_needs_is_refused(memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is taken in: no commit would ever succeed there."""

    def fails(number: int) -> Callable[..., None]:
        def call(*_: Any, **__: Any) -> None:
            raise OSError(number, os.strerror(number))

        return call

    def of_folders(number: int) -> Callable[[int], None]:
        def call(fd: int) -> None:
            if os.path.isdir(f"/proc/self/fd/{fd}"):  # noqa: PTH112
                raise OSError(number, os.strerror(number))

        return call

    for owner, name, fake, says in (
        (fcntl, "flock", fails(errno.ENOLCK), "no locks"),
        (fcntl, "flock", fails(errno.EOPNOTSUPP), "no locks"),
        (os, "link", fails(errno.EPERM), "no hard links"),
        (os, "link", fails(errno.EOPNOTSUPP), "no hard links"),
        (os, "fsync", of_folders(errno.EINVAL), "no folders that can be synced"),
        (os, "fsync", of_folders(errno.EOPNOTSUPP), "no folders that can be synced"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, fake)
            with pytest.raises(StoreError, match=f"this file system has {says}, which a store needs; put it on ext4"):
                Store.open(memory / "store")
    Store.open(memory / "store").close()


def test_staging_on_another_disk_is_refused(tmp_path: Path) -> None:
    """Nothing could ever be renamed from there into the store."""
    other = Path("/dev/shm")
    if not other.is_dir() or other.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("no second file system here")
    Store.open(tmp_path / "store").close()
    folder = other / f"sensorium-test-{os.getpid()}"
    folder.mkdir()
    try:
        for name in (".staging", "commits", "episodes.zarr"):
            path = tmp_path / "store" / name
            path.rename(tmp_path / "kept")
            path.symlink_to(folder)
            if name == "episodes.zarr":
                shutil.copy(tmp_path / "kept" / "zarr.json", folder)
            with pytest.raises(StoreError, match="not on the same disk, or mount, as"):
                Store.open(tmp_path / "store")
            path.unlink()
            (tmp_path / "kept").rename(path)
        Store.open(tmp_path / "store").close()
    finally:
        shutil.rmtree(folder)


def mounting(*command: object) -> None:
    try:
        done = subprocess.run([str(word) for word in command], capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip(f"no {command[0]} here")
    if done.returncode:
        pytest.skip(f"cannot mount here: {done.stderr.decode().strip()}")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """An ext4 of 32 MB, mounted; whatever is mounted on that folder in the end is taken off."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a disk")
    image, mounted = tmp_path / "image", tmp_path / "mounted"
    image.touch()
    os.truncate(image, 32 << 20)
    mounted.mkdir()
    mounting("mkfs.ext4", "-q", image)
    mounting("mount", "-o", "loop", image, mounted)
    yield mounted
    while mounted.is_mount():
        subprocess.run(["umount", "--lazy", mounted], check=True, capture_output=True)


@FORMS
def test_a_disk_that_is_taken_away_and_comes_back(
    made: Any, make_episode: Any, disk: Path, tmp_path: Path, small_bytes: int
) -> None:
    """Under another device number, as a disk that was plugged in again has: the ingest goes on without a restart."""
    with Store.open(disk / "store", small_bytes=small_bytes) as store:
        commit(store, arrived(store, made))
        arriving = begun(store, make_episode({"imu": np.arange(3)}, ordinal=1))
        held = arrived(store, make_episode({"imu": np.arange(3)}, ordinal=3))
        subprocess.run(["sync", "--file-system", disk], check=True)
        shutil.copy(tmp_path / "image", tmp_path / "the same disk")
        subprocess.run(["umount", "--lazy", disk], check=True)
        with pytest.raises(StoreAway, match="is gone"):
            commit(store, arriving)
        assert not list(disk.iterdir()), "nothing is made where the disk was"
        mounting("mount", "-o", "loop", tmp_path / "the same disk", disk)
        with pytest.raises(StoreError, match="the disk was away"):
            commit(store, arriving)
        arriving.discard()
        if held.staged.made:
            held.discard()
        else:
            commit(store, held)
        assert store.state(made.episode) is not None
        commit(store, arrived(store, make_episode({"imu": np.arange(3)}, ordinal=2)))
        with pytest.raises(StoreError, match="another ingest"):
            Store.open(disk / "store")
    assert len(sensorium.open(disk / "store").query()) == 2 + bool(small_bytes)
    assert not list(verify(disk / "store", deep=True))
    subprocess.run(["umount", disk], check=True)


@FORMS
def test_a_disk_that_can_only_be_read_for_a_while(
    made: Any, make_episode: Any, memory: Path, monkeypatch: pytest.MonkeyPatch, small_bytes: int
) -> None:
    """As the kernel makes it after an error; writing goes on by itself when it can."""
    connect = sqlite3.connect

    with Store.open(memory, small_bytes=small_bytes) as store:
        assembly = arrived(store, made)
        with monkeypatch.context() as patch:
            patch.setattr(durable, "os", ReadOnly())
            patch.setattr(sqlite3, "connect", lambda path, **named: connect(path.replace("=rw", "=ro"), **named))
            store.catalog.close()  # a connection that is begun now can never write
            for promise in (
                lambda: store.begin(made.episode),
                lambda: commit(store, assembly),
                lambda: store.saw_spool("rig-1", "spool-a", 0, 3),
            ):
                with pytest.raises(StoreError, match=r"Read-only|readonly"):
                    promise()
        store.saw_spool("rig-1", "spool-a", 0, 3)
        commit(store, assembly)
    assert len(sensorium.open(memory).query()) == 1


def test_a_catalog_that_finds_no_room_asks_for_room_and_not_to_be_made_anew(tmp_path: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'catalog.sqlite'}")
    with engine.connect() as connection:
        connection.exec_driver_sql("CREATE TABLE some (text)")
        connection.exec_driver_sql("PRAGMA max_page_count = 2")
        insert = "INSERT INTO some VALUES (zeroblob(100000))"
        with pytest.raises(StoreError, match="no space left for it; make room") as raised, store_errors(tmp_path):
            connection.exec_driver_sql(insert)
    engine.dispose()
    assert "rebuild-catalog" not in str(raised.value)
