"""Deleting 1,000 of 20,000 small episodes, with a search of what is left for their ids and a certificate for each.

`against` is the removal of as many files of a copy, each by itself with one sync of the folder behind: the least that
takes. Seconds of wall time, which means little on a busy machine: `cpu_s` in `detail` is that of this process. The
episodes are copies of one, under ids of their own; every certificate is checked, and a search from outside for ten of
the ids finds the tombstone, the certificates and the ledger alone.
"""

import json
import os
import time
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import uuid_utils
from measuring import Comparison, Options, compared, main

import sensorium
from sensorium.corpus.commits import month_of
from sensorium.corpus.deletions import certificates
from sensorium.ingest.deleting import delete
from sensorium.ingest.mending import rebuild_catalog
from sensorium.ingest.store import Store

EPISODES, DELETED, BYTES = 20_000, 1_000, 4_000
SEARCHED = 10


def run(options: Options) -> Comparison:
    """A store for each run."""
    count, gone = (EPISODES // 20, DELETED // 20) if options.quick else (EPISODES, DELETED)
    ours, against, cpu_s, searched = [], [], [], {}
    for number in range(options.runs):
        path = filled(options.folder / f"store-{number}", count)
        ids = [str(each["episode"]) for each in sensorium.open(path).rows(columns=["episode"])][:: count // gone][:gone]
        against.append(_bare_s(options.folder / f"bare-{number}", gone))
        begun_s, begun_cpu_s = time.monotonic(), time.process_time()
        laid, made = delete(path, ids, reason="bench", who="bench")
        ours.append(time.monotonic() - begun_s)
        cpu_s.append(round(time.process_time() - begun_cpu_s, 2))
        checked = {each.tombstone.episode for each in certificates(path) if not each.found}
        assert checked == set(ids) == {each.episode for each in laid}
        assert len(sensorium.open(path).query()) == count - gone
        searched = made[0].searched
        for each in ids[:SEARCHED]:
            assert set(_outside(path, each)) == {"catalog.sqlite", f"{each}.deleted", "certificates.jsonl"}
    detail: dict[str, Any] = {"episodes": count, "deleted": gone, "cpu_s": cpu_s, "searched": searched}
    return compared("deletion", ours, against, "s", more_is_better=False, detail=detail)


def filled(path: Path, count: int) -> Path:
    """A store of copies of one file, each with a record of its own."""
    Store.open(path).close()
    data = np.random.default_rng(0).bytes(BYTES)
    for number in range(count):
        episode = uuid.UUID(bytes=uuid_utils.uuid7().bytes)
        month = month_of(episode)
        for folder in ("episodes.zarr", "commits"):
            (path / folder / month).mkdir(exist_ok=True)
        row = {"episode": str(episode), "device": f"rig-{number % 50}", "spool_id": "s", "ordinal": number}
        row |= {"digest": f"{number:064x}", "start_ns": number, "end_ns": number + 1, "bytes": BYTES, "generation": 0}
        record = {
            "format_version": 2,
            "row": row,
            "streams": {},
            "account": {},
            "objects": {f"{episode}.zip": [BYTES, 0]},
        }
        (path / "episodes.zarr" / month / f"{episode}.zip").write_bytes(data)
        (path / "commits" / month / f"{episode}.json").write_text(json.dumps(record))
    rebuild_catalog(path)
    return path


def _bare_s(folder: Path, count: int) -> float:
    folder.mkdir()
    data = bytes(BYTES)
    for number in range(2 * count):
        (folder / str(number)).write_bytes(data)
    begun_s = time.monotonic()
    for number in range(2 * count):
        (folder / str(number)).unlink()
    fd = os.open(folder, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)
    return time.monotonic() - begun_s


def _outside(path: Path, needle: str) -> list[str]:
    return [file.name for file in path.rglob("*") if file.is_file() and needle.encode() in file.read_bytes()]


if __name__ == "__main__":
    main(__doc__ or "", run, runs=1)
