"""Identity: what a recording or a world is told by, so that what was collected of it once is known again."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blake3 import blake3

_EDGE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Identity:
    """`said`, plain JSON by fields of the sensor's configuration, is the same each time that the same is opened.

    What never `ends` is new data each time, whatever is said of it.
    """

    said: Mapping[str, Any]
    ends: bool = True


def identity_of(path: Path) -> dict[str, Any] | None:
    """What tells a file from others (size, mtime, BLAKE3 of its first and last MiB), or a folder (BLAKE3 of the sorted
    names, sizes and mtimes of its files); None if it is neither. Links are followed: what they lead to counts."""
    if path.is_dir():
        return identity_of_files(path, [path])
    return _file(path) if path.is_file() else None


def identity_of_files(root: Path, folders: list[Path]) -> dict[str, Any]:
    """What tells the files in some folders from others; their names are from `root` on."""
    digest, count, size = blake3(), 0, 0
    for name, file in sorted((str(file.relative_to(root)), file) for folder in folders for file in _files(folder)):
        found = file.stat()
        digest.update(f"{name}\0{found.st_size}\0{found.st_mtime_ns}\0".encode(errors="surrogateescape"))
        count, size = count + 1, size + found.st_size
    return {"files": count, "size": size, "blake3": digest.hexdigest()}


def _file(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        found = os.fstat(file.fileno())
        first = file.read(_EDGE_BYTES)
        file.seek(max(0, found.st_size - _EDGE_BYTES))
        last = file.read(_EDGE_BYTES)
    edges = [blake3(edge).hexdigest() for edge in (first, last)]
    return {"size": found.st_size, "mtime_ns": found.st_mtime_ns, "blake3": edges}


def _files(folder: Path) -> list[Path]:
    found, seen = [], set()
    for place, folders, names in os.walk(folder, followlinks=True):
        at = Path(place).stat()
        if (at.st_dev, at.st_ino) in seen:  # a link that leads back
            folders.clear()
            continue
        seen.add((at.st_dev, at.st_ino))
        found += [file for name in names if (file := Path(place, name)).is_file()]
    return found
