"""How long an ingest takes from its start to `ready`, over a store of 100,000 episodes; against an empty store.

A start looks at names: each episode has a commit record, a row in the catalog and a ZIP of its own, all of them like
those of the first, whose samples nobody reads.
"""

import json
import time
import uuid
from pathlib import Path
from typing import Any

import uuid_utils
from measuring import Comparison, Options, compared, ingest_process, main, rounded
from windows import clip, stored

from sensorium.corpus.commits import EPISODES, month_of, record_path
from sensorium.episode.codecs.lossless import LosslessConfig
from sensorium.ingest.mending import rebuild_catalog

COUNT = 100_000


def filled(folder: Path, count: int) -> Path:
    """A store with so many episodes."""
    folder.mkdir(parents=True)
    stored(clip(0.1), folder, LosslessConfig())
    store = folder / "store"
    record: dict[str, Any] = json.loads(next((store / "commits").glob("*/*.json")).read_bytes())
    for number in range(1, count):
        episode = uuid.UUID(bytes=uuid_utils.uuid7().bytes)
        row = {**record["row"], "episode": str(episode), "ordinal": number}
        path = record_path(store, episode)
        path.parent.mkdir(exist_ok=True)
        zipped = {**record, "format_version": 2, "row": row, "objects": {f"{episode}.zip": [1, 0]}}
        path.write_text(json.dumps(zipped))
        packed = store / EPISODES / month_of(episode) / f"{episode}.zip"
        packed.parent.mkdir(exist_ok=True)
        packed.write_bytes(b"x")
    rebuild_catalog(store)
    return store


def started_s(folder: Path, store: Path) -> float:
    """Seconds from the start of the process to `ready`; keys are made before."""
    began_s = time.perf_counter()
    with ingest_process(folder, store):
        return time.perf_counter() - began_s


def measure(options: Options) -> Comparison:
    """By turns, behind one start of each that nobody counts."""
    store = filled(options.folder / "filled", 500 if options.quick else COUNT)
    ours: list[float] = []
    empty: list[float] = []
    for run in range(options.runs + 1):
        for seconds, of in ((ours, store), (empty, options.folder / "empty")):
            taken = started_s(options.folder / f"run-{run}-{of.parent.name}", of)
            if run:
                seconds.append(1e3 * taken)
    detail = {"episodes": COUNT, "against": "an empty store; a second is wanted", "ready_ms": rounded(ours)}
    return compared("ready", ours, empty, "ms", False, detail)


if __name__ == "__main__":
    main(__doc__, measure, runs=5)
