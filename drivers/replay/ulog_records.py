"""The records of a ULog: how far they are whole, and what was appended behind them, brought together."""

import io
import mmap
import os
import struct
from pathlib import Path
from typing import IO, NamedTuple

_HEAD_BYTES = 16
_RECORD = struct.Struct("<HB")
_FLAGS = struct.Struct("<HB8s8s3Q")
_LETTERS = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
"""Kinds of records, also those that are not known yet."""


class WholeRecords(NamedTuple):
    """A log to be read from its beginning, and at which byte of the file it is cut short or damaged, if it is."""

    file: IO[bytes]
    cut_at: int | None


def whole_records(path: Path) -> WholeRecords:
    """Open a log. What was appended behind its end, as a vehicle does when it starts again after a crash, follows what
    stands before it, without the flag that says so: `pyulog` knows no topic there any more.

    Raises:
        OSError: it cannot be read.
    """
    file = path.open("rb")
    size = os.fstat(file.fileno()).st_size
    if size < _HEAD_BYTES + _FLAGS.size:
        return WholeRecords(file, None)
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        _, kind, _, flags, *offsets = _FLAGS.unpack_from(data, _HEAD_BYTES)
        parts = [offset for offset in offsets if offset] if kind == ord("B") and flags[0] & 1 else []
        starts, ends = [_HEAD_BYTES, *parts], [*parts, size]
        if sorted(starts) != starts or starts[-1] > size:
            return WholeRecords(file, size)
        whole = [_end(data, start, end) for start, end in zip(starts, ends, strict=True)]
        cut_at = next((at for at, end in zip(whole, ends, strict=True) if at != end), None)
        if not parts:
            return WholeRecords(file, cut_at)
        joined = bytearray(data[:_HEAD_BYTES])
        for start, at, end in zip(starts, whole, ends, strict=True):
            joined += data[start : at if end != size else end]
        joined[_HEAD_BYTES + _RECORD.size + 8] &= 0xFE
    file.close()
    return WholeRecords(io.BytesIO(bytes(joined)), cut_at)


def _end(data: mmap.mmap, at: int, end: int) -> int:
    """Where the last of the whole records is over that begin at a byte."""
    unpack, head, letters = _RECORD.unpack_from, _RECORD.size, _LETTERS
    while at + head <= end:
        size, kind = unpack(data, at)
        after = at + head + size
        if after > end or kind not in letters:
            break
        at = after
    return at
