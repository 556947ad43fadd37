"""Replay of a LeRobot dataset, format v3.0: its episodes one after another, numbers as they are, videos decoded."""

import contextlib
import errno
import json
import logging
import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from sensorium.drivers.clock import SECOND_NS, Clock
from sensorium.drivers.driver import Delivery, Driver, DriverConfig
from sensorium.drivers.marks import EpisodeBegin, EpisodeEnd, SourceNote
from sensorium.drivers.pacing import Pace, Pacer, Timed
from sensorium.drivers.stream import Block, StreamSpec
from sensorium.errors import ConfigError, Corrupt

log = logging.getLogger(__name__)
_APART_NS = SECOND_NS
"""Between two episodes, of which the dataset does not say when they were."""
_OWN = ("timestamp", "frame_index", "episode_index", "index", "task_index")
_VERSIONS = ("v3.0", "v3.1")


class ReplayLerobotConfig(DriverConfig):
    """`path` is the folder of a dataset, with `meta/info.json`.

    Streams are called `name.` and the feature. Frame n of an episode is at n / fps from its first, and a second is
    between two episodes. Videos, AV1 and others, are decoded through PyAV, stills by OpenCV, and are BGR. The task is
    the label `task`; features that are neither numbers nor pictures are named in the log.
    """

    kind: Literal["replay-lerobot"] = "replay-lerobot"
    path: Path
    pace: Pace = 1.0

    def open(self, name: str, base: Path) -> Driver:
        """Read what the dataset says of itself; frames are read as they are due.

        Raises:
            ConfigError: pyarrow or PyAV is not installed, no such dataset, or one of another version.
        """
        try:
            import av  # noqa: F401 - that it is there
            import pyarrow.parquet  # noqa: F401
        except ImportError as error:
            raise ConfigError(f"replay-lerobot: {error}; pip install 'sensorium[lerobot]'") from error
        dataset = _DatasetOfLerobot(base / self.path, name)
        return Timed(dataset.specs, Clock(kind="recording"), _play(dataset), Pacer(self.pace))


class _DatasetOfLerobot:
    """What a dataset says of itself."""

    def __init__(self, path: Path, name: str) -> None:
        self.path = path
        about = path / "meta" / "info.json"
        try:
            self.info: dict[str, Any] = json.loads(about.read_bytes())
            version = self.info["codebase_version"]
            self.fps = float(self.info["fps"])
            features = {key: each for key, each in self.info["features"].items() if key not in _OWN}
            self.videos = {key: f"{name}.{key}" for key, each in features.items() if each["dtype"] == "video"}
            self.numbers = {key: f"{name}.{key}" for key, each in features.items() if _is_number(each["dtype"])}
            self.stills = {key: f"{name}.{key}" for key, each in features.items() if each["dtype"] == "image"}
            known = [key for key in features if key in {**self.videos, **self.numbers, **self.stills}]
            self.total = int(self.info.get("total_episodes", 0))
            self.specs = [self._spec(key, features[key]) for key in known]
        except OSError as error:
            raise ConfigError(f"{about}: {error.strerror}; expected the folder of a LeRobot dataset") from error
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{about}: not what LeRobot says of a dataset: {error!r}") from error
        if version not in _VERSIONS:
            raise ConfigError(
                f"{about}: version {version}, this reads {_VERSIONS[0]}; LeRobot's own script converts it"
            )
        if not self.specs:
            raise ConfigError(f"{about}: no feature that can be replayed")
        if others := [f"{key} ({each['dtype']})" for key, each in features.items() if key not in known]:
            log.warning("%s: features not taken: %s", about, ", ".join(others))

    def _spec(self, key: str, feature: dict[str, Any]) -> StreamSpec:
        shape = tuple(feature["shape"])
        if key in self.videos or key in self.stills:
            if (feature.get("names") or [""])[0] in ("channels", "channel"):
                shape = (*shape[1:], shape[0])
            about = {"modality": "image", "dtype": "uint8", "shape": shape, "color_order": "BGR"}
            name = self.videos.get(key) or self.stills[key]
            return StreamSpec(name=name, rate_hz=self.fps, stamps_from="source", **about)  # type: ignore[arg-type]
        shape = () if shape == (1,) else shape
        names = feature.get("names")
        channels = tuple(map(str, names)) if isinstance(names, list) and shape == (len(names),) else ()
        return StreamSpec(
            name=self.numbers[key],
            modality="rows",
            dtype=feature["dtype"],
            shape=shape,
            channels=channels,
            rate_hz=self.fps,
            stamps_from="source",
        )


