"""The tables of a LeRobot dataset: its frames, its tasks, its episodes, and what `info.json` says of it."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from sensorium.corpus.exports.lerobot_frames import Feature
from sensorium.corpus.exports.lerobot_map import LerobotMap
from sensorium.corpus.exports.lerobot_stats import Stats
from sensorium.corpus.exports.lerobot_video import about_video

VERSION = "v3.0"
FRAME_COLUMNS = {
    "timestamp": "float32",
    "frame_index": "int64",
    "episode_index": "int64",
    "index": "int64",
    "task_index": "int64",
}
ID = "sensorium_episode"
"""A column of the episodes' table: which episode of the store each was."""

EpisodeRow = tuple[str, str, int, int, dict[str, Stats]]
"""Id, task, frames, the first frame, stats by feature."""


def frame_schema(features: Sequence[Feature]) -> Any:
    """The columns of `data/`: the features that are numbers, lists of one length, or a number where that is 1."""
    numbers = [each for each in features if not each.is_video]
    fields = [
        (each.key, pa.float32() if each.shape == (1,) else pa.list_(pa.float32(), each.shape[0])) for each in numbers
    ]
    return pa.schema([*fields, *((name, pa.type_for_alias(of)) for name, of in FRAME_COLUMNS.items())])


def tasks_table(tasks: Sequence[str]) -> Any:
    """`task_index` by `task`, which pandas, by which LeRobot reads it, takes as the index."""
    table = pa.table({"task_index": pa.array(range(len(tasks)), pa.int64()), "task": pa.array(tasks, pa.string())})
    columns = [
        {"name": name, "field_name": name, "pandas_type": kind, "numpy_type": of, "metadata": None}
        for name, kind, of in (("task_index", "int64", "int64"), ("task", "unicode", "object"))
    ]
    about = {"index_columns": ["task"], "column_indexes": [], "columns": columns, "pandas_version": "2.2.0"}
    return table.replace_schema_metadata({b"pandas": json.dumps(about).encode()})


def episodes_table(episodes: Sequence[EpisodeRow], cameras: Sequence[str], fps: int) -> Any:
    """A row an episode: its frames, where its video begins and ends, and its stats, a column each."""
    n = len(episodes)
    lengths = np.array([each[2] for each in episodes], np.int64)
    first = np.array([each[3] for each in episodes], np.int64)
    zeros = np.zeros(n, np.int64)
    columns: dict[str, Any] = {
        "episode_index": np.arange(n, dtype=np.int64),
        "tasks": pa.array([[each[1]] for each in episodes], pa.list_(pa.string())),
        "length": lengths,
        "data/chunk_index": zeros,
        "data/file_index": zeros,
        "dataset_from_index": first,
        "dataset_to_index": first + lengths,
    }
    for key in cameras:
        columns |= {f"videos/{key}/chunk_index": zeros, f"videos/{key}/file_index": zeros}
        columns |= {f"videos/{key}/from_timestamp": first / fps, f"videos/{key}/to_timestamp": (first + lengths) / fps}
    for key, stats in episodes[0][4].items():
        for name in stats:
            columns[f"stats/{key}/{name}"] = pa.array([each[4][key][name].tolist() for each in episodes])
    columns |= {"meta/episodes/chunk_index": zeros, "meta/episodes/file_index": zeros}
    columns[ID] = pa.array([each[0] for each in episodes], pa.string())
    return pa.table(columns)


def info(features: Sequence[Feature], by: LerobotMap, episodes: int, frames: int, tasks: int) -> dict[str, Any]:
    """`meta/info.json`."""
    described: dict[str, Any] = {}
    for each in features:
        described[each.key] = {
            "dtype": "video" if each.is_video else "float32",
            "shape": list(each.shape),
            "names": list(each.names),
        }
        if each.is_video:
            height, width, _ = each.shape
            described[each.key]["info"] = about_video(by.fps, width, height)
    for name, of in FRAME_COLUMNS.items():
        described[name] = {"dtype": of, "shape": [1], "names": None}
    return {
        "codebase_version": VERSION,
        "robot_type": by.robot_type,
        "total_episodes": episodes,
        "total_frames": frames,
        "total_tasks": tasks,
        "chunks_size": 1000,
        "data_files_size_in_mb": 100,
        "video_files_size_in_mb": 200,
        "fps": by.fps,
        "splits": {"train": f"0:{episodes}"},
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
        "features": described,
    }
