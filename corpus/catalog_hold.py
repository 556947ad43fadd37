"""The file of a catalog as its one writer holds it: which one it is, what becomes of it, connections to it alone."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from sensorium.corpus.catalog_files import FileIds, beside_of, is_damage, no_file, remove_aside, remove_files, set_aside
from sensorium.corpus.catalog_reading import LOCKED_S
from sensorium.episode import durable
from sensorium.errors import StoreError

WHOLE_BYTES = 256 << 20
"""Up to this size a catalog is looked through in a second."""
_LAST_ROWS = 20
"""So many rows of each table are tried first."""
TOLD = "device, spool_id, oldest, next_ordinal"
"""What devices said last of their ordinals, which no other file of the store has: the columns of `spools`."""


class CatalogHold:
    """The catalog at `path`. Where the open folder `dir_fd` is given the file is the one in there: SQLite opens it by
    its path all the same, and is told to make none.

    `take` it, have its tables made over a connection, and `keep` it; from then on `loss` says what has become of it.
    """

    def __init__(self, path: Path, dir_fd: int | None = None) -> None:
        self._path = path
        self._name = path if dir_fd is None else Path(path.name)
        self._dir_fd = dir_fd
        self._file: durable.FileId | None = None
        self._beside: FileIds | None = None
        self._anchor: sqlite3.Connection | None = None
        self._damage = ""

    def take(self) -> None:
        """Hold the file that has the name, or make an empty one.

        Raises:
            StoreError: what has the name is no file.
        """
        if (other := no_file(self._name, self._dir_fd)) is not None:
            self._damage = f"{other} is no file"
            raise StoreError(f"{self._path}: {self._damage}; remove that")
        # One that is there is not opened here: when that was closed SQLite would lose its locks on it.
        if (seen := durable.look(self._name, dir_fd=self._dir_fd)) is not None:
            self._file = seen.id
        else:
            fd = durable.create(self._name, dir_fd=self._dir_fd)
            self._file = durable.identity(fd)
            durable.close(fd)

    def keep(self) -> None:
        """Have one connection open until it is let go: so long the log stays the file that it is, and what is written
        stays to be had by name."""
        with self.noting():
            self._anchor = self.connect()
            self._anchor.execute("SELECT value FROM about").fetchall()
        self._beside = beside_of(self._name, self._dir_fd)

    def let_go(self) -> None:
        """Close that connection; what is opened then may have another log."""
        anchor, self._anchor, self._beside, self._damage = self._anchor, None, None, ""
        if anchor is not None:
            with suppress(sqlite3.Error):
                anchor.close()

    def disown(self) -> None:
        """What has the name does not pass for the catalog any more: it `was gone`."""
        self._file = None

    @property
    def is_damaged(self) -> bool:
        """Whether what it holds was found to be no catalog."""
        return bool(self._damage)

    @property
    def loss(self) -> str:
        """What has become of it that leaves but to make it again; empty while it is as it was opened.

        Of a file that was emptied its log alone is left, which no reader understands. Where the log is gone, or another
        has its name, who opens the catalog now finds nothing of what is written into the one that is open here.
        """
        if self._damage:
            return self._damage
        seen = durable.look(self._name, dir_fd=self._dir_fd)
        if seen is None or seen.id != self._file:
            return "was gone"
        if not seen.size:
            return "was emptied"
        return "" if self._has_its_log() else "its -wal or -shm was gone"

    @contextmanager
    def noting(self) -> Iterator[None]:
        """What is found damaged is remembered, as its `loss`."""
        try:
            yield
        except (SQLAlchemyError, sqlite3.Error) as error:
            if is_damage(error):
                self._damage = f"is damaged ({getattr(error, 'orig', None) or error})"
            raise

    def try_reading(self, *, whole: bool) -> None:
        """See whether who opens it now can read it: what was written last, or the `whole`, if it is no larger than
        `WHOLE_BYTES`. If not, that is its `loss`; what else is in the way, say a lock, is met by who needs it."""
        with suppress(SQLAlchemyError, sqlite3.Error, StoreError, OSError), self.noting():
            seen = durable.look(self._name, dir_fd=self._dir_fd)
            whole = whole and seen is not None and seen.size <= WHOLE_BYTES
            with closing(self.connect()) as connection:
                for table in ("episodes", "documents"):
                    connection.execute(f"SELECT * FROM {table} ORDER BY id DESC LIMIT {_LAST_ROWS}").fetchall()
                connection.execute(f"SELECT {TOLD} FROM spools").fetchall()
                said = connection.execute("PRAGMA quick_check(1)").fetchone()[0] if whole else "ok"
            if said != "ok":
                self._damage = f"is damaged ({said.splitlines()[-1]})"

    def told(self) -> list[tuple[str, str, int, int]]:
        """`TOLD`, of each spool, as long as it can be believed."""
        if self._damage or self._anchor is None:
            return []
        try:
            return self._anchor.execute(f"SELECT {TOLD} FROM spools").fetchall()
        except sqlite3.Error:
            return []

    def connect(self) -> sqlite3.Connection:
        """A connection to the file that is held; SQLite would make another where it is gone.

        Raises:
            StoreError: it is gone, or another is in its place.
        """
        uri = f"{self._path.absolute().as_uri()}?mode=rw"
        seen = durable.look(self._name, dir_fd=self._dir_fd)
        if seen is None or seen.id != self._file or not self._has_its_log():
            raise StoreError(f"{self._path}: the catalog that was opened here is gone; it is made again")
        connection = sqlite3.connect(uri, uri=True, timeout=LOCKED_S, check_same_thread=False)
        try:
            with closing(connection.cursor()) as cursor:
                cursor.execute("pragma journal_mode = wal")
                cursor.execute("pragma synchronous = full")
            seen = durable.look(self._path)
            if seen is None or seen.id != self._file:
                raise StoreError(f"{self._path}: not the catalog that was opened here; put the store back")
        except BaseException:
            connection.close()
            raise
        return connection

    def set_aside(self) -> Path | None:
        """Give its files other names, by which SQLite still opens them; which, None where there is none any more.

        While it is kept, or SQLite would fold its log into it.
        """
        return set_aside(self._name, self._dir_fd)

    def remove(self) -> None:
        """Remove its files."""
        remove_files(self._name, self._dir_fd)

    def remove_aside(self) -> None:
        """Remove what was set aside."""
        remove_aside(self._name, self._dir_fd)

    def _has_its_log(self) -> bool:
        return self._beside is None or self._beside == beside_of(self._name, self._dir_fd)
