"""The left file: which part of the budget is left to spend, at least, for whoever begins after a kill."""

from pathlib import Path

import msgspec

from sensorium.agents.selection.trouble import FileTrouble
from sensorium.episode import durable


def write_left(path: Path, left: float, trouble: FileTrouble) -> None:
    """Note it, durably, before more is spent; if the disk will not, that is told."""
    try:
        durable.make_folder(path.parent)
        durable.replace(path, path.with_name(path.name + ".new"), [[msgspec.json.encode(left)]])
    except OSError as error:
        trouble.had(path, error, "after a kill more may be kept than the budget allows")
    else:
        trouble.over(path)


def read_left(path: Path) -> float:
    """What was noted; 0 where nothing can be read.

    >>> read_left(Path("no such folder") / "left")
    0.0
    """
    try:
        return min(max(msgspec.json.decode(durable.read_whole(path), type=float), 0.0), 1.0)
    except (OSError, msgspec.MsgspecError):
        return 0.0
