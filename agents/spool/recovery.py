"""Recovery: what a crash or a failing disk left of an episode file becomes a whole, sealed file again."""

import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from blake3 import blake3

from sensorium.agents.selection.value import quality_of, worth_noted
from sensorium.episode import durable
from sensorium.episode.account import Tally, corrected, estimated
from sensorium.episode.documents import Account, Chunk, Items, Note, Open, Seal
from sensorium.episode.records import Damage, Record, encode_record, scan
from sensorium.episode.value import NOTHING, Worth
from sensorium.errors import Corrupt

READ_BYTES = 1 << 20
PAGE_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Recovered:
    """A file that is whole, sealed and on disk. `recoveries` is what its SEAL says; `changed` tells whether its
    bytes are other than before."""

    size: int
    digest: bytes
    accounts: dict[str, Account]
    recoveries: int
    changed: bool
    why: str = ""
    worth: Worth = NOTHING


def recover(
    path: Path, manifest: Open, recoveries: int, *, alive_ns: int | None = None, salvage: bool = False
) -> Recovered:
    """Make the file at `path` whole; `manifest` is the ledger's copy of its OPEN, used when that record is damaged.

    A file that is whole is left as it is. A torn tail is cut and the file sealed `interrupted`. If a bad record is
    followed by good ones, the good are written to a new file, the bad counted lost as `corrupt`. `recoveries` is
    what the new SEAL will say. Of one that was not sealed, what is missing is estimated up to the newest record, or up
    to `alive_ns` if whoever recorded it was alive then. With `salvage` places that the disk will not give count as bad.

    Raises:
        Corrupt: not one record of data can be read.
        OSError: the file system failed; the file is as it was.
    """
    with _seen(path, salvage=salvage) as view:
        found = _recover(path, view, manifest, recoveries, alive_ns)
    if not found.changed:
        durable.sync_file(path)
    return found


def unsealed_accounts(path: Path, manifest: Open) -> dict[str, Account] | None:
    """What the samples of a file became that was not sealed, as `recover` would say; None of one that is. It stays as
    it is.

    Raises:
        Corrupt: not one record can be read.
        OSError: the file system failed.
    """
    with _seen(path) as view:
        records = [item for item in scan(manifest.episode, view) if isinstance(item, Record)]
        try:
            if not records:
                raise Corrupt(f"not one whole record in {len(view)} bytes")
            if isinstance(records[-1].header, Seal):
                return None
            return _interrupted(records, manifest, None, b"", 0).account
        finally:
            for record in records:
                record.payload.release()


def _unwaiting(path: str, flags: int) -> int:
    """Open a file; a pipe in its place, which is empty, at once."""
    return os.open(path, flags | os.O_NONBLOCK)


@contextmanager
def _seen(path: Path, *, salvage: bool = False) -> Iterator[memoryview]:
    """The bytes of a file; with `salvage` zeros where the disk will not give them."""
    with open(path, "rb", opener=_unwaiting) as file:
        size = os.fstat(file.fileno()).st_size
        if size == 0:
            raise Corrupt("the file is empty")
        if salvage:
            yield memoryview(_salvaged(file.fileno(), size))
            return
        # What the disk will not give would kill who looks at it through a map; a read is told so.
        for at in range(0, size, READ_BYTES):
            durable.read_at(file.fileno(), READ_BYTES, at)
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            view = memoryview(data)
            try:
                yield view
            finally:
                view.release()


def _salvaged(fd: int, size: int) -> bytearray:
    """What a disk will give of a file.

    Raises:
        OSError: nothing.
    """
    content, trouble, pages = bytearray(size), [], range(0, size, PAGE_BYTES)
    for at in pages:
        try:
            page = durable.read_at(fd, PAGE_BYTES, at)
        except OSError as error:
            trouble.append(error)
        else:
            content[at : at + len(page)] = page
    if len(trouble) == len(pages):  # then it is the whole disk that is in trouble, which may pass
        raise trouble[0]
    return content


