"""Keeping what devices say of their samples in no episode: the latest wins, whole or not at all, bounded in size."""

import uuid
from pathlib import Path

import msgspec

from sensorium.corpus.between import between_path, decode_between
from sensorium.drivers.stream import check_name
from sensorium.episode import durable
from sensorium.episode.documents import BetweenReport
from sensorium.errors import ConfigError, PeerViolation
from sensorium.ingest.admission import check_account
from sensorium.ingest.store_folder import STAGING, StoreFolder

MAX_STREAMS = 1024
MAX_BYTES = 1 << 20


def keep_between(store: StoreFolder, device: str, spool_id: str, report: BetweenReport) -> BetweenReport:
    """Take over the totals of some streams, unless later ones are here; what is kept now, which is on disk.

    Raises:
        PeerViolation: it is not the account of streams, or there are too many of them.
        OSError: it cannot be written; what was kept is as it was.
    """
    for name, account in report.streams.items():
        _check_name(name)
        check_account(name, account)
    path = between_path(Path(), device, spool_id)
    try:
        before = decode_between(durable.read_whole(path, dir_fd=store.fd), store.path / path)
    except FileNotFoundError:
        before = BetweenReport()
    if report.number <= before.number:
        if before.number:  # it may be here because the sync of its name failed when it was told before
            durable.sync_folder(path.parent, dir_fd=store.fd)
        return before
    kept = BetweenReport(number=report.number, streams={**before.streams, **report.streams})
    data = msgspec.json.encode(kept)
    if len(kept.streams) > MAX_STREAMS or len(data) > MAX_BYTES:
        raise PeerViolation(
            f"spool {spool_id}: totals of {len(kept.streams)} streams, {len(data)} bytes; at most {MAX_STREAMS} and"
            f" {MAX_BYTES}"
        )
    durable.make_folder(path.parent, dir_fd=store.fd)
    durable.replace(path, STAGING / f"new-{uuid.uuid4().hex}", [[data]], dir_fd=store.fd)
    return kept


def _check_name(name: str) -> None:
    try:
        check_name(name)
    except ConfigError as error:
        raise PeerViolation(str(error)) from error
