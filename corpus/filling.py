"""What a catalog lacks of its store, entered: after a crash, or all of it when the catalog was lost."""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import msgspec

from sensorium.corpus.beside_catalog import fill_beside
from sensorium.corpus.between import between_paths, read_between
from sensorium.corpus.catalog import Catalog, Discards
from sensorium.corpus.commits import read_record, record_paths

AT_ONCE = 500
"""Records of one transaction: each waits for the disk."""
_MANY = 1000
"""Of so many the indices are made behind."""


def fill(catalog: Catalog, store: Path, progress: Callable[[int, int], None] = lambda _done, _total: None) -> int:
    """Enter every commit record, discard, total and record beside an episode that the catalog lacks; the number of
    episodes entered.

    `progress(done, total)` is called once a few hundred records.
    """
    known = catalog.ids()
    missing = [path for path in record_paths(store) if path.stem not in known]
    with nullcontext() if known or len(missing) < _MANY else catalog.filled_anew():
        for start in range(0, len(missing), AT_ONCE):
            catalog.add([read_record(path) for path in missing[start : start + AT_ONCE]])
            progress(min(start + AT_ONCE, len(missing)), len(missing))
    for path in sorted((store / "commits" / "discarded").glob("*/*.jsonl")):
        catalog.discard(path.parent.name, path.stem, read_discards(path))
    for device, spool_id, path in between_paths(store):
        catalog.between(device, spool_id, read_between(path))
    fill_beside(catalog.transact, store)
    return len(missing)


def read_discards(path: Path) -> list[Discards]:
    """The discards of one spool; a last line that a crash tore was never confirmed, and does not count."""
    found = []
    for line in path.read_bytes().split(b"\n"):
        try:
            found.append(msgspec.json.decode(line, type=Discards))
        except msgspec.DecodeError:
            continue
    return found
