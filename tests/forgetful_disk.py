"""A disk that forgets what was not synced: what of a folder is there after power was lost, at any moment."""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

CHANGES = ("open", "write", "writev", "pwrite", "ftruncate", "mkdir", "rename", "link", "unlink")
SYNCS = ("fsync", "fdatasync", "syncfs")


class ForgetfulDisk:
    """Stands in for `os` in `durable`. The file system under it is a real one; this notes what was synced of it.

    Of a file that is the content at its last sync, of a folder the names at its last, and nothing of what came since:
    a file that was never synced is empty, a name that was never synced is not there. `lost` is called whenever what
    `after_power_loss` would give may have changed, which is behind every sync.
    """

    def __init__(self, root: Path, lost: Callable[[], None] = lambda: None) -> None:
        self._root = root
        self._lost = lost
        self._guard = threading.RLock()
        self._made = 0
        self._objects: dict[int, int] = {}  # by inode, which the file system uses again; the number is used once
        self._contents: dict[int, bytes] = {}
        self._names: dict[int, dict[str, tuple[int, bool]]] = {}
        self._note_all()

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name not in (*CHANGES, *SYNCS):
            return real

        def call(*arguments: Any, **named: Any) -> Any:
            with self._guard:
                at = named.get("dir_fd")
                new = name == "mkdir" or (
                    name == "open" and arguments[1] & os.O_CREAT and not is_there(arguments[0], at)
                )
                result = real(*arguments, **named)
                if new:
                    self._objects[os.stat(arguments[0], dir_fd=at).st_ino] = self._number()
                if name in SYNCS:
                    self._synced(arguments[0])
            if name in SYNCS:
                self._lost()
            return result

        return call

    def syncfs(self, _: int) -> None:
        """The sync of all there is."""
        with self._guard:
            self._note_all()
        self._lost()

    def after_power_loss(self, copy: Path) -> None:
        """Make `copy` hold what is left of the folder."""
        with self._guard:
            self._restore(self._object(self._root.stat().st_ino), copy)

    def content(self, path: Path) -> bytes | None:
        """What a file would hold after a power loss now; None if it would not be there."""
        number = self._find(path)
        return None if number is None else self._contents.get(number, b"")

    def names(self, folder: Path) -> list[str]:
        """What would be in a folder after a power loss now."""
        number = self._find(folder)
        return [] if number is None else sorted(self._names.get(number, {}))

    def note(self, path: Path) -> None:
        """A file on disk has changed, by nobody's call."""
        self._note_file(path.stat().st_ino, path.read_bytes())

    def _find(self, path: Path) -> int | None:
        number = self._object(self._root.stat().st_ino)
        for name in path.relative_to(self._root).parts:
            found = self._names.get(number, {}).get(name)
            if found is None:
                return None
            number = found[0]
        return number

    def _synced(self, fd: int) -> None:
        path = Path(f"/proc/self/fd/{fd}")
        if path.is_dir():
            self._note_folder(path)
        else:
            self._note_file(os.fstat(fd).st_ino, path.read_bytes())

    def _note_all(self) -> None:
        for folder in [self._root, *(path for path in self._root.rglob("*") if path.is_dir())]:
            for path in folder.iterdir():
                if path.is_file():
                    self._note_file(path.stat().st_ino, path.read_bytes())
            self._note_folder(folder)

    def _note_file(self, inode: int, content: bytes) -> None:
        self._contents[self._object(inode)] = content

    def _note_folder(self, folder: Path) -> None:
        entries = [(entry.name, self._object(entry.inode()), entry.is_dir()) for entry in os.scandir(folder)]
        self._names[self._object(folder.stat().st_ino)] = {name: (number, isdir) for name, number, isdir in entries}

    def _restore(self, number: int, copy: Path) -> None:
        copy.mkdir()
        for name, (child, is_folder) in self._names.get(number, {}).items():
            if is_folder:
                self._restore(child, copy / name)
            else:
                (copy / name).write_bytes(self._contents.get(child, b""))

    def _object(self, inode: int) -> int:
        return self._objects.setdefault(inode, self._number())

    def _number(self) -> int:
        self._made += 1
        return self._made


def is_there(name: Any, folder: int | None) -> bool:
    """Whether anything has that name, of which a relative one begins at the open `folder`."""
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True
