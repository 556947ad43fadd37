"""The ten most alike of 100,000 windows of 512 dimensions, ms: ours, checked against the catalog, against 20 ms.

What is asked is one of them with noise. `numpy` is the bare product and its ten greatest, over the same matrix. The
store holds the episodes in its catalog alone, each of 50 windows.
"""

import sqlite3
import statistics
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from measuring import Comparison, Options, compared, main, rounded

import sensorium
from sensorium.corpus.catalog_reading import CATALOG
from sensorium.corpus.similar import VectorIndex
from sensorium.corpus.vectors import Crcs, Maker, VectorPart
from sensorium.ingest.store import Store

LIMIT_MS = 20.0
EACH = 50

Vector = npt.NDArray[np.float32]


def measure(options: Options) -> Comparison:
    """Milliseconds at the median of a run."""
    count = 5_000 if options.quick else 100_000
    episodes = [f"{number:032x}" for number in range(count // EACH)]
    with Store.open(options.folder / "store"):
        pass
    corpus = sensorium.open(options.folder / "store")
    _enter(options.folder / "store" / CATALOG, episodes)
    rng = np.random.default_rng(0)
    raw = rng.normal(0, 40, (count, 512)).clip(-127, 127).astype(np.int8)
    windows = np.stack([np.arange(count) // EACH, np.arange(count) % EACH], axis=1).astype(np.int32)
    maker = Maker("b/1", "b", "1", "", "", 512, 1_000_000_000)
    part = VectorPart(maker, count, [(episode, "front") for episode in episodes], [], Crcs(0, 0))
    index = VectorIndex(maker, [(part, raw, windows)], [])
    asked = [(raw[row] + rng.normal(0, 10, 512)).astype(np.float32) for row in rng.integers(0, count, 20)]
    plain = (raw / np.linalg.norm(raw.astype(np.float32), axis=1, keepdims=True)).astype(np.float32)
    for vector in asked[:3]:
        nearest = np.argsort(-(plain @ vector))[:10]
        found = [(each.episode, each.start_s) for each in corpus.similar(vector, index=index)]
        if found != [(episodes[row // EACH], float(row % EACH)) for row in nearest]:
            raise RuntimeError("ours are not the nearest")
    ours = [_ms(lambda vector: corpus.similar(vector, index=index), asked) for _ in range(options.runs)]
    bare = [_ms(lambda vector: np.argpartition(plain @ vector, -10)[-10:], asked) for _ in range(options.runs)]
    detail = {
        "windows": count,
        "numpy_ms": rounded(bare),
        "over_numpy": round(statistics.median(bare) / statistics.median(ours), 3),
    }
    return compared("similar", ours, [LIMIT_MS] * len(ours), "ms", False, detail)


def _enter(catalog: object, episodes: list[str]) -> None:
    """Rows of the catalog that have an id, and what else must not be absent."""
    with sqlite3.connect(str(catalog)) as connection:
        columns = connection.execute("PRAGMA table_info(episodes)").fetchall()
        needed = [
            name for _, name, _, absent, default, _ in columns if name == "episode" or (absent and default is None)
        ]
        marks = ", ".join("?" for _ in needed)
        rows = (
            [number if name != "episode" else episode for name in needed] for number, episode in enumerate(episodes)
        )
        connection.executemany(f"INSERT INTO episodes ({', '.join(needed)}) VALUES ({marks})", rows)


def _ms(search: Callable[[Vector], object], asked: list[Vector]) -> float:
    each = []
    for vector in asked:
        began = time.perf_counter()
        search(vector)
        each.append((time.perf_counter() - began) * 1e3)
    return statistics.median(each)


if __name__ == "__main__":
    main(__doc__ or "", measure, runs=5)
