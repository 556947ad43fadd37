"""A pack that is asked of the ingest that holds the store, which does it in batches between all else.

    STORE/requests/ID.pack      what is asked
    STORE/requests/ID.stop      it is to end after what it is at
    STORE/requests/ID.answer    what became of it; the request goes then

One that was cut off is gone on with by whoever holds the store next.
"""

import dataclasses
import logging
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import uuid_utils

from sensorium.corpus.catalog import Catalog
from sensorium.episode import durable
from sensorium.errors import SensoriumError, StoreError
from sensorium.ingest.held_room import SMALL_BYTES
from sensorium.ingest.pack_report import PackReport
from sensorium.ingest.packing import GRACE_S, Alone, Progress, pack, steps
from sensorium.ingest.requests import ANSWER, LOOK_S
from sensorium.ingest.store_folder import REQUESTS, STAGING, StoreFolder, StoreHeld, store_errors

log = logging.getLogger(__name__)

PACK, STOP = ".pack", ".stop"


class PackRequest(msgspec.Struct, frozen=True, kw_only=True):
    """As of `sensorium.ingest.packing.pack`."""

    older_than_s: float
    small_bytes: int = SMALL_BYTES
    grace_s: float = GRACE_S


class PackAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What was done, and what ended it, if it was an error."""

    report: PackReport
    error: str = ""


def pack_or_ask(
    path: str | Path,
    request: PackRequest,
    *,
    progress: Progress = lambda _what, _done, _total: None,
    stop: Callable[[], bool] = lambda: False,
    report: PackReport | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> PackReport:
    """`pack`, by the ingest that holds the store, where one does; it is waited for. Where that ends meanwhile the rest
    is packed here.

    Raises:
        StoreError: it is not a store, or the disk fails.
    """
    path = Path(path)
    report = PackReport() if report is None else report
    at = path / REQUESTS / str(uuid.UUID(bytes=uuid_utils.uuid7().bytes))
    is_asked = False
    try:
        while True:
            try:
                return pack(path, **msgspec.structs.asdict(request), progress=progress, stop=stop, report=report)
            except StoreHeld:
                if not is_asked:
                    _put(at, request)
                    is_asked = True
            progress("waiting for the ingest", 0, 1)
            if stop():
                stopping = at.with_suffix(STOP)
                if durable.look(stopping) is None:
                    durable.write_synced(stopping, b"")
            is_waiting = durable.look(at.with_suffix(PACK)) is not None  # an answer is there before that goes
            if (answer := _taken(at)) is not None:
                for field in dataclasses.fields(PackReport):
                    setattr(report, field.name, getattr(answer.report, field.name))
                if answer.error:
                    raise StoreError(answer.error)
                return report
            if not is_waiting:
                raise StoreError(f"{path}: the answer was not looked at in time, and is gone; pack again")
            sleep(LOOK_S)
    finally:
        for ending in (PACK, STOP, ANSWER) if is_asked else ():
            durable.remove(at.with_suffix(ending))


class PackJobs:
    """The packs that are asked of an ingest, one after the other; one thread at a time calls it."""

    def __init__(self, store: StoreFolder, catalog: Catalog, alone: Alone) -> None:
        self._store, self._catalog, self._alone = store, catalog, alone
        self._at: Path | None = None
        self._going: Iterator[bool] = iter(())
        self._report = PackReport()

    def step(self) -> None:
        """Pack a batch, if that is asked; answer at the end."""
        if self._at is None:
            self._at = self._next()
        if (at := self._at) is None:
            return
        try:
            with store_errors(self._store.path):
                if next(self._going, None) is None:
                    self._answer(at)
        except SensoriumError as error:
            self._answer(at, str(error))

    def _next(self) -> Path | None:
        """The request that has waited longest, and is begun."""
        fd = self._store.fd
        if durable.look(REQUESTS, dir_fd=fd) is None:
            return None
        asked_for = (REQUESTS / name for name in durable.names(REQUESTS, dir_fd=fd) if name.endswith(PACK))
        at = min((each for each in asked_for if durable.is_file(each, dir_fd=fd)), default=None)
        if at is None:
            return None
        self._report = PackReport()
        try:
            asked = self._asked(at)
        except FileNotFoundError:
            return None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            self._answer(at, f"{self._store.path / at}: no request: {error}")
            return None
        log.warning("%s: small episodes are packed, as asked", self._store.path)
        self._going = steps(
            self._store,
            self._catalog,
            asked.older_than_s,
            asked.small_bytes,
            asked.grace_s,
            lambda _what, _done, _total: None,
            lambda: self._is_stopped(at),
            self._report,
            self._alone,
        )
        return at

    def _asked(self, at: Path) -> PackRequest:
        return msgspec.json.decode(durable.read_whole(at, dir_fd=self._store.fd), type=PackRequest)

    def _is_stopped(self, at: Path) -> bool:
        """Whether nobody asks any more, or not for the rest."""
        fd = self._store.fd
        return durable.look(at, dir_fd=fd) is None or durable.look(at.with_suffix(STOP), dir_fd=fd) is not None

    def _answer(self, at: Path, error: str = "") -> None:
        self._at, self._going = None, iter(())
        self._report.interrupted = self._is_stopped(at)
        said = msgspec.json.encode(PackAnswer(report=self._report, error=error), enc_hook=str)
        fd = self._store.fd
        if durable.look(at, dir_fd=fd) is None:  # nobody waits for an answer
            return
        durable.publish(at.with_suffix(ANSWER), said, STAGING, dir_fd=fd)
        for ending in (PACK, STOP):
            durable.remove(at.with_suffix(ending), dir_fd=fd)
        durable.sync_folder(REQUESTS, dir_fd=fd)


def _put(at: Path, request: PackRequest) -> None:
    try:
        durable.make_folder(at.parent)
        durable.replace(at.with_suffix(PACK), at.with_suffix(".new"), [[msgspec.json.encode(request)]])
    except OSError as error:
        raise StoreError(f"{at.parent}: {error.strerror or error}; see to the disk, then try again") from error


def _taken(at: Path) -> PackAnswer | None:
    """The answer, if it is there."""
    try:
        data = at.with_suffix(ANSWER).read_bytes()
    except FileNotFoundError:
        return None
    return msgspec.json.decode(data, type=PackAnswer, dec_hook=_path)


def _path(kind: type, value: Any) -> Any:
    return kind(value)
