"""The folder of a store as its one writer holds it: by descriptor, by its lock, and compared with its name."""

import contextlib
import errno
import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
from sqlalchemy.exc import SQLAlchemyError

from sensorium.corpus.catalog_reading import CATALOG
from sensorium.corpus.commits import EPISODES, LOOSE_VERSION, WRITER_LOCK, ZIP_VERSION, check_store_version
from sensorium.episode import durable
from sensorium.episode.layout import group
from sensorium.episode.locking import take_lock
from sensorium.episode.remedy import FULL, no_file_opens, remedy
from sensorium.errors import SensoriumError, StoreError

COMMITS, STAGING, QUARANTINE, LOCK = Path("commits"), Path(".staging"), Path("quarantine"), Path(WRITER_LOCK)
EPISODES_FOLDER, REQUESTS = Path(EPISODES), Path("requests")
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
_NO_LINKS = (errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP)
_NO_SYNC = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)


class StoreAway(StoreError):
    """What the store's name leads to is not the store that was opened; nothing is committed until it is again."""


class StoreHeld(StoreError):
    """Another process has the store's lock."""


class StoreFolder:
    """The folder `path` of a store, made where it is missing, held until `close`.

    `fd` is the folder whatever becomes of its name: from here on nothing above it is looked at to write, or made. All
    that is published is compared with what the name leads to by then. A disk that was taken away and is back, mounted
    anew, is known again by what the lock file says, and `fd` is then the folder on it; `returns` counts that.

    Raises:
        StoreError: another process writes it, it is of another version, or the folder holds something else.
    """

    def __init__(self, path: Path) -> None:
        if path.exists() and not path.is_dir():
            raise StoreError(f"{path}: not a folder; give the folder of a store, or one to make")
        known = {EPISODES, CATALOG, f"{CATALOG}-wal", f"{CATALOG}-shm"}
        known |= {folder.name for folder in (COMMITS, STAGING, QUARANTINE, LOCK)}
        if (
            path.is_dir()
            and (others := sorted({entry.name for entry in path.iterdir()} - known))
            and not (path / EPISODES).is_dir()
        ):
            root = path / EPISODES
            if root.exists() or root.is_symlink():
                raise StoreError(f"{root}: not a folder; if this is a store, put back what was there")
            raise StoreError(f"{path}: not a store, it holds {others[0]!r}; give an empty or a new folder")
        self.path = path
        self.returns = 0
        self._version = LOOSE_VERSION
        self._checked_s = 0.0
        self._name = path.absolute()  # or it would lead into a working folder that was moved itself
        self._guard = threading.RLock()
        with _folders_synced(path):
            durable.make_folder(path)
        self.fd = durable.open_folder(path)
        try:
            self._lock = _locked(path, self.fd)
        except BaseException:
            durable.close(self.fd)
            raise
        try:
            with _folders_synced(path):
                self._prepare()
            self._mark = _write_mark(self._lock)
            self._held = self._look(self.fd)
            self.check()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the folder and the lock."""
        durable.close(self.fd)
        durable.close(self._lock)

    def check(self, known_s: float = 0.0) -> None:
        """Raise `StoreAway` unless the store's name leads to what is held here, or did so within the last `known_s`."""
        if not known_s or time.monotonic() - self._checked_s > known_s:
            with self._by_name():
                pass

    def raise_version(self) -> None:
        """Make the store one that may hold ZIPs, durably; it is once and for all."""
        with self._guard:
            if self._version >= ZIP_VERSION:
                return
            root = EPISODES_FOLDER / "zarr.json"
            document = msgspec.json.decode(durable.read_whole(root, dir_fd=self.fd))
            document["attributes"]["sensorium"]["format_version"] = ZIP_VERSION
            durable.replace(root, STAGING / "new-root", [[msgspec.json.encode(document)]], dir_fd=self.fd)
            self._version = ZIP_VERSION

    def unlike(self, folder: Path, files: Mapping[str, durable.Seen]) -> list[str]:
        """Those of the `files` in a `folder` of the store that by their names are not what they were seen to be;
        `StoreAway` as for `check`."""
        with self._by_name() as fd:
            try:
                at = durable.open_folder(folder, dir_fd=fd)
            except FileNotFoundError:
                return list(files)
            try:
                return [path for path, seen in files.items() if durable.look(path, dir_fd=at) != seen]
            finally:
                durable.close(at)

    @contextlib.contextmanager
    def _by_name(self) -> Iterator[int]:
        """The folder that the store's name leads to, opened anew, once it is known to be this one."""
        with self._guard:
            try:
                fd = durable.open_folder(self._name)
            except (FileNotFoundError, NotADirectoryError) as error:
                raise StoreAway(
                    f"{self.path}: the store that was opened here is gone: moved, removed, or its disk is away;"
                    " put it back, and delivery goes on"
                ) from error
            try:
                now = self._look(fd)
                if now != self._held:
                    self._take_back(fd, now)
                seen = durable.look(LOCK, dir_fd=fd)
                if seen is None or seen.id != durable.identity(self._lock):
                    self._lock_again(fd)
                self._checked_s = time.monotonic()
                yield fd
            finally:
                durable.close(fd)

    def _prepare(self) -> None:
        """Make what is missing in the folder; what is there already is not written again, or a full disk cannot be
        opened to make room on it."""
        root = EPISODES_FOLDER / "zarr.json"
        known = durable.look(root, dir_fd=self.fd) is not None
        if known:
            self._version = check_store_version(self.path)
        for folder in (EPISODES_FOLDER, COMMITS, STAGING, QUARANTINE):
            durable.make_folder(folder, dir_fd=self.fd)
        self._check_file_system()
        if not known:
            about = group({"sensorium": {"format_version": LOOSE_VERSION}})
            durable.publish(root, msgspec.json.encode(about), STAGING, dir_fd=self.fd)

    def _check_file_system(self) -> None:
        """Refuse before anything is taken in what no commit would ever get over."""
        probe = f"new-{secrets.token_hex(8)}"
        at = Path()
        try:
            durable.link(LOCK, STAGING / probe, dir_fd=self.fd)
            for at in (EPISODES_FOLDER, COMMITS):  # mounts of one disk are told from one another by this alone
                durable.rename(STAGING / probe, at / probe, dir_fd=self.fd)
                durable.rename(at / probe, STAGING / probe, dir_fd=self.fd)
        except OSError as error:
            if not durable.is_file(LOCK, dir_fd=self.fd):
                raise StoreError(f"{self.path / LOCK}: no file ({error.strerror}); remove it") from error
            if error.errno == errno.EXDEV:
                raise StoreError(
                    f"{self.path / STAGING}: not on the same disk, or mount, as {self.path / at}; episodes go from one"
                    " to the other by name alone: put the whole store on one disk"
                ) from error
            if error.errno in _NO_LINKS:
                raise _unfit(self.path, "hard links") from error
            if error.errno not in FULL:
                raise
        durable.remove(STAGING / probe, dir_fd=self.fd)
        durable.sync_folder(STAGING, dir_fd=self.fd)

    def _look(self, fd: int) -> dict[str, durable.FileId | None]:
        """The folders that commits hang on, as they are under `fd`."""
        seen = {folder.name: durable.look(folder, dir_fd=fd) for folder in (EPISODES_FOLDER, COMMITS)}
        return {"": durable.identity(fd)} | {name: each and each.id for name, each in seen.items()}

    def _take_back(self, fd: int, now: dict[str, durable.FileId | None]) -> None:
        """Hold from now on what the name leads to, if it is the same folder on a disk that was mounted anew."""
        if now[""] == self._held[""]:
            moved = next(name for name, each in now.items() if each != self._held[name])
            raise StoreAway(
                f"{self.path / moved}: not the folder that it was when the store was opened;"
                " put that back, and delivery goes on, or restart the ingest to go on with this one"
            )
        inodes = [[each and each.inode for each in seen.values()] for seen in (now, self._held)]
        if inodes[0] != inodes[1] or not self._mark or _mark(fd) != self._mark:
            raise StoreAway(
                f"{self.path}: another folder is in the place of the store that was opened here;"
                " put that back, and delivery goes on, or restart the ingest to write this one"
            )
        self._lock_again(fd)
        os.dup2(fd, self.fd, inheritable=False)
        self._held = now
        self.returns += 1

    def _lock_again(self, fd: int) -> None:
        """Hold the lock file that is there now; the one that was held is there no more."""
        try:
            lock = _locked(self.path, fd)
        except StoreError as error:
            raise StoreAway(str(error)) from error
        self._mark = _write_mark(lock)
        os.dup2(lock, self._lock, inheritable=False)
        durable.close(lock)


