"""The exemplar file: what a stream's exemplars are, so that a restart does not find everything new again."""

import logging
from collections.abc import Sequence
from pathlib import Path

import crc32c
import msgspec
import numpy as np

from sensorium.episode import durable
from sensorium.errors import Corrupt
from sensorium.perception.exemplars import CAPACITY, Exemplars

log = logging.getLogger(__name__)

_MAGIC = b"exemplars 1\n"
_NUMBER = 4
"""Bytes of a length, and of the checksum at the end."""


class ExemplarHeader(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who made them, and how many of how many numbers follow, the oldest first."""

    by: str
    count: int
    dimensions: int


def write_exemplars(path: Path, exemplars: Exemplars) -> bool:
    """Put exemplars into a file instead of what it held, whole or not at all; False, and said, if the disk will not.

    What is lost then is what was learnt since the last time.
    """
    header = msgspec.json.encode(ExemplarHeader(exemplars.by, len(exemplars), exemplars.dimensions))
    parts = [_MAGIC, len(header).to_bytes(_NUMBER, "big"), header, exemplars.vectors.tobytes()]
    try:
        durable.make_folder(path.parent)
        durable.replace(path, path.with_name(path.name + ".new"), [[*parts, _checksum(parts)]])
    except OSError as error:
        log.warning("exemplars %s: cannot be written: %s; make room, they are tried again", path, error.strerror)
        return False
    return True


def read_exemplars(path: Path, by: str, dimensions: int, capacity: int = CAPACITY) -> Exemplars:
    """The exemplars that a file holds; none if there is no file.

    One that is torn, or holds those of another maker, is set aside as NAME.aside, and said: vectors of two makers have
    nothing to do with each other. One that cannot be read stays, and is said.
    """
    exemplars = Exemplars(by, dimensions, capacity)
    try:
        data = durable.read_whole(path)
    except FileNotFoundError:
        return exemplars
    except OSError as error:
        log.warning("exemplars %s: cannot be read: %s; all is new again", path, error.strerror)
        return exemplars
    try:
        header, vectors = _parsed(data)
    except Corrupt as error:
        _set_aside(path, str(error))
        return exemplars
    if (header.by, header.dimensions) != (by, dimensions):
        _set_aside(path, f"made by {header.by!r}, now it is {by!r}")
        return exemplars
    for vector in vectors:
        exemplars.add(vector)
    return exemplars


def _parsed(data: bytes) -> tuple[ExemplarHeader, np.ndarray[tuple[int, int], np.dtype[np.int8]]]:
    start = len(_MAGIC) + _NUMBER
    if not data.startswith(_MAGIC) or len(data) < start + _NUMBER:
        raise Corrupt("is no file of exemplars, or torn")
    if _checksum([data[:-_NUMBER]]) != data[-_NUMBER:]:
        raise Corrupt("is torn: its checksum does not hold")
    end = start + int.from_bytes(data[len(_MAGIC) : start], "big")
    try:
        header = msgspec.json.decode(data[start:end], type=ExemplarHeader)
        vectors = np.frombuffer(data[end:-_NUMBER], np.int8).reshape(header.count, header.dimensions)
    except (msgspec.MsgspecError, ValueError) as error:
        raise Corrupt(f"does not hold what it says: {error}") from error
    return header, vectors


def _set_aside(path: Path, why: str) -> None:
    aside = path.with_name(path.name + ".aside")
    log.warning("exemplars %s: %s; they are set aside as %s, all is new again", path, why, aside.name)
    try:
        durable.rename(path, aside)
        durable.sync_folder(path.parent)
    except OSError as error:
        log.warning("exemplars %s: cannot be set aside: %s", path, error.strerror)


def _checksum(parts: Sequence[bytes]) -> bytes:
    value = 0
    for part in parts:
        value = crc32c.crc32c(part, value)
    return int(value).to_bytes(_NUMBER, "big")
