"""What a pack did and saved, counted as it goes."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from sensorium.corpus.verify import Finding

_BLOCK = 512


class Taken(NamedTuple):
    """What is taken of a disk: inodes, and bytes of blocks."""

    inodes: int
    disk_bytes: int


@dataclass(slots=True)
class PackReport:
    """What was packed, how many inodes and bytes of disk blocks that takes with its records, before and after.

    A folder goes some time after its episode was packed: of all that were removed here, by whichever run they were
    packed, `inodes_freed` and `disk_bytes_freed`. `inodes_saved` and `disk_bytes_saved` are what the store takes less
    now; below zero as long as folders stay beside the ZIPs that were made of them. `folders_left` are those, of all
    runs, the last until `folders_left_until_utc`, and `left` are findings: what is damaged, and was left as it is.
    """

    episodes: int = 0
    inodes_before: int = 0
    inodes_after: int = 0
    disk_bytes_before: int = 0
    disk_bytes_after: int = 0
    folders_removed: int = 0
    inodes_freed: int = 0
    disk_bytes_freed: int = 0
    inodes_saved: int = 0
    disk_bytes_saved: int = 0
    folders_left: int = 0
    folders_left_until_utc: str = ""
    interrupted: bool = False
    left: list[Finding] = field(default_factory=list)

    def count_packed(self, folder: Taken, record_bytes: int, disk_bytes: int) -> None:
        """A ZIP and a record, of `disk_bytes` together, were made of a folder and a record."""
        self.episodes += 1
        self.inodes_before += folder.inodes + 1
        self.inodes_after += 2
        self.disk_bytes_before += folder.disk_bytes + record_bytes
        self.disk_bytes_after += disk_bytes
        self.inodes_saved -= 1
        self.disk_bytes_saved -= disk_bytes - record_bytes

    def count_removed(self, folder: Taken) -> None:
        """A folder is gone."""
        self.folders_removed += 1
        self.inodes_freed += folder.inodes
        self.inodes_saved += folder.inodes
        self.disk_bytes_freed += folder.disk_bytes
        self.disk_bytes_saved += folder.disk_bytes

    def count_left(self, until_utc: Iterable[str]) -> None:
        """Folders stay, each until then."""
        for until in until_utc:
            self.folders_left += 1
            self.folders_left_until_utc = max(self.folders_left_until_utc, until)


def look_at(fd: int, folder: Path) -> tuple[set[str], Taken]:
    """The files under a folder, and what it takes, itself included."""
    files, inodes, disk_bytes = set(), 0, 0
    for root, _, names, at in os.fwalk(folder, dir_fd=fd):
        inodes += 1 + len(names)
        disk_bytes += os.fstat(at).st_blocks * _BLOCK
        for name in names:
            files.add(str((Path(root) / name).relative_to(folder)))
            disk_bytes += os.stat(name, dir_fd=at, follow_symlinks=False).st_blocks * _BLOCK
    return files, Taken(inodes, disk_bytes)


def blocks(fd: int, *paths: Path) -> int:
    """Bytes of the blocks of files."""
    return sum(os.stat(path, dir_fd=fd).st_blocks for path in paths) * _BLOCK
