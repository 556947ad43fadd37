"""One frame, one second of an IMU, and opening a store of 100,000 episodes: ours against zarrs on the same store.

Streams of the episode are open before, as those of a loader are; each read is of a random place. The ratio is that of
one lossless frame of 640x480x3.
"""

import time
import uuid
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import uuid_utils
import zarr
from measuring import Comparison, Options, compared, main
from windows import CAMERA, IMU, IMU_HZ, clip, digest, medians, stored

import sensorium
from sensorium.corpus.catalog import Catalog
from sensorium.corpus.catalog_reading import CATALOG
from sensorium.corpus.commits import COMMITS, CommitRecord
from sensorium.episode.codecs.lossless import LosslessConfig

EPISODES = 100_000


def filled(store: Path, episodes: int) -> None:
    """Enter so many episodes in a store's catalog, of which only the first has any data."""
    first = next((store / COMMITS).glob("*/*.json")).read_bytes()
    record = msgspec.json.decode(first, type=CommitRecord)

    def another(ordinal: int) -> CommitRecord:
        episode = uuid.UUID(bytes=uuid_utils.uuid7().bytes)
        row = {**record.row, "episode": str(episode), "ordinal": ordinal}
        return msgspec.structs.replace(record, row=row)

    catalog = Catalog(store / CATALOG)
    catalog.add(another(ordinal) for ordinal in range(1, episodes))
    catalog.close()


def each(read: Callable[[int], object], places: list[int]) -> list[float]:
    """Milliseconds of each read."""
    found = []
    for place in places:
        began_s = time.perf_counter()
        read(place)
        found.append(1e3 * (time.perf_counter() - began_s))
    return found


def measure(options: Options) -> Comparison:
    """Medians of many reads, the readers in turns."""
    taken = clip(2.0 if options.quick else 10.0)
    episode = stored(taken, options.folder, LosslessConfig())
    zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"})
    group = zarr.open_group(episode.folder, mode="r")
    frames, rows = group[f"{CAMERA}/data"], group[f"{IMU}/data"]
    ours = episode.streams
    readers: dict[str, Callable[[int], object]] = {
        "frame": lambda place: ours[CAMERA][place % len(taken.frames)],
        "frame, zarrs": lambda place: frames[place % len(taken.frames)],  # type: ignore[index]
        "imu": lambda place: ours[IMU][place % IMU_HZ : place % IMU_HZ + IMU_HZ],
        "imu, zarrs": lambda place: rows[place % IMU_HZ : place % IMU_HZ + IMU_HZ],  # type: ignore[index]
    }
    for first, second in (("frame", "frame, zarrs"), ("imu", "imu, zarrs")):
        if digest(np.asarray(readers[first](7))) != digest(np.asarray(readers[second](7))):
            raise ValueError(f"{second} reads other samples")
    found: dict[str, list[float]] = {name: [] for name in readers}
    rng = np.random.default_rng(0)
    for _ in range(options.runs):
        for name, read in readers.items():
            found[name] += each(read, rng.integers(0, 1 << 30, 5 if options.quick else 50).tolist())
    store = options.folder / "store"
    filled(store, 1000 if options.quick else EPISODES)
    opening = each(lambda _: sensorium.open(store), list(range(20)))
    p50 = medians(found)
    detail = {
        "frames": taken.kind,
        "p50_ms": p50,
        "open_ms": medians({"open": opening})["open"],
        "episodes": 1000 if options.quick else EPISODES,
        "imu_over_zarrs": round(p50["imu, zarrs"] / p50["imu"], 3),
    }
    return compared("point_reads", found["frame"], found["frame, zarrs"], "ms", False, detail)


if __name__ == "__main__":
    main(__doc__ or "", measure, runs=7)
