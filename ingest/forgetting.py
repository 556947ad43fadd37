"""What was said of episodes, and what they look like, is taken out of the files where others' stand beside it."""

import hashlib
import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sensorium.corpus.beside import BESIDE, LOCK, OF, beside_kinds, beside_paths, kind_held
from sensorium.corpus.beside_catalog import forget_file
from sensorium.corpus.catalog import Catalog
from sensorium.corpus.vectors import VECTORS, read_arrays, read_parts, write_part
from sensorium.episode import durable
from sensorium.ingest.store_folder import STAGING, StoreFolder

Removed = dict[str, dict[str, int]]


def drop_temporaries(store: StoreFolder) -> None:
    """Remove what a writer that was killed was about to put in its place; who holds the store alone calls it."""
    for name in durable.names(STAGING, dir_fd=store.fd):
        if name.startswith("new-") and (seen := durable.look(STAGING / name, dir_fd=store.fd)) is not None:
            (durable.remove_tree if seen.is_folder else durable.remove)(STAGING / name, dir_fd=store.fd)


def take_out_beside(store: StoreFolder, catalog: Catalog, ids: set[str], removed: Removed) -> None:
    """Write anew each file that has records of these episodes, without them; nobody appends meanwhile, and who had the
    file open goes on with one of his own."""
    for kind in beside_kinds(store.path):
        with kind_held(store.path / BESIDE / kind, alone=True):
            for path in beside_paths(store.path, kind):
                lines = path.read_bytes().split(b"\n")
                kept = [line for line in lines if not _is_of(line, kind, ids, removed)]
                if len(kept) == len(lines):
                    continue
                at = path.relative_to(store.path)
                catalog.transact(partial(forget_file, kind=kind, writer=path.stem))
                if any(kept):
                    durable.replace(at, STAGING / f"new-{path.name}", [[b"\n".join(kept)]], dir_fd=store.fd)
                else:
                    durable.remove(at, dir_fd=store.fd)
                    durable.sync_folder(at.parent, dir_fd=store.fd)


def _is_of(line: bytes, kind: str, ids: set[str], removed: Removed) -> bool:
    try:
        record: Any = json.loads(line)["record"]
        named = [each for key in OF if (each := record.get(key)) in ids]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False
    for each in named:
        removed[each][kind] = removed[each].get(kind, 0) + 1
    return bool(named)


def take_out_vectors(store: StoreFolder, ids: set[str], removed: Removed) -> None:
    """Write anew each part that has vectors of these episodes, without them.

    The part without them is there before the former goes; cut off in between it is written once more, under the same
    name. Of the former the arrays go first: what names them is what finds them again.
    """
    if durable.look(VECTORS, dir_fd=store.fd) is None:
        return
    with kind_held(store.path / VECTORS, alone=True):
        for path, part in read_parts(store.path):
            if isinstance(part, str) or not ids & {episode for episode, _ in (*part.streams, *part.blank)}:
                continue
            gone = [number for number, (episode, _) in enumerate(part.streams) if episode in ids]
            arrays = read_arrays(path, part)
            blank = [each for each in part.blank if each[0] not in ids]
            if not isinstance(arrays, str):
                stays = ~np.isin(arrays.windows[:, 0], gone)
                for number in gone:
                    episode = part.streams[number][0]
                    removed[episode]["vectors"] = removed[episode].get("vectors", 0) + int(
                        (arrays.windows[:, 0] == number).sum()
                    )
                streams = [each for each in part.streams if each[0] not in ids]
                place = np.cumsum([each[0] not in ids for each in part.streams], dtype=np.int32) - 1
                windows = arrays.windows[stays].copy()
                if len(windows):
                    windows[:, 0] = place[windows[:, 0]]
                if streams or blank:
                    name = _name_without(path.stem, ids)
                    write_part(store.path, part.maker, streams, blank, arrays.vectors[stays], windows, name)
            for end in (".npy", ".windows.npy", ".json"):
                durable.remove(Path(VECTORS, f"{path.stem}{end}"), dir_fd=store.fd)
            durable.sync_folder(Path(VECTORS), dir_fd=store.fd)
        _remove_unnamed(store)


def _remove_unnamed(store: StoreFolder) -> None:
    """Arrays that nothing names: who wrote them is no more, and what they are of nobody knows."""
    named = {path.stem for path, _ in read_parts(store.path)}
    for name in durable.names(Path(VECTORS), dir_fd=store.fd):
        if name != LOCK and name.split(".")[0] not in named:
            durable.remove(Path(VECTORS, name), dir_fd=store.fd)
    durable.sync_folder(Path(VECTORS), dir_fd=store.fd)


def _name_without(name: str, ids: set[str]) -> str:
    """The same for the same part and episodes, in the same place in the order of parts."""
    told = hashlib.blake2s("".join((name, *sorted(ids))).encode(), digest_size=6).hexdigest()
    return f"{name[:24]}{told}"
