"""The folder of one arriving episode, held by descriptor, and the heads beside it: what a later run can go on from."""

import contextlib
from collections.abc import Collection
from pathlib import Path

from sensorium.episode import durable
from sensorium.ingest.heads import SUFFIX, Heads


class StagedFolder:
    """`path`, under the open folder `dir_fd`, until it is `moved` into the store; what is in it is under `fd`.

    Whatever is done to its name, nothing is written anywhere else. It is made by `make`, before which there is nothing
    of it on disk, unless it is there `again` from an earlier run.
    """

    def __init__(self, path: Path, recoveries: int, dir_fd: int | None = None, again: bool = False) -> None:
        self.path = path
        self.again = again
        self.moved = False
        self.fd = -1
        self.id: durable.FileId | None = None
        self._dir_fd = dir_fd
        self._named = 0
        self.heads = Heads(path.with_name(path.name + SUFFIX), recoveries, dir_fd, again)
        if again:
            self._open()

    @property
    def made(self) -> bool:
        """Whether it is on disk."""
        return self.id is not None

    def make(self) -> None:
        """Have it on disk."""
        durable.add_folder(self.path, dir_fd=self._dir_fd)
        self._open()

    def _open(self) -> None:
        try:
            self.fd = durable.open_folder(self.path, dir_fd=self._dir_fd)
            self.id = durable.identity(self.fd)
        except BaseException:
            self.close()
            raise

    @property
    def is_there(self) -> bool:
        """Whether its name still leads to it."""
        seen = durable.look(self.path, dir_fd=self._dir_fd)
        return seen is not None and seen.id == self.id

    def move(self, target: Path) -> None:
        """Give it its name in the store; its descriptor stays good until `close`."""
        durable.rename(self.path, target, dir_fd=self._dir_fd)
        self.moved = True

    def sync(self, files: Collection[Path]) -> None:
        """Make durable what a later run needs beside the `files`, which are: their names, and the heads."""
        if not self.heads.begun:
            return
        if self._named != len(files):
            for folder in {parent for path in files for parent in path.parents}:
                durable.sync_folder(folder, dir_fd=self.fd)
            durable.sync_folder(self.path.parent, dir_fd=self._dir_fd)
            self._named = len(files)
        self.heads.sync()

    def close(self) -> None:
        """Let go of it; twice is no error."""
        self.heads.close()
        if self.fd >= 0:
            durable.close(self.fd)
            self.fd = -1

    def remove(self) -> None:
        """Close it, and remove it unless it was moved; what cannot be removed is left to the next start."""
        self.close()
        with contextlib.suppress(OSError):
            self.heads.remove()
        if self.made and not self.moved:
            with contextlib.suppress(OSError):
                durable.remove_tree(self.path, dir_fd=self._dir_fd)