def _is_number(dtype: str) -> bool:
    return dtype in (
        "bool",
        "float32",
        "float64",
        "int8",
        "int16",
        "int32",
        "int64",
        "uint8",
        "uint16",
        "uint32",
        "uint64",
    )


def _play(dataset: _DatasetOfLerobot) -> Generator[tuple[int, Delivery], None, None]:
    start_ns = 0
    tasks = {int(each["task_index"]): str(_task(each)) for each in _rows(dataset.path / "meta" / "tasks.parquet")}
    count, folder = 0, dataset.path / "meta" / "episodes"
    for path in sorted(folder.glob("*/*.parquet")):
        for episode in _rows(path):
            count += 1
            end_ns = start_ns
            for due_ns, delivery in _episode(dataset, episode, tasks, start_ns):
                end_ns = due_ns
                yield due_ns, delivery
            start_ns = end_ns + _APART_NS
    if count < dataset.total:
        raise Corrupt(f"{folder}: {count} episodes, info.json says {dataset.total}; it was cut short")


def _episode(
    dataset: _DatasetOfLerobot, episode: dict[str, Any], tasks: dict[int, str], start_ns: int
) -> Iterator[tuple[int, Delivery]]:
    number, length = int(episode["episode_index"]), int(episode["length"])
    table = _data(dataset, episode)
    if len(table) != length:
        raise Corrupt(f"{dataset.path}: episode {number} has {len(table)} rows, expected {length}; it was cut short")
    if not length:
        return
    at_ns = start_ns + np.rint(np.arange(length) * (SECOND_NS / dataset.fps)).astype(np.int64)
    said = (episode.get("tasks") or [""])[0] or tasks.get(int(table["task_index"][0].as_py()), "")
    yield (
        start_ns,
        EpisodeBegin(start_ns, {"task": said[:200], "episode_index": number} if said else {"episode_index": number}),
    )
    if len(said) > 200:
        yield start_ns, SourceNote("event", "task", said, start_ns=start_ns)
    where = f"{dataset.path}: episode {number}"
    columns = {spec.name: _numbers(where, table[key], spec) for key, spec in _specs(dataset, dataset.numbers)}
    videos = {name: _frames(dataset, key, episode) for key, name in dataset.videos.items()}
    videos |= {spec.name: _stills(where, table[key], spec) for key, spec in _specs(dataset, dataset.stills)}
    shapes = {spec.name: spec.shape for spec in dataset.specs}
    try:
        for row in range(length):
            stamps = at_ns[row : row + 1]
            for name, column in columns.items():
                yield int(at_ns[row]), Block(name, stamps, column[row : row + 1])
            for name, frames in videos.items():
                frame = next(frames, None)
                if frame is None:
                    raise Corrupt(f"{where}: {name} ends at frame {row} of {length}; it was cut short, or is damaged")
                if frame.shape != shapes[name]:
                    said = f"its pictures are {list(frame.shape)}, info.json says {list(shapes[name])}"
                    raise Corrupt(f"{where}: {name}: {said}")
                yield int(at_ns[row]), Block(name, stamps, frame[None])
    finally:
        for frames in videos.values():
            frames.close()
    yield int(at_ns[-1]) + 1, EpisodeEnd(int(at_ns[-1]) + 1, passed=True)


