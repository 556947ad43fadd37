"""The memory file: what selection knows, so that a restart does not find everything new again."""

import logging
from collections.abc import Sequence
from pathlib import Path

import crc32c
import msgspec

from sensorium.agents.selection.trouble import FileTrouble
from sensorium.agents.selection.unit_costs import UnitCostsState
from sensorium.episode import durable
from sensorium.episode.remedy import remedy
from sensorium.errors import Corrupt

log = logging.getLogger(__name__)

_MAGIC = b"selection 1\n"
_NUMBER = 4
"""Bytes of the checksum at the end."""


class Memory(msgspec.Struct, frozen=True):
    """The state of a chooser, what units cost, and the run of a replay at whose beginning that was so, or empty.

    Where decisions may have come behind it, the part of the budget that was `left` then, at least. `budget` says which
    one that was, empty of an earlier release.
    """

    chooser: bytes
    costs: UnitCostsState = UnitCostsState()
    run: str = ""
    left: float | None = None
    budget: str = ""


def write_memory(path: Path, memory: Memory, trouble: FileTrouble) -> bool:
    """Put it into a file instead of what it held, whole or not at all; False, and told, if the disk will not.

    What is lost then is what was learnt since the last time.
    """
    parts = [_MAGIC, msgspec.msgpack.encode(memory)]
    try:
        durable.make_folder(path.parent)
        durable.replace(path, path.with_name(path.name + ".new"), [[*parts, _checksum(parts)]])
    except OSError as error:
        trouble.had(path, error, f"{remedy(error)}, it is tried again")
        return False
    trouble.over(path)
    return True


def read_memory(path: Path) -> Memory | None:
    """What a file holds; None if there is no file.

    One that is torn is set aside as NAME.aside, and said. One that cannot be read stays, and is said.
    """
    try:
        data = durable.read_whole(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        log.warning("selection %s: cannot be read: %s; all is new again", path, error.strerror)
        return None
    try:
        return _parsed(data)
    except Corrupt as error:
        set_aside(path, str(error))
        return None


def set_aside(path: Path, why: str) -> None:
    """What a file holds cannot be used: another takes its name."""
    aside = path.with_name(path.name + ".aside")
    log.warning("selection %s: %s; it is set aside as %s, all is new again", path, why, aside.name)
    try:
        durable.rename(path, aside)
        durable.sync_folder(path.parent)
    except OSError as error:
        log.warning("selection %s: cannot be set aside: %s", path, error.strerror)


def _parsed(data: bytes) -> Memory:
    if not data.startswith(_MAGIC) or len(data) < len(_MAGIC) + _NUMBER:
        raise Corrupt("is no memory of selection, or torn")
    if _checksum([data[:-_NUMBER]]) != data[-_NUMBER:]:
        raise Corrupt("is torn: its checksum does not hold")
    try:
        return msgspec.msgpack.decode(data[len(_MAGIC) : -_NUMBER], type=Memory)
    except msgspec.MsgspecError as error:
        raise Corrupt(f"does not hold what it says: {error}") from error


def _checksum(parts: Sequence[bytes]) -> bytes:
    value = 0
    for part in parts:
        value = crc32c.crc32c(part, value)
    return int(value).to_bytes(_NUMBER, "big")
