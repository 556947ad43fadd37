"""Requests: what who cannot have a store's lock asks of the ingest that holds it, and the answers; files, both.

    STORE/requests/ID.request    which episodes are to be deleted (a pack: `sensorium.ingest.pack_requests`)
    STORE/requests/ID.answer     what became of it; the request goes then

The ingest carries them out between commits. One that was cut off is carried out again, by whoever holds the store next.
An answer names what is to be found nowhere: it goes as it is taken, and where nobody takes it, after a minute.
"""

import contextlib
import logging
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import msgspec
import uuid_utils

from sensorium.corpus.catalog import Catalog
from sensorium.corpus.deletions import Certificate, Tombstone
from sensorium.episode import durable
from sensorium.errors import ConfigError, SensoriumError, StoreError
from sensorium.ingest.deleting import Progress, delete, finish, lay, remove_due
from sensorium.ingest.packing import Alone
from sensorium.ingest.store_folder import REQUESTS, STAGING, StoreFolder, StoreHeld

log = logging.getLogger(__name__)

ASKED, ANSWER = ".request", ".answer"
LOOK_S = 0.1
UNTAKEN_S = 60.0
"""Who asked looks each `LOOK_S`: after so long they are no more."""


class DeletionRequest(msgspec.Struct, frozen=True, kw_only=True):
    """As of `sensorium.ingest.deleting.delete`."""

    episodes: tuple[str, ...]
    reason: str
    who: str
    grace_s: float = 0.0
    force: bool = False
    with_traces: bool = False


class RequestAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a request: `error`, which is the user's (`refused`) or the store's, or what was done."""

    error: str = ""
    refused: bool = False
    laid: tuple[Tombstone, ...] = ()
    gone: tuple[Certificate, ...] = ()


def delete_or_ask(
    path: Path,
    request: DeletionRequest,
    progress: Progress = lambda _what, _done, _total: None,
    sleep: Callable[[float], None] = time.sleep,
) -> tuple[list[Tombstone], list[Certificate]]:
    """`delete`, by the ingest that holds the store, where one does; it is waited for. Where that ends meanwhile the
    request is carried out here."""
    asked = ""
    drop_untaken(path)
    while True:
        try:
            if not asked:
                return delete(
                    path,
                    request.episodes,
                    reason=request.reason,
                    who=request.who,
                    grace_s=request.grace_s,
                    force=request.force,
                    with_traces=request.with_traces,
                    progress=progress,
                )
            finish(path, carry_out)
        except StoreHeld:
            asked = asked or _put(path, request)
            progress("waiting for the ingest", 0, 1)
        is_waiting = asked and (path / REQUESTS / f"{asked}{ASKED}").exists()  # an answer is there before that goes
        if asked and (answer := _taken(path, asked)) is not None:
            if answer.error:
                raise ConfigError(answer.error) if answer.refused else StoreError(answer.error)
            return list(answer.laid), list(answer.gone)
        if asked and not is_waiting:
            raise StoreError(
                f"{path}: what became of the request was not looked at for {UNTAKEN_S:g} s, and is gone; `sensorium"
                f" delete {path}` goes on with what is left to do"
            )
        sleep(LOOK_S)


def drop_untaken(path: Path) -> None:
    """Remove the answers for which nobody waits any more."""
    for at in sorted((path / REQUESTS).glob(f"*{ANSWER}")):
        with contextlib.suppress(OSError):
            if abs(time.time() - at.stat().st_mtime) > UNTAKEN_S:
                durable.remove(at)


def asked_for(store: StoreFolder) -> list[Path]:
    """The requests that nobody has carried out, the oldest first."""
    if durable.look(REQUESTS, dir_fd=store.fd) is None:
        return []
    names = [REQUESTS / name for name in sorted(durable.names(REQUESTS, dir_fd=store.fd)) if name.endswith(ASKED)]
    return [name for name in names if durable.is_file(name, dir_fd=store.fd)]


def carry_out(store: StoreFolder, catalog: Catalog, alone: Alone = contextlib.nullcontext) -> None:
    """Carry out what is asked, each once, and answer; `alone` as of `lay`."""
    for at in asked_for(store):
        answer = _answer(store, catalog, alone, durable.read_whole(at, dir_fd=store.fd), at)
        said = msgspec.json.encode(answer)
        durable.publish(at.with_suffix(ANSWER), said, STAGING, dir_fd=store.fd)
        durable.remove(at, dir_fd=store.fd)
        durable.sync_folder(REQUESTS, dir_fd=store.fd)


def _answer(store: StoreFolder, catalog: Catalog, alone: Alone, data: bytes, at: Path) -> RequestAnswer:
    try:
        asked = msgspec.json.decode(data, type=DeletionRequest)
        laid = lay(
            store,
            catalog,
            asked.episodes,
            asked.reason,
            asked.who,
            asked.grace_s,
            asked.force,
            asked.with_traces,
            alone,
        )
        log.warning("%s: %d episodes are deleted, as %s asked", store.path, len(laid), asked.who)
        return RequestAnswer(laid=tuple(laid), gone=tuple(remove_due(store, catalog)))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return RequestAnswer(error=f"{store.path / at}: no request: {error}", refused=True)
    except SensoriumError as error:
        return RequestAnswer(error=str(error), refused=isinstance(error, ConfigError))


def _put(path: Path, request: DeletionRequest) -> str:
    name = str(uuid.UUID(bytes=uuid_utils.uuid7().bytes))
    folder = path / REQUESTS
    try:
        durable.make_folder(folder)
        durable.replace(folder / f"{name}{ASKED}", folder / f"{name}.new", [[msgspec.json.encode(request)]])
    except OSError as error:
        raise StoreError(f"{folder}: {error.strerror or error}; see to the disk, then try again") from error
    return name


def _taken(path: Path, name: str) -> RequestAnswer | None:
    """The answer, which goes: it names what is to be found nowhere."""
    at = path / REQUESTS / f"{name}{ANSWER}"
    if not at.is_file():
        return None
    answer = msgspec.json.decode(at.read_bytes(), type=RequestAnswer)
    durable.remove(at)
    return answer
