"""Records beside episodes: what was said to be there is, whole, whoever else writes and whenever power is lost."""

import errno
import threading
import uuid
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.corpus.beside import BESIDE, BesideWriter, beside_kinds, beside_paths, read_beside, read_lines
from sensorium.episode import durable
from sensorium.errors import ConfigError, StoreError
from sensorium.ingest.store import Store
from tests.failing_disk import FailingDisk
from tests.forgetful_disk import ForgetfulDisk

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
RECORDS = st.lists(st.dictionaries(st.text(), JSON, max_size=4), min_size=1, max_size=6)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: Any) -> Path:
    path: Path = tmp_path_factory.mktemp("empty") / "store"
    Store.open(path).close()
    return path


@pytest.fixture
def store(tmp_path: Path) -> Path:
    Store.open(tmp_path / "store").close()
    return tmp_path / "store"


def said(store: Path, kind: str = "verdicts") -> list[Any]:
    return [each.record for each in read_beside(store, kind)]


def fresh(empty: Path) -> Path:
    """A folder that is a store as far as records beside episodes go, with nothing of another example in it."""
    for kind in beside_kinds(empty):
        for path in beside_paths(empty, kind):
            path.unlink()
    return empty


@given(groups=st.lists(RECORDS, max_size=4))
@settings(deadline=None, max_examples=25)
def test_what_was_appended_is_read_in_that_order(empty: Path, groups: list[list[dict[str, Any]]]) -> None:
    path = fresh(empty)
    with BesideWriter(path, "verdicts") as writer:
        assert not beside_paths(path, "verdicts"), "a writer that has nothing to say makes no file"
        for group in groups:
            writer.append(group)
    assert said(path) == [record for group in groups for record in group]


@given(records=RECORDS, more=RECORDS, data=st.data())
@settings(deadline=None, max_examples=25)
def test_a_torn_line_is_ignored_and_cut(empty: Path, records: Any, more: Any, data: st.DataObject) -> None:
    path = fresh(empty)
    with BesideWriter(path, "verdicts") as writer:
        writer.append(records)
    (file,) = beside_paths(path, "verdicts")
    whole = file.read_bytes()
    at = data.draw(st.integers(0, len(whole)))
    file.write_bytes(whole[:at])
    left = records[: whole[:at].count(b"\n")]
    assert said(path) == left
    with BesideWriter(path, "verdicts", writer.writer) as again:
        again.append(more)
    assert said(path) == [*left, *more]
    assert beside_paths(path, "verdicts") == [file]


@given(records=RECORDS, data=st.data())
@settings(deadline=None, max_examples=50)
def test_a_damaged_line_is_never_believed_and_costs_no_other(empty: Path, records: Any, data: st.DataObject) -> None:
    path = fresh(empty)
    with BesideWriter(path, "verdicts") as writer:
        writer.append(records)
    (file,) = beside_paths(path, "verdicts")
    whole = bytearray(file.read_bytes())
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= 1 << data.draw(st.integers(0, 7))
    struck = whole[:at].count(b"\n")
    file.write_bytes(whole)
    left = said(path)
    before, after = records[:struck], records[struck + 1 :]
    # An end of line that was struck takes the line behind it along; of the last one, it is as torn.
    assert left in (before + after, before + after[1:])
    assert len(left) == len([each for each in read_lines(file) if each.record is not None])


