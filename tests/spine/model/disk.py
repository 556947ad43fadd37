"""A disk under one end of the model: it forgets what was not synced, fills and fails, and its process dies at any call.

Every call of `durable`, and every COMMIT of SQLite, is a moment at which the process may be killed or power be lost.
"""

import errno
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.forgetful_disk import CHANGES, SYNCS, ForgetfulDisk

GROWS = ("write", "writev", "pwrite", "mkdir", "link")


class Killed(BaseException):
    """The process that made the call is no more: nothing may catch this but the model."""


class Disk:
    """The disk of the folder `root`.

    `changed` is called behind each sync, and with True behind each COMMIT; `leaves` before a file loses its name.
    `calls_left`: so many calls are made before the process dies; `dies_behind`: when calls of these names were made.
    Of one that is `dead` no call has an effect. `meanwhile` is called in the middle of the next write.
    """

    def __init__(self, root: Path, changed: Callable[[bool], None], leaves: Callable[[Path], None]) -> None:
        self.root = root
        self.full = self.failing = self.dead = False
        self.calls_left: int | None = None
        self.dies_behind: list[str] = []
        self._changed, self._leaves = changed, leaves
        self.meanwhile: Callable[[], None] | None = None
        self._memory = ForgetfulDisk(root)
        self.connections: list[sqlite3.Connection] = []

    def call(self, name: str, *arguments: Any, **named: Any) -> Any:
        """A file call."""
        self._live()
        if self.failing and name in SYNCS:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        if self.full and (name in GROWS or (name == "open" and arguments[1] & os.O_CREAT)):
            if name == "writev":  # a write to a full disk may fall short, and say so only the next time
                data = b"".join(arguments[1])
                return os.write(arguments[0], data[: len(data) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if name in ("unlink", "rename"):
            self._leaves(_place(arguments[0], named))
        if name == "pwrite" and self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            meanwhile()
        result = getattr(self._memory, name)(*arguments, **named)
        self._made(name)
        if name in SYNCS:
            self._changed(False)
        return result

    def commit(self, commit: Callable[[], Any]) -> Any:
        """A COMMIT of SQLite."""
        self._live()
        if self.full:
            raise sqlite3.OperationalError("database or disk is full")
        result = commit()
        self._made("COMMIT")
        self._changed(True)
        return result

    def content(self, path: Path) -> bytes | None:
        """What a file would hold if power were lost now; None if it would not be there."""
        return self._memory.content(path)

    def names(self, folder: Path) -> list[str]:
        """What would be in a folder if power were lost now."""
        return self._memory.names(folder)

    def damage(self, path: Path, place: int) -> None:
        """A byte of a file that is on disk becomes another, unseen."""
        content = bytearray(path.read_bytes())
        content[place % len(content)] ^= 1
        path.write_bytes(content)
        self._memory.note(path)

    def after_power_loss(self, copy: Path) -> None:
        """Make `copy` hold what is left of the folder: of an SQLite file its state at the last COMMIT."""
        self._memory.after_power_loss(copy)
        for file in copy.glob("*.sqlite*"):
            file.unlink()
        for file in self.root.glob("*.sqlite"):
            with closing(sqlite3.connect(file)) as kept, closing(sqlite3.connect(copy / file.name)) as left:
                kept.backup(left)

    def let_go(self) -> None:
        """Close what the dead process had open in the folder: its locks go with it."""
        for connection in self.connections:
            connection.close()
        for entry in Path("/proc/self/fd").iterdir():
            try:
                target = entry.readlink()
                if target.is_relative_to(self.root) and ".sqlite" not in target.name:
                    os.close(int(entry.name))
            except OSError:
                continue

    def _made(self, name: str) -> None:
        if self.dies_behind[:1] == [name]:
            del self.dies_behind[0]
            self.calls_left = self.calls_left if self.dies_behind else 0

    def _live(self) -> None:
        if self.calls_left is not None:
            self.dead = self.dead or self.calls_left == 0
            self.calls_left -= 1
        if self.dead:
            raise Killed


class Disks:
    """Stands in for `os` in `durable`: each call meets the disk of the end that is `acting`."""

    def __init__(self) -> None:
        self.acting: Disk | None = None

    def __getattr__(self, name: str) -> Any:
        disk = self.acting
        if disk is None or name not in (*CHANGES, *SYNCS):
            return getattr(os, name)
        return lambda *arguments, **named: disk.call(name, *arguments, **named)

    def connect(self, *arguments: Any, **named: Any) -> sqlite3.Connection:
        """Stands in for `sqlite3.connect`: COMMITs meet the disk too."""
        disks, connect = self, _CONNECT

        class Database(sqlite3.Connection):
            def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
                if disks.acting is not None and sql.strip().upper() == "COMMIT":
                    made: sqlite3.Cursor = disks.acting.commit(lambda: sqlite3.Connection.execute(self, sql, *values))
                    return made
                return super().execute(sql, *values)

            def commit(self) -> None:
                if disks.acting is not None and self.in_transaction:
                    disks.acting.commit(lambda: sqlite3.Connection.commit(self))
                else:
                    super().commit()

        connection: sqlite3.Connection = connect(*arguments, **{"factory": Database} | named)
        if self.acting is not None:
            self.acting.connections.append(connection)
        return connection


_CONNECT: Any = sqlite3.connect


def _place(name: Any, named: dict[str, Any]) -> Path:
    """The path that a call names, relative to a descriptor or not."""
    folder = named.get("dir_fd", named.get("src_dir_fd"))
    return Path(name) if folder is None else Path(f"/proc/self/fd/{folder}").readlink() / name
