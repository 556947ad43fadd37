"""A copy of a spool, by which is collected what is handed over to a store: then it takes the spool's place.

.import-SPOOL-XXXXXXXX/spool        the copy
.import-SPOOL-XXXXXXXX/said.json    what will be handed over; written before, so it is known after a kill if it was
.import-SPOOL-XXXXXXXX/former       the spool whose place it took
"""

import contextlib
import uuid
from collections.abc import Iterator
from pathlib import Path

import msgspec

from sensorium.corpus.commits import commit_names, record_name
from sensorium.corpus.deletions import tombstone_name
from sensorium.episode import durable
from sensorium.episode.locking import take_lock
from sensorium.errors import Corrupt, SpoolError
from sensorium.ingest.import_requests import MADE
from sensorium.ingest.store_folder import REQUESTS, store_errors

COPY, _FORMER, _SAID = "spool", "former", "said.json"


class _HandingOver(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """To which store, the name that it has there once it is handed over, and the ids of its episodes."""

    store: str
    name: str
    episodes: tuple[str, ...]


def say_handing_over(folder: Path, store: Path, side: Path) -> None:
    """Say durably in the `folder` of a copy that the store `side` is about to be handed over to `store`."""
    said = _HandingOver(str(store.absolute()), side.with_suffix(MADE).name, tuple(sorted(commit_names(side).committed)))
    with store_errors(folder):
        fd = durable.open_folder(folder)
        try:
            durable.sync_file_system(fd)  # what was copied
        finally:
            durable.close(fd)
        durable.replace(folder / _SAID, folder / f"{_SAID}.new", [[msgspec.json.encode(said)]])


def take_place(folder: Path, spool: Path) -> None:
    """Put the copy in `folder`, if it is still there, where the spool is, or was."""
    with store_errors(folder):
        if durable.look(folder / COPY) is None:
            return
        if durable.look(spool) is not None:
            durable.rename(spool, folder / _FORMER)
        durable.rename(folder / COPY, spool)
        durable.sync_folder(spool.absolute().parent)


def settle(folder: Path, spool: Path) -> None:
    """As `take_place`, if what was collected by the copy was handed over; otherwise the copy is worth nothing.

    Raises:
        SensoriumError: the disk fails, what `folder` says cannot be read, or another process uses the spool.
    """
    with store_errors(folder):
        at = folder / _SAID
        if durable.look(folder / COPY) is None or durable.look(at) is None:
            return
        try:
            said = msgspec.json.decode(durable.read_whole(at), type=_HandingOver)
        except msgspec.DecodeError as error:
            next_step = f"if {spool} is as it should be, remove {folder}"
            raise Corrupt(f"{at}: does not say what was handed over: {error}; {next_step}") from error
        if _was_handed_over(said):
            with spool_held(spool):
                take_place(folder, spool)


def _was_handed_over(said: _HandingOver) -> bool:
    store = Path(said.store)
    names = [REQUESTS / said.name]
    for episode in map(uuid.UUID, said.episodes):
        names += (Path(record_name(episode)), Path(tombstone_name(episode)))
    return any(durable.look(store / name) is not None for name in names)


@contextlib.contextmanager
def spool_held(spool: Path) -> Iterator[None]:
    """Nobody else opens the spool, if there is one, as long as it may be put aside."""
    if not spool.is_dir():
        yield
        return
    lock = durable.reopen(spool / "lock")
    try:
        if not take_lock(lock):
            raise SpoolError(f"{spool}: another process uses this spool; wait for it, or give another --spool")
        yield
    finally:
        durable.close(lock)