def _data(dataset: _DatasetOfLerobot, episode: dict[str, Any]) -> Any:
    import pyarrow.parquet as pq

    path = _file(dataset, "data_path", "data", episode)
    try:
        found = pq.read_table(path, filters=[("episode_index", "=", int(episode["episode_index"]))])
    except (OSError, ValueError) as error:
        raise Corrupt(f"{path}: {_why(path, error)}") from error
    if absent := ({*dataset.numbers, *dataset.stills} - {*found.column_names}):
        raise Corrupt(f"{path}: no column {', '.join(sorted(absent))}, which info.json says there is")
    return found


def _file(dataset: _DatasetOfLerobot, pattern: str, of: str, episode: dict[str, Any], **more: str) -> Path:
    """Where `info.json` says that the data, or the video of a feature, of an episode is."""
    try:
        chunk, file = int(episode[f"{of}/chunk_index"]), int(episode[f"{of}/file_index"])
        return dataset.path / str(dataset.info[pattern]).format(chunk_index=chunk, file_index=file, **more)
    except (KeyError, ValueError, IndexError, TypeError, AttributeError) as error:
        raise Corrupt(f"{dataset.path}: {pattern} and meta/episodes do not say where {of} is: {error!r}") from error


def _specs(dataset: _DatasetOfLerobot, named: dict[str, str]) -> list[tuple[str, StreamSpec]]:
    by_name = {spec.name: spec for spec in dataset.specs}
    return [(key, by_name[name]) for key, name in named.items()]


def _numbers(where: str, column: Any, spec: StreamSpec) -> Any:
    try:
        return np.array(column.to_pylist(), spec.dtype).reshape(len(column), *spec.shape)
    except (ValueError, TypeError, OverflowError) as error:
        raise Corrupt(f"{where}: {spec.name}: not {spec.dtype} {list(spec.shape)}: {error}") from error


def _stills(where: str, column: Any, spec: StreamSpec) -> Generator[Any, None, None]:
    """Pictures that stand as files, PNGs mostly, in the table, [h, w, 3] BGR."""
    for row, cell in enumerate(column):
        data = (cell.as_py() or {}).get("bytes")
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
        if picture is None:
            raise Corrupt(f"{where}: {spec.name}: frame {row} is no picture")
        yield picture


def _frames(dataset: _DatasetOfLerobot, key: str, episode: dict[str, Any]) -> Generator[Any, None, None]:
    """The pictures of an episode, [h, w, 3] BGR."""
    import av

    path = _file(dataset, "video_path", f"videos/{key}", episode, video_key=key)
    first_s, half_s = float(episode[f"videos/{key}/from_timestamp"]), 0.5 / dataset.fps
    try:
        with av.open(str(path)) as file:
            stream = file.streams.video[0]
            stream.thread_type = "AUTO"
            file.seek(max(0, round((first_s - half_s) / float(stream.time_base or 1))), stream=stream)
            # Of damage FFmpeg tells by how many threads it has, so by the cores, or not: either way pictures end here.
            with contextlib.suppress(av.error.InvalidDataError):
                for frame in file.decode(stream):
                    if frame.time is not None and frame.time > first_s - half_s:
                        yield frame.to_ndarray(format="bgr24")
    except (av.FFmpegError, OSError) as error:
        raise Corrupt(f"{path}: {_why(path, error)}") from error


def _why(path: Path, error: Exception) -> str:
    """What a library says of a file; of one that is not there pyarrow and PyAV say its name alone."""
    if not path.exists():
        return f"{os.strerror(errno.ENOENT)}, and meta says there is; get the dataset whole, then import it again"
    return str(error).replace(f"{path}", path.name).removeprefix(f"{path.name}: ")


def _rows(path: Path) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    try:
        found: list[dict[str, Any]] = pq.read_table(path).to_pylist()
        return found
    except (OSError, ValueError) as error:
        raise Corrupt(f"{path}: {_why(path, error)}") from error


def _task(row: dict[str, Any]) -> Any:
    return row.get("task", row.get("__index_level_0__", ""))
