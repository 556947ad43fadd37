"""Power loss: whole changes of `durable` are made or not, and are made once they have returned."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sensorium.episode import durable
from tests.forgetful_disk import ForgetfulDisk

Change = Callable[[Path], object]


def held(folder: Path) -> dict[str, bytes]:
    """The files under a folder; a folder is there with a slash."""
    return {
        str(path.relative_to(folder)) + "/" * path.is_dir(): b"" if path.is_dir() else path.read_bytes()
        for path in folder.rglob("*")
        if not path.name.startswith("new")
    }


CHANGES: dict[str, tuple[Change, dict[str, bytes]]] = {
    "publish": (lambda at: durable.publish(at / "fresh", b"whole", at), {"fresh": b"whole"}),
    "replace": (lambda at: durable.replace(at / "old", at / "new", [[b"the ", b"new"]]), {"old": b"the new"}),
    "replace the tail": (lambda at: durable.replace_tail(at / "old", b"sealed", 3), {"old": b"it sealed"}),
    "add a line": (lambda at: durable.add_line(at / "lines", b"2"), {"lines": b"1\n2"}),
    "begin a file of lines": (lambda at: durable.add_line(at / "fresh", b"1"), {"fresh": b"\n1"}),
    "make a folder": (lambda at: durable.make_folder(at / "a" / "b"), {"a/": b"", "a/b/": b""}),
}
RELATIVE: dict[str, Callable[[int], object]] = {
    "publish": lambda at: durable.publish(Path("fresh"), b"whole", Path(), dir_fd=at),
    "replace": lambda at: durable.replace(Path("old"), Path("new"), [[b"the ", b"new"]], dir_fd=at),
    "add a line": lambda at: durable.add_line(Path("lines"), b"2", dir_fd=at),
    "begin a file of lines": lambda at: durable.add_line(Path("fresh"), b"1", dir_fd=at),
    "make a folder": lambda at: durable.make_folder(Path("a/b"), dir_fd=at),
}


def under(change: Callable[[int], object]) -> Change:
    """The same change, by a descriptor of the folder."""

    def changed(root: Path) -> None:
        at = durable.open_folder(root)
        change(at)
        durable.close(at)

    return changed


CHANGES |= {f"{what}, in an open folder": (under(change), CHANGES[what][1]) for what, change in RELATIVE.items()}


@pytest.mark.parametrize("what", CHANGES)
def test_a_whole_change_is_made_or_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    root = tmp_path / "root"
    root.mkdir()
    seen: list[dict[str, bytes]] = []
    before = {"old": b"it was", "lines": b"1"}
    for name, content in before.items():
        (root / name).write_bytes(content)
    change, after = CHANGES[what]

    def look() -> None:
        copy = tmp_path / f"copy-{len(seen)}"
        disk.after_power_loss(copy)
        seen.append(held(copy))

    disk = ForgetfulDisk(root, look)
    monkeypatch.setattr(durable, "os", disk)
    look()
    change(root)
    assert seen[0] == before
    assert seen[-1] == before | after, "it returned"
    steps = [before, before | after]
    if what.startswith("make a folder"):
        steps.insert(1, before | {"a/": b""})
    if what.startswith("begin a file of lines"):
        steps.insert(1, before | {"fresh": b""})
    assert [state for state in seen if state not in steps] == []


def test_what_was_not_synced_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "root"
    root.mkdir()
    disk = ForgetfulDisk(root)
    monkeypatch.setattr(durable, "os", disk)
    fd = durable.create(root / "a", appending=True)
    durable.append(fd, [b"one"], 0)
    durable.sync(fd)
    durable.append(fd, [b"two"], 3)
    disk.after_power_loss(tmp_path / "1")
    assert held(tmp_path / "1") == {}, "its name is not synced"
    durable.sync_folder(root)
    durable.rename(root / "a", root / "b")
    disk.after_power_loss(tmp_path / "2")
    assert held(tmp_path / "2") == {"a": b"one"}
    durable.sync_folder(root)
    durable.remove(root / "b")
    durable.close(fd)
    durable.write_synced(root / "c", b"with an inode that may have been b's")
    disk.after_power_loss(tmp_path / "3")
    assert held(tmp_path / "3") == {"b": b"one"}
