"""Episodes of a store that was made beside one, taken over into it: checked, and given a second name, in short turns.

Of their bytes nothing is written again: each file is linked, once all of it is what its commit record says. The name
that it had goes behind the commit, so what is cut off anywhere is gone on with. Nothing outside the folder is read, and
no link in it is followed, whoever made it.
"""

import contextlib
import logging
import os
import re
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from sensorium.corpus.between import SUFFIX, decode_between
from sensorium.corpus.catalog import Catalog, check_row
from sensorium.corpus.commits import folder_path, record_name, zip_name
from sensorium.corpus.filling import decode_discards
from sensorium.corpus.verify import Finding
from sensorium.drivers.stream import check_name
from sensorium.episode import durable, together
from sensorium.episode.durable import FileId
from sensorium.errors import ConfigError, Corrupt, PeerViolation, SensoriumError, StoreError
from sensorium.ingest.beneath import forget, names_beneath, open_beneath, open_folder_beneath, read_beneath
from sensorium.ingest.between import MAX_BYTES, keep_between
from sensorium.ingest.coming import Coming, LeftOut, coming_of, make_known, owner, put_away, remove_orphans, state_there
from sensorium.ingest.commit import Committer
from sensorium.ingest.packing import Alone
from sensorium.ingest.store_folder import COMMITS, STAGING, StoreFolder

log = logging.getLogger(__name__)

TURN_S, BATCH = 0.05, 16
"""So long it checks, and about so many files it then commits, before anything else has its turn."""
MAX_RECORD_BYTES = 16 << 20
_PART_BYTES = 1 << 20
_RECORD = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.json")
_DISCARDED = f"{COMMITS}/discarded"
_IMPORT = "import it again"


@dataclass(slots=True)
class TakenOver:
    """How many episodes were taken over, and what was left, with why."""

    episodes: int = 0
    left: list[Finding] = field(default_factory=list)


class _Checked(NamedTuple):
    """An episode that is what its record says, and the files that are."""

    coming: Coming
    files: dict[str, FileId]


class _Side(NamedTuple):
    """The folder of the other store: open, and its name under this one."""

    fd: int
    name: Path


