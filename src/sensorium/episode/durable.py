"""The file calls that durability hangs on: what is written, synced, named and removed, on the device and in the store.

What spool and store must find again after power loss they touch by these functions, and these by the `os` of this
module alone: another disk can stand there, say one that forgets what was not synced. A call that fails raises its
`OSError`.

`dir_fd`, as in `os`, is an open folder that relative paths begin at, whatever it is called by now: nothing above it is
looked at, and nothing above it is ever made.
"""

import contextlib
import errno
import os
import stat
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from sensorium.episode import file_system

Buffer = bytes | bytearray | memoryview
NOWHERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
"""What is said of a name behind which there is nothing."""


class FileId(NamedTuple):
    """Which file or folder it is, whatever it is called: as long as it is there no other has the same."""

    device: int
    inode: int


class Seen(NamedTuple):
    """What a name leads to."""

    id: FileId
    size: int
    is_folder: bool


# -- open files: the caller keeps the descriptor -----------------------------------------------------------------------


def create(path: Path | str, *, appending: bool = False, dir_fd: int | None = None) -> int:
    """A new file; its name is durable once its folder is synced. `appending`: for `append`, else for `write_at`."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | (os.O_APPEND if appending else 0)
    return os.open(path, flags, 0o644, dir_fd=dir_fd)


def reopen(path: Path, *, dir_fd: int | None = None) -> int:
    """A file as it is, for `write_at`; made if it is not there."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644, dir_fd=dir_fd)


def open_folder(path: Path | str, *, dir_fd: int | None = None) -> int:
    """A folder, to be the `dir_fd` of what is in it."""
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=dir_fd)


def append(fd: int, buffers: Sequence[Buffer], end: int) -> int:
    """Append `buffers` whole to a file that ends at `end`, or leave it as it is; the number of bytes.

    One that failed may not even have been able to take back what it wrote: `cut` it before anything else is appended.
    """
    size = sum(map(len, buffers))
    try:
        done = os.writev(fd, buffers)
        while done < size:  # short without an error: a full disk says so only at the next write
            done += _some(os.write(fd, b"".join(buffers)[done:]))
    except OSError:
        os.ftruncate(fd, end)
        raise
    return size


def write_at(fd: int, data: Buffer, offset: int) -> None:
    """Write all of `data` at `offset`."""
    size, done = len(data), 0
    while done < size:
        done += _some(os.pwrite(fd, memoryview(data)[done:] if done else data, offset + done))


def read_at(fd: int, size: int, offset: int) -> bytes:
    """Up to `size` bytes from `offset`; fewer only at the file's end."""
    return os.pread(fd, size, offset)


def cut(fd: int, size: int) -> None:
    """Make a file end at `size`."""
    os.ftruncate(fd, size)


def sync(fd: int) -> None:
    """Make durable what was written. After it failed the kernel may call lost pages clean: only reading back tells."""
    os.fdatasync(fd)


def sync_file_system(fd: int) -> None:
    """Make durable all that was written to the file system that `fd` is on, names too; what of it failed since `fd` was
    opened is raised, whoever wrote it."""
    getattr(os, "syncfs", file_system.sync)(fd)


def begin_sync(fd: int) -> None:
    """Have the disk begin with what was written, so that of several files each `sync` waits for little."""
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)


def forget_cached(fd: int) -> None:
    """What is read next is what the disk holds, as far as it can be had."""
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)


def identity(fd: int) -> FileId:
    """Which file or folder is open there."""
    about = os.fstat(fd)
    return FileId(about.st_dev, about.st_ino)


def close(fd: int) -> None:
    os.close(fd)


# -- names: durable once `sync_folder` returned ------------------------------------------------------------------------


def look(path: Path | str, *, dir_fd: int | None = None) -> Seen | None:
    """What has that name now; None if nothing has, or a link that leads nowhere."""
    try:
        about = os.stat(path, dir_fd=dir_fd)
    except OSError as error:
        if error.errno in NOWHERE:
            return None
        raise
    return Seen(FileId(about.st_dev, about.st_ino), about.st_size, stat.S_ISDIR(about.st_mode))


def changed_ns(folder: Path | str, *, dir_fd: int | None = None) -> int:
    """When a name in a folder was made or removed last, by this machine's clock; 0 where there is no such folder."""
    try:
        return os.stat(folder, dir_fd=dir_fd).st_mtime_ns
    except (FileNotFoundError, NotADirectoryError):
        return 0


def names(folder: Path, *, dir_fd: int | None = None) -> list[str]:
    """The names in a folder, sorted."""
    fd = open_folder(folder, dir_fd=dir_fd)
    try:
        return sorted(os.listdir(fd))
    finally:
        os.close(fd)


def is_file(path: Path | str, *, dir_fd: int | None = None) -> bool:
    """Whether that is the name of a file; whoever opens a pipe waits for its other end."""
    try:
        return stat.S_ISREG(os.stat(path, dir_fd=dir_fd).st_mode)
    except OSError as error:
        if error.errno in NOWHERE:
            return False
        raise


def read_whole(path: Path | str, *, dir_fd: int | None = None) -> bytes:
    """All that a file holds; what is none is not waited for."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=dir_fd)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "not a file", str(path))
        parts, offset = [], 0
        while part := os.pread(fd, 1 << 20, offset):
            parts.append(part)
            offset += len(part)
    finally:
        os.close(fd)
    return b"".join(parts)


def rename(source: Path | str, target: Path | str, *, dir_fd: int | None = None) -> None:
    """Give a file or a folder another name; a file that has that name is no more."""
    os.rename(source, target, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)


def link(source: Path | str, target: Path | str, *, dir_fd: int | None = None) -> None:
    """Give a file one more name, which must be free."""
    os.link(source, target, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)


def remove(path: Path | str, *, dir_fd: int | None = None) -> None:
    """Remove a file's name, if it is there."""
    try:
        os.unlink(path, dir_fd=dir_fd)
    except FileNotFoundError:
        return