def test_two_writers_at_once_never_meet(store: Path) -> None:
    def write(name: str) -> None:
        with BesideWriter(store, "verdicts") as writer:
            for number in range(20):
                writer.append([{"name": name, "number": number}] * 2)

    threads = [threading.Thread(target=write, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(beside_paths(store, "verdicts")) == 3
    for name in "abc":
        numbers = [each["number"] for each in said(store) if each["name"] == name]
        assert numbers == [number for number in range(20) for _ in range(2)]


def test_one_writer_from_several_threads_keeps_lines_whole(store: Path) -> None:
    with BesideWriter(store, "campaigns") as writer:
        threads = [threading.Thread(target=lambda n=n: writer.append([{"n": n}] * 50)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    found = [each["n"] for each in said(store, "campaigns")]
    assert sorted(found) == sorted(list(range(8)) * 50)
    assert all(len(set(found[start : start + 50])) == 1 for start in range(0, 400, 50)), "a group is together"


def test_a_file_has_one_writer_at_a_time(store: Path) -> None:
    with BesideWriter(store, "verdicts") as writer:
        writer.append([{"a": 1}])
        with pytest.raises(StoreError, match="another process appends to it"):
            BesideWriter(store, "verdicts", writer.writer)
    BesideWriter(store, "verdicts", writer.writer).close()


def test_power_lost_behind_any_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "store"
    Store.open(root).close()
    done = 0
    states: list[int] = []

    def look() -> None:
        states.append(done)
        disk.after_power_loss(tmp_path / f"copy-{len(states) - 1}")

    disk = ForgetfulDisk(root, look)
    monkeypatch.setattr(durable, "os", disk)
    groups = [[{"n": n}, {"n": n, "again": True}] for n in range(4)]
    with BesideWriter(root, "verdicts") as writer:
        for group in groups:
            writer.append(group)
            done += 1
        look()
    monkeypatch.undo()
    assert len(states) > len(groups) + 3
    for number, before in enumerate(states):
        found = said(tmp_path / f"copy-{number}")
        flat = [each for group in groups for each in group]
        assert found == flat[: len(found)], number
        assert len(found) >= 2 * before, number


def test_a_line_that_a_killed_writer_left_unsynced_is_durable_once_its_file_is_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "store"
    Store.open(root).close()
    disk = ForgetfulDisk(root)
    monkeypatch.setattr(durable, "os", disk)
    with BesideWriter(root, "verdicts") as writer:
        writer.append([{"n": 0}])
        (path,) = beside_paths(root, "verdicts")
        with path.open("ab") as file:  # what of it was written when it was killed
            file.write(path.read_bytes() + b'{"crc32":"')
    with BesideWriter(root, "verdicts", writer.writer):
        disk.after_power_loss(tmp_path / "copy")
    monkeypatch.undo()
    assert said(tmp_path / "copy") == [{"n": 0}, {"n": 0}]


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("at", range(12))
def test_a_disk_in_trouble(store: Path, monkeypatch: pytest.MonkeyPatch, at: int, error: int) -> None:
    """What raised may be there or not; what did not raise is; what comes later is not harmed."""
    disk = FailingDisk(monkeypatch)
    with BesideWriter(store, "verdicts") as writer:
        writer.append([{"n": 0}])
        disk.trouble(disk.calls + at, 1, error)
        kept, maybe = [0], []
        for n in range(1, 6):
            try:
                writer.append([{"n": n}])
                kept.append(n)
            except StoreError:
                maybe.append(n)
    monkeypatch.undo()
    found = [each["n"] for each in said(store)]
    assert set(kept) <= set(found) <= {*kept, *maybe}
    assert len(maybe) <= 1
    assert found == sorted(found)


def test_nothing_is_made_above_a_store_or_where_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="not a store"):
        BesideWriter(tmp_path / "no" / "store", "verdicts")
    assert not (tmp_path / "no").exists()


def test_what_is_no_json_is_refused_and_nothing_is_written(store: Path) -> None:
    with BesideWriter(store, "verdicts") as writer, pytest.raises(ConfigError, match="expected what JSON can say"):
        writer.append([{"fine": 1}, {"bad": object()}])
    assert said(store) == []


def test_a_store_that_cannot_be_written_says_so(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> int:
        raise OSError(errno.EROFS, "Read-only file system")

    with BesideWriter(store, "verdicts") as writer:
        monkeypatch.setattr(durable, "make_folder", fails)
        with pytest.raises(StoreError, match="Read-only file system"):
            writer.append([{"a": 1}])


def test_a_kind_is_a_name() -> None:
    with pytest.raises(ConfigError, match="expected one of verdicts"):
        list(read_beside(Path("/"), "../commits"))


def test_a_writer_is_named_by_a_uuid_of_its_time(store: Path) -> None:
    with BesideWriter(store, "verdicts") as first:
        first.append([{"n": 0}])
    with BesideWriter(store, "verdicts") as second:
        second.append([{"n": 1}])
    names = [path.stem for path in beside_paths(store, "verdicts")]
    assert names == [str(first.writer), str(second.writer)]
    assert all(uuid.UUID(name).version == 7 for name in names)
    assert (store / BESIDE / "verdicts").is_dir()