def _recover(path: Path, view: memoryview, manifest: Open, recoveries: int, alive_ns: int | None) -> Recovered:
    found = list(scan(manifest.episode, view))
    records = [item for item in found if isinstance(item, Record)]
    damage = [item for item in found if isinstance(item, Damage)]
    try:
        if not records:
            raise Corrupt(f"not one whole record in {len(view)} bytes")
        end = records[-1].offset + records[-1].size
        seal = records[-1].header if isinstance(records[-1].header, Seal) else None
        if seal and not damage and end == len(view) and isinstance(records[0].header, Open):
            digest = blake3(view[: records[-1].offset]).digest()
            if digest == seal.digest:
                worth = Worth.of(seal.summary)
                return Recovered(len(view), digest, seal.account, seal.recoveries, changed=False, worth=worth)
        if damage or seal or not isinstance(records[0].header, Open):
            bad = "; ".join(item.why for item in damage[:3]) or "digest does not hold"
            size, seal = _rewrite(path, records, manifest, seal, recoveries, alive_ns)
            why = f"{len(damage) or 1} damaged place(s) taken out: {bad}"
        else:
            size, seal = _finish(path, view, records, manifest, end, recoveries, alive_ns)
            why = f"sealed after a crash, torn tail of {len(view) - end} bytes cut"
        worth = Worth.of(seal.summary)
        return Recovered(size, seal.digest, seal.account, seal.recoveries, changed=True, why=why, worth=worth)
    finally:
        for record in records:  # or the map cannot be closed
            record.payload.release()


def _finish(
    path: Path,
    view: memoryview,
    records: list[Record],
    manifest: Open,
    end: int,
    recoveries: int,
    alive_ns: int | None,
) -> tuple[int, Seal]:
    digest = blake3(view[:end]).digest()
    seal = _interrupted(records, manifest, None, digest, recoveries, alive_ns)
    tail = b"".join(encode_record(manifest.episode, records[-1].number + 1, seal))
    durable.replace_tail(path, tail, end)
    return end + len(tail), seal


def _rewrite(
    path: Path, records: list[Record], manifest: Open, seal: Seal | None, recoveries: int, alive_ns: int | None
) -> tuple[int, Seal]:
    # Records keep their numbers: a gap in them is what allows a gap in a stream's rows.
    pieces, last = [encode_record(manifest.episode, 0, manifest)], 0
    for record in records:
        if not isinstance(record.header, Open | Seal):
            last = record.number
            pieces.append(encode_record(manifest.episode, last, record.header, record.payload))
    hasher = blake3()
    for buffer in chain.from_iterable(pieces):
        hasher.update(buffer)
    closing = _interrupted(records, manifest, seal, hasher.digest(), recoveries, alive_ns)
    pieces.append(encode_record(manifest.episode, records[-1].number if seal else last + 1, closing))
    size = durable.replace(path, path.with_suffix(".recovering"), pieces)
    return size, closing


def _interrupted(
    records: list[Record],
    manifest: Open,
    seal: Seal | None,
    digest: bytes,
    recoveries: int,
    alive_ns: int | None = None,
) -> Seal:
    """The SEAL that these records earn: `seal` corrected if there was one, else an account from running counts."""
    streams = [_Found() for _ in manifest.streams]
    for record in records:
        if isinstance(record.header, Chunk | Items):
            streams[record.header.stream].add(record.header)
    there_ns = last_ns = max((each.last_ns for each in streams if each.last_ns is not None), default=manifest.start_ns)
    # What came after the newest record was in memory alone: it is missing up to the last sign of life.
    last_ns = max(last_ns, min(last_ns if alive_ns is None else alive_ns, manifest.end_ns - 1))
    accounts = {}
    for entry, found in zip(manifest.streams, streams, strict=True):
        since_ns = manifest.start_ns if found.last_ns is None else found.last_ns
        before = seal.account.get(entry.spec.name) if seal else None
        accounts[entry.spec.name] = (
            corrected(before, found.rows)
            if before
            else estimated(
                found.last, found.rows, found.corrupt, entry.spec.rate_hz, (since_ns, max(last_ns, since_ns))
            )
        )
    return Seal(
        digest=digest,
        reason=seal.reason if seal else "interrupted",
        rows={name: account.stored for name, account in accounts.items()},
        account=accounts,
        summary=seal.summary if seal else _worth(records, there_ns, accounts).summary(),
        end_ns=seal.end_ns if seal else None,
        recoveries=recoveries,
    )


def _worth(records: list[Record], last_ns: int, accounts: dict[str, Account]) -> Worth:
    """What an episode is worth that was not sealed, up to its last stamp; so it has its place among those that wait."""
    place = {stream: Tally.of(account) for stream, account in accounts.items()}
    notes = (record.header for record in records if isinstance(record.header, Note))
    return worth_noted(notes, last_ns, quality_of(place, {}))


class _Found:
    """What the good records of one stream tell of it."""

    def __init__(self) -> None:
        self.rows = 0
        self.corrupt = 0
        self.last_ns: int | None = None
        self.last: Chunk | Items | None = None

    def add(self, header: Chunk | Items) -> None:
        n = len(header.captured_ns) // 8
        self.corrupt += max(0, header.first_row - self.rows - self.corrupt)
        self.rows += n
        self.last = header
        self.last_ns = int(np.frombuffer(header.captured_ns, "<i8")[-1]) if n else self.last_ns
