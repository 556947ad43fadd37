"""Several new files made durable together: they take the disk, and the interpreter, little longer than one."""

import contextlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from sensorium.episode import durable, file_system
from sensorium.episode.durable import Buffer, Seen

AT_ONCE = 16
"""From so many files on one sync of the file system is less than one of each."""


def write_all(files: Iterable[tuple[Path | str, Buffer]], *, dir_fd: int | None = None) -> list[Seen | OSError]:
    """Write and sync new files, or say of each why it is not there; as of `write_synced` names are not durable yet.

    All are written before the first is waited for.
    """
    those = list(files)
    at_once = len(those) >= AT_ONCE and file_system.is_calm()
    begun = [_begin(path, data, dir_fd, early=not at_once) for path, data in those]
    if at_once and _synced_at_once(begun):
        for each in begun:
            if not isinstance(each, OSError):
                durable.close(each[0])
        return [each if isinstance(each, OSError) else each[1] for each in begun]
    return [
        each if isinstance(each, OSError) else _finish(path, *each, dir_fd)
        for (path, _), each in zip(those, begun, strict=True)
    ]


def name_all(files: Sequence[tuple[str, str]], *, dir_fd: int | None = None) -> list[OSError | bool]:
    """Give each file, which was written and synced under a temporary name, the name in its place that it is to have, if
    that is free: whether it was, or what came in between. The temporary names are gone, the others durable."""
    folders = sorted({path.rpartition("/")[0] for _, path in files})
    at_once = len(folders) >= AT_ONCE and file_system.is_calm()
    fd = durable.open_folder(Path(folders[0]), dir_fd=dir_fd) if at_once else None
    try:
        named = [_name(temporary, path, dir_fd) for temporary, path in files]
        if fd is not None and _named_at_once(fd, folders, dir_fd):
            return named
    finally:
        if fd is not None:
            durable.close(fd)
    for folder in folders:
        durable.sync_folder(Path(folder), dir_fd=dir_fd)
    return named


_Begun = tuple[int, Seen] | OSError


def _begin(path: Path | str, data: Buffer, dir_fd: int | None, *, early: bool) -> _Begun:
    try:
        fd = durable.create(path, dir_fd=dir_fd)
    except OSError as error:
        return error
    try:
        seen = Seen(durable.identity(fd), len(data), False)  # asked for behind a sync, that takes ten times as long
        durable.write_at(fd, data, 0)
        if early:
            durable.begin_sync(fd)
    except OSError as error:
        durable.close(fd)
        return _without(path, error, dir_fd)
    return fd, seen


def _synced_at_once(begun: Sequence[_Begun]) -> bool:
    """Whether all of them are on disk by one sync. Where not each is to be asked for itself, which has its own error.

    By the file that was opened first: what failed since then is told once to each that is open.
    """
    there = [each for each in begun if not isinstance(each, OSError)]
    if not there or len({seen.id.device for _, seen in there}) > 1 or not file_system.is_trusted(there[0][0]):
        return False
    try:
        durable.sync_file_system(there[0][0])
    except OSError:
        return False
    return True


def _named_at_once(fd: int, folders: Sequence[str], dir_fd: int | None) -> bool:
    """Whether all names in these folders are on disk by one sync; `fd`, one of them, was opened before the first."""
    seen = [durable.look(folder, dir_fd=dir_fd) for folder in folders]
    if len({None if each is None else each.id.device for each in seen}) > 1 or not file_system.is_trusted(fd):
        return False
    try:
        durable.sync_file_system(fd)
    except OSError:
        return False
    return True


def _finish(path: Path | str, fd: int, seen: Seen, dir_fd: int | None) -> Seen | OSError:
    try:
        durable.sync(fd)
        return seen
    except OSError as error:
        return _without(path, error, dir_fd)
    finally:
        durable.close(fd)


def _without(path: Path | str, error: OSError, dir_fd: int | None) -> OSError:
    """The error, once the file that it left is removed: it must not take the room that the next try needs."""
    with contextlib.suppress(OSError):
        durable.remove(path, dir_fd=dir_fd)
    return error


def _name(temporary: str, path: str, dir_fd: int | None) -> OSError | bool:
    try:
        durable.link(temporary, path, dir_fd=dir_fd)
        return True
    except FileExistsError:
        return False
    except OSError as error:
        return error
    finally:
        durable.remove(temporary, dir_fd=dir_fd)
