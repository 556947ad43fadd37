"""Vectors: what windows of episodes look like, in plain `.npy` files beside the episodes, appended and never changed.

`STORE/vectors/PART.json` says what the rows of `PART.npy`, int8 [n, d], are of; `PART.windows.npy`, int32 [n, 2], has
of each the place of its stream in that list and the number of its window. The JSON is written last: without it the
others do not count. docs/store-format.md has the format.
"""

import contextlib
import errno
import io
import os
import uuid
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import uuid_utils

from sensorium.corpus.beside import kind_held
from sensorium.drivers.described import Vectors
from sensorium.episode import durable
from sensorium.errors import StoreError

VECTORS = "vectors"

Windows = npt.NDArray[np.int32]


class Maker(msgspec.Struct, frozen=True):
    """Which encoder, and of how long a window: vectors of two makers are never compared. `by` names it in one word."""

    by: str
    name: str
    version: str
    weights_hash: str
    preprocessing: str
    dimension: int
    window_ns: int


class Crcs(msgspec.Struct, frozen=True):
    """CRC-32 of the two arrays' files, whole."""

    vectors: int
    windows: int


class VectorPart(msgspec.Struct, frozen=True):
    """What one JSON file says. `streams` are pairs of episode and stream; `blank` those with nothing to look at."""

    maker: Maker
    rows: int
    streams: list[tuple[str, str]]
    blank: list[tuple[str, str]]
    crc32: Crcs
    version: Literal[1] = 1


class VectorArrays(NamedTuple):
    """A part with its arrays: `vectors` int8 [n, d] and `windows` int32 [n, 2], both checked."""

    part: VectorPart
    vectors: Vectors
    windows: Windows


def write_part(
    store: Path,
    maker: Maker,
    streams: Sequence[tuple[str, str]],
    blank: Sequence[tuple[str, str]],
    vectors: Vectors,
    windows: Windows,
    name: str = "",
) -> None:
    """Write one part, durable when it returns; under a new name, or in place of what has this `name`.

    Raises:
        StoreError: the disk does not take it; nothing of it counts then.
    """
    name = name or str(uuid.UUID(bytes=uuid_utils.uuid7().bytes))
    arrays = [_npy(vectors.astype(np.int8)), _npy(windows.astype(np.int32))]
    crcs = Crcs(*(zlib.crc32(each) for each in arrays))
    said = msgspec.json.encode(VectorPart(maker, len(vectors), list(streams), list(blank), crcs))
    folder = store / VECTORS
    try:
        durable.make_folder(folder)
        for ending, data in zip((".npy", ".windows.npy"), arrays, strict=True):
            durable.write_synced(folder / f"{name}{ending}", data)
        durable.sync_folder(folder)
        durable.replace(folder / f"{name}.json", folder / f"{name}.new", [[said]])
    except OSError as error:
        raise StoreError(f"{folder}: {error.strerror or error}; see to the disk, then try again") from error


@contextlib.contextmanager
def vectors_held(store: Path) -> Iterator[None]:
    """Meanwhile no deletion takes vectors out: who has seen then which episodes were deleted may write of the others.

    Raises:
        StoreError: the disk is in trouble.
    """
    folder = store / VECTORS
    try:
        durable.make_folder(folder)
        with kind_held(folder):
            yield
    except OSError as error:
        raise StoreError(f"{folder}: {error.strerror or error}; see to the disk, then try again") from error


def check_room(store: Path) -> None:
    """Make the folder of the parts where it is missing.

    Raises:
        StoreError: no part can be written into it.
    """
    folder = store / VECTORS
    try:
        durable.make_folder(folder)
        if not os.access(folder, os.W_OK):
            raise PermissionError(errno.EACCES, "nobody can write there")
    except OSError as error:
        why = error.strerror or error
        raise StoreError(f"{folder}: {why}; see to the disk, or ask for what is embedded alone (--no-embed)") from error


def read_parts(store: Path) -> Iterator[tuple[Path, VectorPart | str]]:
    """The parts in the order in which they were written; of a damaged one, what is wrong with it."""
    for path in part_paths(store):
        try:
            yield path, msgspec.json.decode(durable.read_whole(path), type=VectorPart)
        except (msgspec.DecodeError, UnicodeDecodeError, OSError, RecursionError) as error:
            yield path, f"{path}: {error}"


def part_paths(store: Path) -> list[Path]:
    """The files that name parts, in the order in which they were written."""
    return sorted((store / VECTORS).glob("*.json"))


def read_arrays(path: Path, part: VectorPart) -> VectorArrays | str:
    """The arrays of a part, checked; what is wrong if they are not what was written."""
    try:
        made = [_checked(path.with_suffix(end), crc) for end, crc in _endings(part.crc32)]
    except (OSError, ValueError) as error:
        return f"{path}: {error}"
    vectors, windows = made
    if vectors.dtype != np.int8 or vectors.shape != (part.rows, part.maker.dimension):
        return f"{path}: its vectors are {vectors.dtype} {list(vectors.shape)}"
    if windows.dtype != np.int32 or windows.shape != (part.rows, 2):
        return f"{path}: its windows are {windows.dtype} {list(windows.shape)}"
    if part.rows and not 0 <= int(windows[:, 0].min()) <= int(windows[:, 0].max()) < len(part.streams):
        return f"{path}: a window is of a stream that it does not name"
    return VectorArrays(part, vectors, windows)


def _endings(crcs: Crcs) -> list[tuple[str, int]]:
    return [(".npy", crcs.vectors), (".windows.npy", crcs.windows)]


def _checked(path: Path, crc: int) -> npt.NDArray[Any]:
    data = durable.read_whole(path)
    if zlib.crc32(data) != crc:
        raise ValueError(f"{path.name} is not what was written")
    found: npt.NDArray[Any] = np.load(io.BytesIO(data), allow_pickle=False)
    return found


def _npy(array: npt.NDArray[Any]) -> bytes:
    held = io.BytesIO()
    np.save(held, np.ascontiguousarray(array), allow_pickle=False)
    return held.getvalue()
