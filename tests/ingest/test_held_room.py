"""Small episodes arrive in memory, within a bound; what finds no room there, or stays for long, goes on on disk."""

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sensorium
from sensorium.corpus.verify import verify
from sensorium.episode import durable, layout
from sensorium.episode.documents import Encoding
from sensorium.errors import StoreError
from sensorium.ingest.assembly import KEEP_BYTES, Assembly
from sensorium.ingest.held_room import HeldPlace, HeldRoom
from sensorium.ingest.partials import Offered
from sensorium.ingest.store import Store
from sensorium.threads import Thread
from tests.forgetful_disk import ForgetfulDisk
from tests.forms import arrived


@pytest.fixture
def made(make_episode: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """About 300 kB: frames over several shards, a blob over several inner chunks, rows."""
    monkeypatch.setattr(layout, "SHARD_BYTES", 60_000)
    monkeypatch.setattr("sensorium.ingest.shards.BLOB_CHUNK_BYTES", 40_000)
    rng = np.random.default_rng(2)
    arrays = {
        "front": rng.integers(0, 255, (8, 120, 160), dtype=np.uint8),
        "imu": rng.normal(size=(60, 6)),
        "pic": rng.integers(0, 255, (4, 160, 160, 3), dtype=np.uint8),
    }
    return make_episode(arrays, encodings={"pic": Encoding(codec="jpeg", quality=90)})


def held(store: Store, made: Any, size: int = 0, recoveries: int = 0) -> Assembly:
    """The first `size` bytes of an episode in memory; 0 is all of it."""
    assembly = store.begin_held(made.episode, recoveries)
    assert assembly is not None
    assembly.append(made.data[: size or len(made.data)])
    return assembly


def staged(store: Store) -> list[str]:
    return sorted(path.name[36:37] or path.name for path in store.staging.iterdir())


def commit(store: Store, assembly: Assembly) -> None:
    store.commit(assembly, device="rig-1", identity="key-1")


def check(path: Path, made: Any, form: str) -> None:
    (episode,) = sensorium.open(path).query()
    assert (episode.path.suffix == ".zip") == (form == "zip")
    for name in ("front", "imu"):
        np.testing.assert_array_equal(episode.streams[name][:], made.arrays[name])
    assert not list(verify(path, deep=True))


@given(
    room=st.integers(0, 60),
    small=st.integers(0, 40),
    asked=st.lists(st.tuples(st.integers(0, 2), st.integers(-1, 30)), max_size=40),
)
def test_what_is_taken_is_bounded_and_given_back(room: int, small: int, asked: list[tuple[int, int]]) -> None:
    held = HeldRoom(small, room)
    places, taken = [HeldPlace(held) for _ in range(3)], [0, 0, 0]
    for place, size in asked:
        if size < 0:
            places[place].leave()
            taken[place] = 0
        elif places[place].take(size):
            taken[place] += size
        else:
            assert taken[place] + size > small or sum(taken) + size > room
        assert held.taken == sum(taken) <= room
        assert max(taken) <= small
    for each in places:
        each.leave()
    assert held.taken == 0


def test_nothing_of_it_is_on_disk_until_it_is_committed(made: Any, memory: Path) -> None:
    with Store.open(memory) as store:
        assembly = held(store, made)
        assert not staged(store)
        assert store.staged_bytes() == store._room.taken == len(made.data)
        commit(store, assembly)
        assert store._room.taken == store.staged_bytes() == 0
    check(memory, made, "zip")


@pytest.mark.parametrize("step", [1000, 70_000])
def test_one_that_grows_over_the_bound_goes_on_on_disk(made: Any, memory: Path, step: int) -> None:
    with Store.open(memory, small_bytes=100_000) as store:
        assembly = store.begin_held(made.episode)
        assert assembly is not None
        for at in range(0, len(made.data), step):
            assembly.append(made.data[at : at + step])
            assert store._room.taken <= 100_000
            assert assembly.staged.made == (at + step > 100_000)
        assert store._room.taken == 0
        commit(store, assembly)
        assert not staged(store)
    check(memory, made, "folder")


def test_one_that_finds_no_room_goes_on_on_disk_and_is_a_zip_all_the_same(
    made: Any, make_episode: Any, memory: Path
) -> None:
    other = make_episode({"front": made.arrays["front"]}, ordinal=1)
    with Store.open(memory) as store:
        store._room._all_bytes = len(other.data) + 1000
        first = held(store, other)
        second = held(store, made)
        assert (first.staged.made, second.staged.made) == (False, True)
        first.discard()
        assert store._room.taken == 0
        commit(store, second)
    check(memory, made, "zip")


def test_what_stays_for_long_is_found_again_after_power_loss(
    made: Any, memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it is put down, and synced by name, after half a minute; the next run goes on, and commits it as a ZIP."""
    root = memory / "root"
    root.mkdir()
    with monkeypatch.context() as patch:
        disk = ForgetfulDisk(root)
        patch.setattr(durable, "os", disk)
        with Store.open(root) as store:
            assembly = held(store, made, 150_000, recoveries=2)
            assembly.put_down()
            assembly.put_down()
            assert store._room.taken == 0
            assembly.sync(names=True)
            assembly.append(made.data[150_000:160_000])
            disk.after_power_loss(memory / "copy")
            assembly.discard()
    goes_on(memory / "copy", made, 100_000, recoveries=2)


def goes_on(path: Path, made: Any, least: int, recoveries: int = 0) -> None:
    with Store.open(path) as store:
        assert store.begin_held(made.episode) is None, "of it there are parts on disk"
        again = store.begin(made.episode, Offered(("rig-1", "spool-a", 0), len(made.data), recoveries))
        assert again.accepted >= least
        again.append(made.data[again.accepted :])
        commit(store, again)
        assert not staged(store)
    check(path, made, "zip")


@pytest.mark.parametrize("size", [150_000, 0], ids=["part", "sealed"])
def test_an_end_leaves_it_to_the_next_run(made: Any, memory: Path, size: int) -> None:
    with Store.open(memory) as store:
        assembly = held(store, made, size, recoveries=1)
        assert not assembly.staged.made
    goes_on(memory, made, 100_000, recoveries=1)


def test_an_end_keeps_nothing_that_is_small_or_spoiled(made: Any, make_episode: Any, memory: Path) -> None:
    other = make_episode({"front": made.arrays["front"]}, ordinal=1)
    with Store.open(memory) as store:
        small, spoiled = held(store, made, KEEP_BYTES - 1), held(store, other)
        spoiled.failed = "the disk was away"
    assert not small.staged.made
    assert not list((memory / ".staging").iterdir())


def test_an_end_on_a_full_disk_is_an_end(made: Any, memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> int:
        raise OSError(28, "No space left on device")

    with Store.open(memory) as store:
        assembly = held(store, made)
        monkeypatch.setattr(durable, "create", full)
    monkeypatch.undo()
    assert "No space left" in (assembly.failed or "")
    assert not list((memory / ".staging").iterdir())


def test_one_that_cannot_be_put_down_is_sent_again(made: Any, memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store.open(memory, small_bytes=100_000) as store:
        assembly = held(store, made, 90_000)

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(durable, "write_at", full)
            with pytest.raises(StoreError, match="No space left on device; make room, then it is sent again"):
                assembly.append(made.data[90_000:])
        assert assembly.failed
        assembly.discard()
        assert store._room.taken == 0
        assert not staged(store)


def test_it_is_put_down_when_it_is_quarantined(made: Any, memory: Path) -> None:
    with Store.open(memory) as store:
        folder = store.quarantine(held(store, made, 150_000), "damaged thrice")
        assert json.loads((folder / "why.json").read_text())["bytes"] == 150_000
        assert list(folder.glob("front/data/c.*"))
        assert store._room.taken == 0
        assert not staged(store)
        commit(store, arrived(store, made))
    check(memory, made, "zip")


def test_a_sync_beside_it_covers_all_that_is_put_down(made: Any, memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may neither close a shard before that is written, nor take one for clean."""
    with Store.open(memory) as store:
        assembly = held(store, made)
        begun, deaths, synced = threading.Event(), list[Exception](), dict[int, int]()
        write_at, sync = durable.write_at, durable.sync

        def slow(fd: int, data: Any, offset: int) -> None:
            if not begun.is_set():
                begun.set()
                beside.join(0.2)  # it gets as far as it can
            write_at(fd, data, offset)

        def note(fd: int) -> None:
            sync(fd)
            synced[durable.identity(fd).inode] = (Path(f"/proc/self/fd/{fd}")).stat().st_size

        def run() -> None:
            begun.wait(60.0)
            assembly.sync()

        with monkeypatch.context() as patch:
            patch.setattr(durable, "write_at", slow)
            patch.setattr(durable, "sync", note)
            beside = Thread("beside", "syncs", run, deaths.append)
            assembly.put_down()
            assert beside.join(60.0)
            assembly.sync()
        assert not deaths
        files = [path for path in assembly_folder(memory).rglob("c.*") if path.is_file()]
        assert len(files) > 5
        assert {path.stat().st_ino: path.stat().st_size for path in files} == synced
        commit(store, assembly)
    check(memory, made, "zip")


def assembly_folder(store: Path) -> Path:
    return next(path for path in (store / ".staging").iterdir() if path.is_dir())
