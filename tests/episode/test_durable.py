"""Durable file calls: whole or as before, synced when they return, and the only ones of their kind in the product."""

import ast
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sensorium.episode import durable

ROOT = Path(__file__).parents[2]
CHANGES = {"fsync", "fdatasync", "link", "rename", "replace", "renames", "write", "writev", "pwrite", "pwritev"}
CHANGES |= {"ftruncate", "truncate", "unlink", "remove", "mkdir", "makedirs", "rmdir", "sync", "sync_file_range"}
CHANGES |= {"syncfs"}
OF_PATHS = {"rename", "replace", "unlink", "mkdir", "write_bytes", "write_text", "touch", "rmdir", "hardlink_to"}


def changes(path: Path) -> list[str]:
    """The calls in a module that change the file system other than by `durable`: of `os`, and of paths."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            of = ast.unparse(node.func.value)
            if (of == "os" and node.func.attr in CHANGES) or (
                of not in ("os", "durable", "msgspec.structs")
                and (node.func.attr in OF_PATHS or _to_write(node))
                and not _of_text(node)
            ):
                found.append(f"{of}.{node.func.attr}")
    return found


def _of_text(call: ast.Call) -> bool:
    """`text.replace(old, new)`, of two arguments."""
    return isinstance(call.func, ast.Attribute) and call.func.attr == "replace" and len(call.args) == 2


def _to_write(call: ast.Call) -> bool:
    """`path.open("wb")`."""
    modes = {node.value for node in call.args if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return (
        isinstance(call.func, ast.Attribute)
        and call.func.attr == "open"
        and any(set(mode) & set("wax+") for mode in modes)
    )


def test_spool_and_store_touch_files_only_by_these_functions() -> None:
    modules = [*(ROOT / "agents" / "spool").glob("*.py"), *(ROOT / "ingest").glob("*.py")]
    assert len(modules) > 12
    found = {path.name: sorted(calls) for path in modules if (calls := changes(path))}
    # Neither the reserve nor the sign of life need outlive a power loss, nor that an empty folder of requests is gone.
    assert found == {
        "room.py": ["self._reserve.unlink"],
        "folder.py": ["os.pwrite"],
        "import_requests.py": ["self._path / REQUESTS.rmdir"],
    }


def test_this_module_touches_files_only_by_its_own_os() -> None:
    """So that another disk can stand there."""
    tree = ast.parse(Path(durable.__file__).read_text())
    called = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    of_paths = {name for name in called if name.rpartition(".")[2] in OF_PATHS and "." in name}
    assert {name for name in of_paths if not name.startswith("os.")} | called & {"open"} == set()


class Disk:
    """The `os` of a disk that writes at most `step` bytes a call, and breaks at call number `breaks` of `name`."""

    def __init__(self, step: int = 1 << 30, name: str = "", breaks: int = 0) -> None:
        self.step, self.name, self.breaks = step, name, breaks
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> object:
        real = getattr(os, name)
        if not callable(real):
            return real

        def call(*arguments: object, **named: object) -> object:
            self.calls.append(name)
            if name == self.name and self.calls.count(name) == self.breaks:
                raise OSError(28, "No space left on device")
            if name == "writev":
                return os.write(arguments[0], b"".join(arguments[1])[: self.step])  # type: ignore[arg-type]
            if name in ("write", "pwrite"):
                arguments = (arguments[0], memoryview(arguments[1])[: self.step], *arguments[2:])  # type: ignore[arg-type]
            return real(*arguments, **named)

        return call


def put(monkeypatch: pytest.MonkeyPatch, disk: Disk) -> Disk:
    monkeypatch.setattr(durable, "os", disk)
    return disk


def test_short_writes_go_on_where_they_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(monkeypatch, Disk(step=3))
    fd = durable.create(tmp_path / "a", appending=True)
    assert durable.append(fd, [b"one ", b"and two"], 0) == 11
    durable.close(fd)
    durable.write_synced(tmp_path / "b", b"ten bytes.")
    durable.replace_tail(tmp_path / "b", b"more than ten bytes.", 4)
    assert durable.replace(tmp_path / "c", tmp_path / "c-new", [[b"first ", b"second "], [b"third"]]) == 18
    assert durable.publish(tmp_path / "d", b"published", tmp_path)
    durable.add_line(tmp_path / "e", b"a line")
    held = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert held == {
        "a": b"one and two",
        "b": b"ten more than ten bytes.",
        "c": b"first second third",
        "d": b"published",
        "e": b"\na line",
    }


@pytest.mark.parametrize("step", [1, 4])
def test_an_append_that_fails_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    fd = durable.create(tmp_path / "a", appending=True)
    durable.append(fd, [b"before"], 0)
    put(monkeypatch, Disk(step, "write", 2))
    with pytest.raises(OSError, match="No space"):
        durable.append(fd, [b"after", b"wards"], 6)
    monkeypatch.undo()
    durable.append(fd, [b"!"], 6)
    durable.close(fd)
    assert (tmp_path / "a").read_bytes() == b"before!"


def test_a_disk_that_writes_nothing_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(monkeypatch, Disk(step=0))
    fd = durable.create(tmp_path / "a", appending=True)
    with pytest.raises(OSError, match="No space"):
        durable.append(fd, [b"x"], 0)
    with pytest.raises(OSError, match="No space"):
        durable.write_at(fd, b"x", 0)
    durable.close(fd)


@pytest.mark.parametrize(("name", "breaks"), [("write", 1), ("fsync", 1), ("rename", 1)])
def test_a_replacement_that_fails_leaves_what_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, breaks: int
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"before")
    put(monkeypatch, Disk(2, name, breaks))
    with pytest.raises(OSError, match="No space"):
        durable.replace(path, tmp_path / "new", [[b"after"]])
    monkeypatch.undo()
    assert path.read_bytes() == b"before"
    assert durable.replace(path, tmp_path / "new", [[b"after"]]) == 5, "what it left is no hindrance"
    assert {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()} == {"a": b"after"}


def test_a_tail_that_cannot_be_written_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"whole torn")
    put(monkeypatch, Disk(2, "pwrite", 2))
    with pytest.raises(OSError, match="No space"):
        durable.replace_tail(path, b"sealed", 6)
    assert path.read_bytes() == b"whole "


def test_whole_changes_are_synced_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = put(monkeypatch, Disk())
    (tmp_path / "a").write_bytes(b"torn")
    orders: dict[str, tuple[Callable[[], object], list[str]]] = {
        "replace": (lambda: durable.replace(tmp_path / "a", tmp_path / "n", [[b"x"]]), ["fsync", "rename", "fsync"]),
        "publish": (lambda: durable.publish(tmp_path / "p", b"x", tmp_path), ["pwrite", "fsync", "link", "fsync"]),
        "tail": (lambda: durable.replace_tail(tmp_path / "a", b"x", 0), ["ftruncate", "pwrite", "fsync"]),
        "line": (lambda: durable.add_line(tmp_path / "l", b"x"), ["writev", "fsync", "fsync"]),
        "folder": (lambda: durable.make_folder(tmp_path / "f" / "g"), ["mkdir", "fsync", "mkdir", "fsync"]),
    }
    for what, (change, order) in orders.items():
        disk.calls.clear()
        change()
        assert [name for name in disk.calls if name in order] == order, what


# -- relative to an open folder ----------------------------------------------------------------------------------------


def test_a_folder_that_was_moved_is_written_where_it_is(tmp_path: Path) -> None:
    """And nothing is made where it was, or above it."""
    (tmp_path / "disk" / "held").mkdir(parents=True)
    at = durable.open_folder(tmp_path / "disk" / "held")
    (tmp_path / "disk").rename(tmp_path / "moved")
    durable.make_folder(Path("a/b"), dir_fd=at)
    durable.close(durable.create(Path("a/new"), dir_fd=at))
    made = durable.write_synced(Path("a/b/one"), b"1", dir_fd=at)
    durable.replace(Path("two"), Path("a/t"), [[b"2"]], dir_fd=at)
    published = durable.publish(Path("three"), b"3", Path("a"), dir_fd=at)
    assert durable.publish(Path("three"), b"x", Path("a"), dir_fd=at) is None
    durable.add_line(Path("lines"), b"4", dir_fd=at)
    durable.rename(Path("a/b"), Path("b"), dir_fd=at)
    durable.link(Path("two"), Path("a/two"), dir_fd=at)
    durable.remove(Path("a/new"), dir_fd=at)
    assert durable.names(Path("a"), dir_fd=at) == ["two"]
    assert durable.look("b/one", dir_fd=at) == (made, 1, False)
    assert durable.look(Path("three"), dir_fd=at) == (published, 1, False)
    seen = durable.look("b", dir_fd=at)
    assert seen is not None
    assert seen.is_folder
    assert durable.look("b/one/no", dir_fd=at) is None
    assert durable.read_whole(Path("lines"), dir_fd=at) == b"\n4"
    fd = durable.reopen(Path("two"), dir_fd=at)
    durable.write_at(fd, b"22", 0)
    durable.cut(fd, 1)
    durable.close(fd)
    durable.remove_tree(Path("a"), dir_fd=at)
    durable.close(at)
    here = tmp_path / "moved" / "held"
    held = {str(path.relative_to(here)): path.read_bytes() for path in here.rglob("*") if path.is_file()}
    assert held == {"b/one": b"1", "two": b"2", "three": b"3", "lines": b"\n4"}
    assert [path.name for path in tmp_path.iterdir()] == ["moved"]


def test_a_folder_that_was_removed_is_not_made_again(tmp_path: Path) -> None:
    (tmp_path / "held").mkdir()
    at = durable.open_folder(tmp_path / "held")
    (tmp_path / "held").rmdir()
    for make in (durable.make_folder, durable.add_folder, durable.create, durable.reopen):
        with pytest.raises(FileNotFoundError):
            make(Path("a"), dir_fd=at)
    durable.close(at)
    assert not list(tmp_path.iterdir())


def test_removing_a_tree_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    (tmp_path / "tree" / "deep").mkdir(parents=True)
    (tmp_path / "tree" / "deep" / "link").symlink_to(tmp_path / "other")
    durable.remove_tree(tmp_path / "tree")
    durable.remove_tree(tmp_path / "tree")
    assert [path.name for path in tmp_path.rglob("*")] == ["other", "file"]
    (tmp_path / "link").symlink_to(tmp_path / "other")
    with pytest.raises(OSError, match=r"Not a directory|symbolic"):
        durable.remove_tree(tmp_path / "link")
    assert (tmp_path / "other" / "file").exists()


def test_a_folder_whose_name_could_not_be_synced_is_not_taken_for_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sync(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(durable, "sync_folder", sync)
    with pytest.raises(OSError, match="Input/output"):
        durable.make_folder(tmp_path / "a" / "b")
    synced: list[Path] = []
    monkeypatch.setattr(durable, "sync_folder", lambda folder, **_: synced.append(folder))
    durable.make_folder(tmp_path / "a" / "b")
    assert synced == [tmp_path, tmp_path / "a"]
