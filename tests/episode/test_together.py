"""Several files made durable together: each as by itself, whether the disk is asked for each or once for all."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sensorium.episode import durable, file_system, together
from sensorium.episode.durable import Seen
from tests.forgetful_disk import ForgetfulDisk

MANY = together.AT_ONCE


@pytest.fixture
def at(tmp_path: Path) -> Iterator[int]:
    for name in ("a", "b", "new"):
        (tmp_path / name).mkdir()
    fd = durable.open_folder(tmp_path)
    yield fd
    durable.close(fd)


@pytest.fixture
def disk(at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "Counting":
    """A disk that forgets, and counts what it is asked; of whose file system one sync is to be trusted."""
    counting = Counting(tmp_path)
    monkeypatch.setattr(durable, "os", counting)
    monkeypatch.setattr(file_system, "is_trusted", lambda _: True)
    monkeypatch.setattr(file_system, "is_calm", lambda: True)
    return counting


class Counting(ForgetfulDisk):
    """`asked`: the syncs; those named in `fails`, of a file whose path ends so, raise."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.asked: list[str] = []
        self.fails: dict[str, str] = {}

    def syncfs(self, fd: int) -> None:
        self._ask("syncfs", fd)
        super().syncfs(fd)

    def __getattr__(self, name: str) -> Any:
        call = super().__getattr__(name)
        if name not in ("fsync", "fdatasync"):
            return call

        def asked(fd: int) -> Any:
            self._ask(name, fd)
            return call(fd)

        return asked

    def _ask(self, name: str, fd: int) -> None:
        self.asked.append(name)
        if name in self.fails and str(Path(f"/proc/self/fd/{fd}").readlink()).endswith(self.fails[name]):
            raise OSError(errno.EIO, os.strerror(errno.EIO))


def files(count: int) -> list[tuple[Path | str, bytes]]:
    return [(f"a/{number}", f"of {number}".encode()) for number in range(count)]


@pytest.mark.parametrize(("count", "asked"), [(MANY - 1, ["fdatasync"] * (MANY - 1)), (MANY, ["syncfs"])])
def test_many_are_waited_for_once(at: int, disk: Counting, tmp_path: Path, count: int, asked: list[str]) -> None:
    seen = together.write_all(files(count), dir_fd=at)
    assert disk.asked == asked
    durable.sync_folder(Path("a"), dir_fd=at)
    for (path, data), each in zip(files(count), seen, strict=True):
        assert each == durable.look(path, dir_fd=at)
        assert disk.content(tmp_path / path) == data


@pytest.mark.parametrize("how", ["another kind of file system", "much waits already"])
def test_each_is_waited_for_where_one_sync_is_not_to_be_trusted_or_waits_for_others(
    at: int, disk: Counting, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    if how == "another kind of file system":
        monkeypatch.setattr(file_system, "is_trusted", lambda _: False)
    else:
        monkeypatch.setattr(file_system, "is_calm", lambda: False)
    together.write_all(files(MANY), dir_fd=at)
    assert disk.asked == ["fdatasync"] * MANY


def test_where_the_one_sync_fails_each_says_whether_it_is_there(at: int, disk: Counting, tmp_path: Path) -> None:
    """It may be anybody's error; the file that is not there is removed, the others are as durable as ever."""
    disk.fails = {"syncfs": "a/0", "fdatasync": "a/3"}
    seen = together.write_all(files(MANY), dir_fd=at)
    assert disk.asked == ["syncfs", *["fdatasync"] * MANY]
    assert [number for number, each in enumerate(seen) if isinstance(each, OSError)] == [3]
    assert not (tmp_path / "a" / "3").exists()
    durable.sync_folder(Path("a"), dir_fd=at)
    assert disk.content(tmp_path / "a" / "4") == b"of 4"


def test_one_that_is_in_the_way_ends_no_other(at: int, disk: Counting, tmp_path: Path) -> None:
    (tmp_path / "a" / "2").write_bytes(b"before")
    seen = together.write_all(files(MANY), dir_fd=at)
    assert [number for number, each in enumerate(seen) if isinstance(each, FileExistsError)] == [2]
    assert disk.asked == ["syncfs"]
    assert (tmp_path / "a" / "2").read_bytes() == b"before"


def test_no_descriptor_is_left_open(at: int, disk: Counting) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    together.write_all(files(MANY), dir_fd=at)
    disk.fails = {"syncfs": "b/0", "fdatasync": "b/0"}
    together.write_all([(f"b/{number}", b"") for number in range(MANY)], dir_fd=at)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_those_of_two_file_systems_are_waited_for_each(
    at: int, disk: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder in a store may be a mount of its own: one sync would be that of the first file's alone."""
    devices = iter(range(MANY))
    monkeypatch.setattr(durable, "identity", lambda _: durable.FileId(next(devices), 1))
    seen = together.write_all(files(MANY), dir_fd=at)
    assert all(isinstance(each, Seen) for each in seen)
    assert disk.asked == ["fdatasync"] * MANY


def test_names_are_given_and_durable_where_they_are_free(at: int, disk: Counting, tmp_path: Path) -> None:
    """In every folder, of those that were there before too: their names may not have been synced."""
    (tmp_path / "b" / "3").write_bytes(b"before")
    new: list[tuple[Path | str, bytes]] = [(f"new/{number}", f"{number}".encode()) for number in range(4)]
    together.write_all(new, dir_fd=at)
    places = ["a/0", "a/1", "b/2", "b/3"]
    named = together.name_all([(str(path), place) for (path, _), place in zip(new, places, strict=True)], dir_fd=at)
    assert named == [True, True, True, False]
    assert (disk.names(tmp_path / "a"), disk.names(tmp_path / "b")) == (["0", "1"], ["2", "3"])
    assert [disk.content(tmp_path / place) for place in places[:3]] == [b"0", b"1", b"2"]
    assert not list((tmp_path / "new").iterdir())


@pytest.mark.parametrize("trusted", [True, False])
def test_names_in_many_folders_are_waited_for_once_where_that_can_be_trusted(
    at: int, disk: Counting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trusted: bool
) -> None:
    monkeypatch.setattr(file_system, "is_trusted", lambda _: trusted)
    for number in range(MANY):
        durable.make_folder(Path(f"of-{number}"), dir_fd=at)
    new: list[tuple[Path | str, bytes]] = [(f"new/{number}", b"x") for number in range(MANY)]
    together.write_all(new, dir_fd=at)
    disk.asked.clear()
    named = together.name_all([(str(path), f"of-{path[4:]}/it") for path, _ in map(_text, new)], dir_fd=at)
    assert named == [True] * MANY
    assert disk.asked == (["syncfs"] if trusted else ["fsync"] * MANY)
    assert all(disk.names(tmp_path / f"of-{number}") == ["it"] for number in range(MANY))


def _text(file: tuple[Path | str, bytes]) -> tuple[str, bytes]:
    return str(file[0]), file[1]