def taking_over(
    store: StoreFolder,
    commits: Committer,
    catalog: Catalog,
    folder: Path,
    report: TakenOver,
    alone: Alone = lambda those: contextlib.nullcontext(list(those)),
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[None]:
    """Take over what is in the store `folder`, by its name under `store`: a turn of it with each `next`.

    `alone(those)` is entered while these episodes are committed: it gives those of them that nobody else is at.
    An episode that is not what was committed is left, and named. After an error it may be begun again.
    """
    side = _Side(open_folder_beneath(store.fd, str(folder)), folder)
    try:
        names = list(_records(side.fd))
        remove_orphans(store, {Path(name).stem for name in names})
        ready: list[_Checked] = []
        end_s = clock() + TURN_S
        for name in names:
            try:
                if (coming := _wanted(store, commits, catalog, side, name)) is None:
                    report.episodes += 1
                else:
                    files: dict[str, FileId] = {}
                    for _ in _checking(side, coming, files):
                        if clock() >= end_s:
                            yield
                            end_s = clock() + TURN_S
                    ready.append(_Checked(coming, files))
            except LeftOut as left:
                report.left.append(left.finding)
            if clock() >= end_s or sum(len(each.files) for each in ready) >= BATCH:
                _commit(store, commits, catalog, side, ready, report, alone)
                ready.clear()
                yield
                end_s = clock() + TURN_S
        _commit(store, commits, catalog, side, ready, report, alone)
        _take_discards(store, catalog, side)
    finally:
        durable.close(side.fd)


def _records(fd: int) -> Iterator[str]:
    """The names of commit records, the oldest first; what stands where none belongs is none."""
    for month in names_beneath(fd, str(COMMITS)):
        for name in names_beneath(fd, f"{COMMITS}/{month}"):
            if _RECORD.fullmatch(name):
                yield f"{COMMITS}/{month}/{name}"


def _wanted(store: StoreFolder, commits: Committer, catalog: Catalog, side: _Side, name: str) -> Coming | None:
    """The episode of a commit record, unless it is in the store by now, or was and is deleted."""
    at = store.path / side.name / name
    try:
        data = read_beneath(side.fd, name, MAX_RECORD_BYTES)
    except OSError as error:
        raise LeftOut(f"cannot be read ({error.strerror})", at, _IMPORT) from error
    try:
        coming = coming_of(data, at, "new-taken-")
        if record_name(coming.episode) != name:
            raise LeftOut("is not where its record belongs", at, _IMPORT)
        check_row(catalog, coming.record)
        state = _state(store, catalog, coming)
    except StoreError:
        raise
    except (SensoriumError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise LeftOut(f"no commit record of an episode: {error}", at, _IMPORT) from error
    if state is None:
        return coming
    if state == "committed":  # by a turn that ended in trouble, perhaps
        durable.sync_folder(Path(name).parent, dir_fd=store.fd)
        catalog.add([commits.record(Path(name))])
    forget(side.fd, coming.episode)
    return None


def _state(store: StoreFolder, catalog: Catalog, coming: Coming) -> Literal["committed", "deleted"] | None:
    return state_there(store, coming, catalog.ordinal(*owner(coming.record)))


def _checking(side: _Side, coming: Coming, files: dict[str, FileId]) -> Iterator[None]:
    """Hold each file to the record; `files` has then what they are. It may be left behind each part."""
    buffer = memoryview(bytearray(_PART_BYTES))
    for name, (size, crc) in coming.record.objects.items():
        where = _where(coming, name)
        try:
            file = open_beneath(side.fd, where)
        except OSError as error:
            raise LeftOut(f"cannot be read ({error.strerror})", side.name / where, _IMPORT) from error
        try:
            at = found = 0
            while at <= size and (n := os.readv(file, [buffer])):
                found = zlib.crc32(buffer[:n], found)
                at += n
                yield
            files[name] = durable.identity(file)
        finally:
            os.close(file)
        if at != size:
            raise LeftOut(f"is not of {size} bytes", side.name / where, _IMPORT)
        if found != crc:
            raise LeftOut(f"checksum {found:08x}, expected {crc:08x}", side.name / where, _IMPORT)


def _commit(
    store: StoreFolder,
    commits: Committer,
    catalog: Catalog,
    side: _Side,
    ready: Sequence[_Checked],
    report: TakenOver,
    alone: Alone,
) -> None:
    """Commit episodes that are whole, then remove their former names."""
    if not ready:
        return
    with alone([each.coming.episode for each in ready]) as mine:
        those: list[Coming] = []
        try:
            for coming, files in ready:
                try:
                    if coming.episode not in mine:
                        raise LeftOut("is being committed by somebody else", side.name / _where(coming), _IMPORT)
                    if _state(store, catalog, coming) is None:  # a device may have brought it
                        _stage(store, commits, side, coming, files)
                        those.append(coming)
                    report.episodes += 1
                except LeftOut as left:
                    put_away(store, coming)
                    report.left.append(left.finding)
            for written in together.write_all([(each.record_name, each.data) for each in those], dir_fd=store.fd):
                if isinstance(written, OSError):
                    raise written
            if those:
                make_known(store, commits, catalog, those)
        except BaseException:
            with contextlib.suppress(OSError):  # what is there must not take the room that the next try needs
                for coming, _ in ready:
                    put_away(store, coming)
            raise
        for coming in those:
            forget(side.fd, coming.episode)


def _stage(store: StoreFolder, commits: Committer, side: _Side, coming: Coming, files: dict[str, FileId]) -> None:
    """Give each file, and the record, a name in staging: they are on disk since they were committed there."""
    fd = store.fd
    put_away(store, coming)  # a disk in trouble may have kept it from going
    if durable.look(coming.place, dir_fd=fd) is not None:
        commits.set_orphan_aside(coming.place)
        remove_orphans(store, {str(coming.episode)})
    folders = (
        set()
        if coming.record.zipped
        else {Path(coming.name, parent) for name in files for parent in Path(name).parents}
    )
    for folder in sorted(folders):
        durable.add_folder(folder, dir_fd=fd)
    for name, known in files.items():
        into = coming.name if coming.record.zipped else f"{coming.name}/{name}"
        durable.link(side.name / _where(coming, name), into, dir_fd=fd)
        seen = durable.look(into, dir_fd=fd)
        if seen is None or seen.id != known:
            raise LeftOut("changed while it was taken over", side.name / _where(coming, name), _IMPORT)
    for folder in sorted(folders, reverse=True):
        durable.sync_folder(folder, dir_fd=fd)


def _take_discards(store: StoreFolder, catalog: Catalog, side: _Side) -> None:
    """What was said of samples in no episode, and of ordinals that were given up."""
    for device in names_beneath(side.fd, _DISCARDED):
        for name in names_beneath(side.fd, f"{_DISCARDED}/{device}"):
            at = Path(_DISCARDED, device, name)
            try:
                check_name(device, "device")
                check_name(name.partition(".")[0], "spool_id")
                data = read_beneath(side.fd, str(at), MAX_BYTES)
            except (ConfigError, OSError) as error:
                log.warning("%s: left: %s", store.path / side.name / at, error)
                continue
            try:
                _take_said(store, catalog, at, data)
            except (Corrupt, PeerViolation) as error:
                log.warning("%s: left: %s", store.path / side.name / at, error)


def _take_said(store: StoreFolder, catalog: Catalog, at: Path, data: bytes) -> None:
    device, name = at.parts[-2:]
    if name.endswith(SUFFIX):
        spool_id = name.removesuffix(SUFFIX)
        catalog.between(device, spool_id, keep_between(store, device, spool_id, decode_between(data, at)))
    elif name.endswith(".jsonl") and (said := decode_discards(data)):
        durable.make_folder(at.parent, dir_fd=store.fd)
        durable.publish(at, b"\n".join(map(msgspec.json.encode, said)), STAGING, dir_fd=store.fd)
        catalog.discard(device, at.stem, said)


def _where(coming: Coming, name: str = "") -> str:
    """A file of an episode, under its store."""
    episode = coming.episode
    return zip_name(episode) if coming.record.zipped else str(folder_path(Path(), episode) / name)
