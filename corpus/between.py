"""What a spool says of its samples in no episode: running totals by stream, one file beside its discards."""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from sensorium.episode import durable
from sensorium.episode.documents import BetweenReport
from sensorium.errors import Corrupt

SUFFIX = ".between.json"


def between_path(store: Path, device: str, spool_id: str) -> Path:
    """Where the totals of a spool are."""
    return store / "commits" / "discarded" / device / f"{spool_id}{SUFFIX}"


def read_between(path: Path) -> BetweenReport:
    """The totals that a file holds; none if there is no file.

    Raises:
        Corrupt: the file holds something else.
    """
    try:
        return decode_between(durable.read_whole(path), path)
    except FileNotFoundError:
        return BetweenReport()


def decode_between(data: bytes, path: Path) -> BetweenReport:
    """The totals that `path` holds; `Corrupt` if it holds something else."""
    try:
        return msgspec.json.decode(data, type=BetweenReport)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Corrupt(f"{path}: not the totals of a spool: {error}") from error


def between_paths(store: Path) -> Iterator[tuple[str, str, Path]]:
    """(device, spool_id, file) of all spools that said something."""
    for path in sorted((store / "commits" / "discarded").glob(f"*/*{SUFFIX}")):
        yield path.parent.name, path.name.removesuffix(SUFFIX), path
