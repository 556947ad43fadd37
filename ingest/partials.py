"""Parts of episodes that an earlier run of the ingest took in: found at the start, checked, and gone on from.

Nothing of them is believed: the file is read again out of its heads and its shards, every checksum of it is checked as
when it came, and what is beyond the last record that holds is cut off. What does hold is written once more where it is,
since the sync that ought to have made it durable may have failed when nobody was there to hear of it.
"""

import logging
import threading
import uuid
from collections.abc import Callable, Set
from pathlib import Path
from typing import NamedTuple

from sensorium.episode import durable
from sensorium.errors import Corrupt, SensoriumError
from sensorium.ingest.assembly import Assembly
from sensorium.ingest.heads import SUFFIX

log = logging.getLogger(__name__)

READ_BYTES = 1 << 20
SYNC_BYTES = 256 << 20
MAX_BYTES = 64 << 30
"""More than this is not kept, the oldest goes first."""

Owner = tuple[str, str, int]


class Offered(NamedTuple):
    """What a device says of the episode of which it would go on: whose it is, how long, how often it was mended."""

    owner: Owner
    size: int
    recoveries: int


class Partials:
    """What is left in the folder `staging`, under the open folder `dir_fd`, by episode; each is taken once or removed.

    Of `committed` episodes nothing is kept, nor what has no heads.
    """

    def __init__(self, staging: Path, dir_fd: int, committed: set[str]) -> None:
        self._staging, self._dir_fd = staging, dir_fd
        self._guard = threading.Lock()
        self._found: dict[uuid.UUID, Path] = {}
        names = set(durable.names(staging, dir_fd=dir_fd))
        kept = [
            name for name in names if name + SUFFIX in names and name[:36] not in committed and self._is_folder(name)
        ]
        left = MAX_BYTES
        for _, size, name in sorted((self._age_and_size(name) for name in kept), reverse=True):
            episode = _episode(name)
            if episode is not None and episode not in self._found and size <= left:
                self._found[episode] = staging / name
                left -= size
        wanted = {path.name for path in self._found.values()}
        for name in sorted(names - wanted - {name + SUFFIX for name in wanted}):
            self._remove(staging / name)

    def __contains__(self, episode: uuid.UUID) -> bool:
        return episode in self._found

    def take(
        self, episode: uuid.UUID, offered: Offered, look: Callable[[Assembly], None] = lambda _: None
    ) -> Assembly | None:
        """What is left of an episode, checked, as far as it is of the one that is offered; None if nothing is."""
        with self._guard:
            path = self._found.pop(episode, None)
        if path is None:
            return None
        try:
            assembly = self._again(path, episode, offered, look)
        except (SensoriumError, OSError) as error:
            log.warning("what was staged of episode %s is of no use: %s; it is sent again", episode, error)
            assembly = None
        if assembly is None:
            self._remove(path)
            self._remove(path.with_name(path.name + SUFFIX))
        return assembly

    def forget(self, but: Set[uuid.UUID]) -> None:
        """Remove what nobody came for, `but` these."""
        with self._guard:
            found = [self._found.pop(episode) for episode in self._found.keys() - but]
        for path in found:
            self._remove(path)
            self._remove(path.with_name(path.name + SUFFIX))

    def _again(
        self, path: Path, episode: uuid.UUID, offered: Offered, look: Callable[[Assembly], None]
    ) -> Assembly | None:
        whole: int | None = None
        for _ in range(2):  # the second time only up to the record that did not hold
            assembly = Assembly(path, episode, look, recoveries=offered.recoveries, dir_fd=self._dir_fd, again=True)
            try:
                if assembly.staged.heads.recoveries() != offered.recoveries:
                    assembly.close()
                    return None
                records, holds = read_again(assembly, whole)
            except BaseException:
                assembly.close()
                raise
            if holds:
                return self._fitting(assembly, offered)
            assembly.close()
            whole = records
        raise Corrupt("it reads differently each time")

    @staticmethod
    def _fitting(assembly: Assembly, offered: Offered) -> Assembly | None:
        manifest = assembly.manifest
        if (
            manifest is None
            or (manifest.device, manifest.spool_id, manifest.ordinal) != offered.owner
            or assembly.accepted > offered.size
        ):
            assembly.close()
            return None
        try:
            assembly.settle()
        except BaseException:
            assembly.close()
            raise
        return assembly

    def _is_folder(self, name: str) -> bool:
        seen = durable.look(self._staging / name, dir_fd=self._dir_fd)
        return seen is not None and seen.is_folder

    def _age_and_size(self, name: str) -> tuple[int, int, str]:
        """When it began, by the id of the episode, and how much there is of it."""
        episode = _episode(name)
        return (0 if episode is None else episode.int >> 80), _bytes_in(self._staging / name, self._dir_fd), name

    def _remove(self, path: Path) -> None:
        seen = durable.look(path, dir_fd=self._dir_fd)
        if seen is not None and seen.is_folder:
            durable.remove_tree(path, dir_fd=self._dir_fd)
        else:
            durable.remove(path, dir_fd=self._dir_fd)


def read_again(assembly: Assembly, most: int | None) -> tuple[int, bool]:
    """Have an assembly take once more what an earlier run left of it, `most` records or all that are there.

    How many records are whole, and whether all that it took holds; if not, it is of no more use.
    """
    records, unsynced = 0, 0
    for head in assembly.staged.heads.kept():
        if records == most:
            break
        try:
            assembly.append(head.before)
            left = head.payload_bytes
            while left:
                part = assembly.kept(min(left, READ_BYTES))
                if not part:
                    return records, False
                assembly.append(part)
                left -= len(part)
            assembly.append(head.behind)
        except Corrupt:
            return records, False
        records += 1
        unsynced += head.payload_bytes
        if unsynced >= SYNC_BYTES:  # which closes shards that are whole
            unsynced = 0
            assembly.sync()
    return records, True


def _episode(name: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(name[:36])
    except ValueError:
        return None


def _bytes_in(folder: Path, dir_fd: int) -> int:
    size = 0
    for name in durable.names(folder, dir_fd=dir_fd):
        seen = durable.look(folder / name, dir_fd=dir_fd)
        if seen is not None:
            size += _bytes_in(folder / name, dir_fd) if seen.is_folder else seen.size
    return size