def _locked(path: Path, fd: int) -> int:
    """The lock file under the open folder `fd` of the store at `path`, locked."""
    lock = durable.reopen(LOCK, dir_fd=fd)
    try:
        if not take_lock(lock, patient=True):
            raise StoreHeld(f"{path}: another ingest writes this store; stop it, or give another folder")
    except OSError as error:
        durable.close(lock)
        raise (_unfit(path, "locks") if error.errno in _NO_LOCKS else error) from error
    except StoreHeld:
        durable.close(lock)
        raise
    return lock


def _write_mark(lock: int) -> bytes:
    """Write into the lock file which run of an ingest holds it; b"" where that cannot be written."""
    mark = secrets.token_hex(16).encode()
    try:
        durable.write_at(lock, mark, 0)
        durable.sync(lock)
    except OSError:  # a full disk: then a restart is needed once it was away
        return b""
    return mark


def _mark(fd: int) -> bytes:
    try:
        return durable.read_whole(LOCK, dir_fd=fd)
    except FileNotFoundError:
        return b""


@contextlib.contextmanager
def _folders_synced(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise (_unfit(path, "folders that can be synced") if error.errno in _NO_SYNC else error) from error


def _unfit(path: Path, lacks: str) -> StoreError:
    return StoreError(f"{path}: this file system has no {lacks}, which a store needs; put it on ext4, xfs, btrfs, ...")


@contextlib.contextmanager
def store_errors(path: Path) -> Iterator[None]:
    """What the file system or the catalog raises becomes a `StoreError` with the next step."""
    try:
        yield
    except SensoriumError:
        raise
    except OSError as error:
        where = path / error.filename if isinstance(error.filename, str | os.PathLike) else path
        raise StoreError(f"{where}: {error.strerror or error}; {remedy(error)}, then try again") from error
    except SQLAlchemyError as error:
        why = str(error).splitlines()[0]
        if (short := no_file_opens()) is not None:
            raise StoreError(f"{path / CATALOG}: {short.strerror}; {remedy(short)}, then try again") from error
        if getattr(getattr(error, "orig", None), "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            raise StoreError(f"{path / CATALOG}: no space left for it; make room, then try again") from error
        raise StoreError(f"{path / CATALOG}: {why}; see to the disk, or run `sensorium rebuild-catalog`") from error


def told(error: Exception, path: Path) -> Exception:
    """What `store_errors` would raise of it."""
    try:
        with store_errors(path):
            raise error
    except Exception as known:
        return known
