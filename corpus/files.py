"""The files of one committed episode, by name: in its folder or in its ZIP, wherever they are by now."""

import os
from pathlib import Path
from uuid import UUID

from sensorium.corpus.commits import LOOSE_VERSION, folder_path, read_record, record_path
from sensorium.corpus.deletions import tombstone_name
from sensorium.corpus.zip_files import FLAGS, ZipFiles, Zipped
from sensorium.errors import Corrupt


class LooseFiles:
    """Files in a folder; `OSError` where one cannot be read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._prefix = f"{path}/"

    def where(self, name: str) -> str:
        return f"{self._prefix}{name}"

    def size(self, name: str) -> int:
        return os.stat(f"{self._prefix}{name}").st_size  # noqa: PTH116 - a Path for each takes as long as the call

    def read(self, name: str, offset: int, size: int) -> bytes:
        fd = os.open(f"{self._prefix}{name}", FLAGS)
        try:
            data = os.pread(fd, size, offset) if offset >= 0 else b""
        finally:
            os.close(fd)
        if len(data) != size:
            raise Corrupt(f"{self.where(name)}: cut short, {len(data)} of {size} bytes at {offset}")
        return data

    def document(self, name: str) -> bytes:
        return self.read(name, 0, self.size(name))


class EpisodeFiles:
    """The files of an episode: in a ZIP, `zipped` (bytes, CRC-32), or in a folder, as the catalog said once.

    That is where they are looked for first; where they are not, the commit record says where they are by now. So a
    reader goes on when the episode is packed meanwhile, with what it read before: a chunk is the same in both forms.
    Holds no descriptor, and may be shared by threads. `version` is the store's, as far as that is known.
    """

    def __init__(self, store: Path, episode: UUID, zipped: Zipped | None = None, version: int = LOOSE_VERSION) -> None:
        self._asked = (store, episode, zipped, version)
        self._held = self._in(zipped)

    def __reduce__(self) -> tuple[type["EpisodeFiles"], tuple[Path, UUID, Zipped | None, int]]:
        return EpisodeFiles, self._asked

    @property
    def place(self) -> str:
        """What to call the episode when something is said of it."""
        return str(self._held.path)

    def where(self, name: str) -> str:
        """What to call a file when something is said of it."""
        return self._held.where(name)

    def path(self) -> Path:
        """The folder or the ZIP, as it is now."""
        held = self._held
        try:
            held.path.stat()
        except OSError as error:
            self._fall_over(held, str(held.path), error)
            return self.path()
        return held.path

    def size(self, name: str) -> int:
        """Bytes of a file; it and the others raise `Corrupt` where it is missing, or not what was written."""
        held = self._held
        try:
            return held.size(name)
        except OSError as error:
            self._fall_over(held, held.where(name), error)
        return self.size(name)

    def read(self, name: str, offset: int, size: int) -> bytes | memoryview:
        """So many bytes of a file, whose checksums are for the caller to check."""
        held = self._held
        try:
            return held.read(name, offset, size)
        except OSError as error:
            self._fall_over(held, held.where(name), error)
        return self.read(name, offset, size)

    def document(self, name: str) -> bytes | memoryview:
        """A whole `zarr.json`."""
        held = self._held
        try:
            return held.document(name)
        except OSError as error:
            self._fall_over(held, held.where(name), error)
        return self.document(name)

    def members_of_zip(self, deep: bool) -> set[str]:
        """As `ZipFiles.check`; of a folder none."""
        return self._held.check(deep) if isinstance(self._held, ZipFiles) else set()

    def _in(self, zipped: Zipped | None) -> LooseFiles | ZipFiles:
        store, episode, _, version = self._asked
        if zipped is None:
            return LooseFiles(folder_path(store, episode))
        return ZipFiles(store, episode, zipped, version)

    def _fall_over(self, held: LooseFiles | ZipFiles, where: str, error: OSError) -> None:
        """Look in the other form from now on, if the commit record says so; else `Corrupt`, which says where it was
        deleted."""
        if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
            raise Corrupt(f"{where}: cannot be read ({error.strerror}); run `sensorium verify`") from error
        try:
            record = read_record(record_path(*self._asked[:2]))
        except OSError:
            record = None
        if record is None and (at := self._asked[0] / tombstone_name(self._asked[1])).exists():
            raise Corrupt(
                f"episode {self._asked[1]}: was deleted, {at} says by whom and why; leave it out, or query again"
            ) from error
        if record is None or record.zipped == isinstance(held, ZipFiles):
            raise Corrupt(f"{where}: missing ({error.strerror}); run `sensorium verify`") from error
        self._held = self._in(record.zip_object)