def remove_tree(folder: Path | str, *, dir_fd: int | None = None) -> None:
    """Remove a folder's name, if it is there, and all that is in it; no link in it is followed."""
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
    except FileNotFoundError:
        return
    try:
        for name in os.listdir(fd):
            if stat.S_ISDIR(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode):
                remove_tree(Path(name), dir_fd=fd)
            else:
                os.unlink(name, dir_fd=fd)
    finally:
        os.close(fd)
    os.rmdir(folder, dir_fd=dir_fd)


def sync_folder(folder: Path | str, *, dir_fd: int | None = None) -> None:
    """Make the names in `folder` durable."""
    fd = open_folder(folder, dir_fd=dir_fd)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_file(path: Path, *, dir_fd: int | None = None) -> None:
    """Make durable what a file holds, whoever wrote it: of a process that was killed it may be in memory alone."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=dir_fd)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def new_folder(folder: Path | str, *, dir_fd: int | None = None) -> None:
    """Make a folder whose name is free; that is durable once its parent is synced."""
    os.mkdir(folder, dir_fd=dir_fd)


def add_folder(folder: Path, *, dir_fd: int | None = None) -> None:
    """Make a folder, and its parents, where they are missing."""
    if _is_folder(folder, dir_fd):
        return
    add_folder(folder.parent, dir_fd=dir_fd)
    try:
        os.mkdir(folder, dir_fd=dir_fd)
    except FileExistsError:
        if not _is_folder(folder, dir_fd):
            raise


# -- whole changes: durable when they return ---------------------------------------------------------------------------


def make_folder(folder: Path, *, dir_fd: int | None = None) -> None:
    """Make a folder, and its parents, where they are missing."""
    if _is_folder(folder, dir_fd):
        return
    make_folder(folder.parent, dir_fd=dir_fd)
    add_folder(folder, dir_fd=dir_fd)
    try:
        sync_folder(folder.parent, dir_fd=dir_fd)
    except OSError:
        with contextlib.suppress(OSError):
            os.rmdir(folder, dir_fd=dir_fd)  # the next call would take its name for durable
        raise


def write_synced(path: Path, data: Buffer, *, dir_fd: int | None = None) -> FileId:
    """Write and sync a file; of this, its name alone is durable only once its folder is synced."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644, dir_fd=dir_fd)
    try:
        write_at(fd, data, 0)
        os.fsync(fd)
        return identity(fd)
    finally:
        os.close(fd)


def publish(path: Path, data: Buffer, staging: Path, *, dir_fd: int | None = None) -> FileId | None:
    """Make `path` hold `data`, unless it exists: nobody ever sees part of it. The file, if this made it.

    `link` is used and not `rename`, so that of two writers the second does not replace the first's file.
    """
    temporary = staging / f"new-{uuid.uuid4().hex}"
    made: FileId | None
    try:
        made = write_synced(temporary, data, dir_fd=dir_fd)
        link(temporary, path, dir_fd=dir_fd)
    except FileExistsError:
        made = None
    finally:
        remove(temporary, dir_fd=dir_fd)
    sync_folder(path.parent, dir_fd=dir_fd)
    return made


def replace(path: Path, temporary: Path, pieces: Iterable[Sequence[Buffer]], *, dir_fd: int | None = None) -> int:
    """Make `path` hold `pieces`, one after the other, instead of what it held; the number of bytes.

    Where that fails `path` is whole all the same: as it was, or as it should be.
    """
    remove(temporary, dir_fd=dir_fd)
    try:
        fd, size = create(temporary, appending=True, dir_fd=dir_fd), 0
        try:
            for buffers in pieces:
                size += append(fd, buffers, size)
            os.fsync(fd)
        finally:
            os.close(fd)
        rename(temporary, path, dir_fd=dir_fd)
    except OSError:  # it must not take the room that the next try needs
        with contextlib.suppress(OSError):
            remove(temporary, dir_fd=dir_fd)
        raise
    sync_folder(path.parent, dir_fd=dir_fd)
    return size


def replace_tail(path: Path, tail: Buffer, offset: int) -> None:
    """Make a file that is there end with `tail` at `offset`; where that fails it ends at `offset`."""
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.ftruncate(fd, offset)
        try:
            write_at(fd, tail, offset)
            os.fsync(fd)
        except OSError:
            os.ftruncate(fd, offset)
            raise
    finally:
        os.close(fd)


def add_line(path: Path, line: bytes, *, dir_fd: int | None = None) -> None:
    """Add a line to a file of lines, which is made if it is not there.

    The newline comes first: behind a line that a crash tore, this one still stands alone.
    """
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644, dir_fd=dir_fd)
    try:
        append(fd, [b"\n", line], os.fstat(fd).st_size)
        os.fsync(fd)
    finally:
        os.close(fd)
    sync_folder(path.parent, dir_fd=dir_fd)


def _is_folder(path: Path, dir_fd: int | None) -> bool:
    seen = look(path, dir_fd=dir_fd)
    return seen is not None and seen.is_folder


def _some(written: int) -> int:
    if not written:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return written
