"""A store of one episode of every kind of stream, and others, for the tests of what is written of it."""

from pathlib import Path
from typing import Any

import numpy as np

import sensorium
from sensorium.corpus.episode import Episode
from sensorium.drivers.clock import Clock
from sensorium.episode.documents import Encoding, Note
from sensorium.ingest.store import Store
from tests.episode_files import EpisodeFile, build_episode

PROBES = [(10**9, 1_700_000_000 * 10**9, 2_000_000), (3 * 10**9, 1_700_000_002 * 10**9 + 70_000, 2_000_000)]
ENCODINGS = {"front": Encoding(codec="jpeg", quality=95)}
SPECS: dict[str, dict[str, Any]] = {
    "front": {"color_order": "BGR", "frame": "optical", "rate_hz": 10.0},
    "raw": {"color_order": "RGB"},
    "imu": {"channels": ("gx", "gy", "az (g)"), "unit": "rad/s, rad/s, g", "rate_hz": 100.0, "has_sensor_ns": True},
}


def everything(large: int = 0, **changes: Any) -> EpisodeFile:
    """Pictures as JPEGs and as they are, rows with and without names, numbers of many kinds, one stream of nothing."""
    rng = np.random.default_rng(7)
    arrays: dict[str, Any] = {
        "front": rng.integers(0, 255, (12, 16, 24, 3), dtype=np.uint8),
        "raw": rng.integers(0, 255, (9, 6, 8, 3), dtype=np.uint8),
        "gray": rng.integers(0, 255, (9, 6, 8), dtype=np.uint8),
        "depth": rng.integers(0, 60_000, (9, 6, 8), dtype=np.uint16),
        "odd": rng.integers(-9, 9, (9, 2, 3, 5), dtype=np.int8),
        "imu": rng.normal(size=(150, 3)),
        "ranges": rng.normal(size=(30, 36)).astype(np.float32),
        "wheel": np.arange(-20, 20, dtype=np.int32),
        "big": np.array([2**63 - 1, -(2**63), 0], np.int64),
        "huge": np.array([2**64 - 1, 0], np.uint64),
        "on": np.array([True, False, True]),
        "none": np.zeros((0, 2), np.float32),
    }
    if large:
        arrays["large"] = rng.normal(size=large)
    kinds = {"encodings": ENCODINGS, "specs": SPECS, "step_ns": 10_000_000, "notes": [Note(kind="event", name="grasp")]}
    return build_episode(arrays, **{**kinds, "labels": {"task": "pick the <b>cup</b>"}, **changes})


def store_of(path: Path, made: list[EpisodeFile], probes: Any = PROBES) -> list[Episode]:
    with Store.open(path) as store:
        for each in made:
            assembly = store.begin(each.episode)
            assembly.append(each.data)
            store.commit(assembly, device=each.manifest.device, identity="k", probes=probes)
    return sensorium.open(path).query()


def recorded(start_ns: int) -> EpisodeFile:
    """Of a recording that states UTC, from a moment on."""
    return everything(clock=Clock(kind="recording", states_utc=True), start_ns=start_ns)
