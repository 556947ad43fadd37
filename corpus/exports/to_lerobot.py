"""To LeRobot, dataset format v3.0: numbers at one rate as Parquet, cameras as H.264, with stats, tasks and episodes.

The format is that of https://huggingface.co/docs/lerobot/lerobot-dataset-v3; `make judge-lerobot` has LeRobot's own
loader read what this writes.
"""

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sensorium.corpus.alignment import StandIns
from sensorium.corpus.episode import Episode
from sensorium.corpus.exports.appearing import appearing
from sensorium.corpus.exports.contract import ExportReport, Options, Unsupported
from sensorium.corpus.exports.lerobot_frames import Feature, SingleRate, count, features_of, frames, moments_of
from sensorium.corpus.exports.lerobot_map import LerobotMap, read_map
from sensorium.corpus.exports.lerobot_stats import MOST_PICTURES, Stats, of_all, of_numbers, of_pictures
from sensorium.corpus.exports.lerobot_tables import episodes_table, frame_schema, info, tasks_table
from sensorium.corpus.exports.lerobot_video import Video
from sensorium.drivers.stream import Stamps

FILE = "chunk-000/file-000"


def export_lerobot(episodes: Sequence[Episode], out: Path, options: Options) -> ExportReport:
    """Write a dataset by `options.map`. An episode that has not all of the map's streams, or in which one is silent in
    between, is left out if what is unsupported is skipped."""
    by = read_map(options.map)
    report = ExportReport(out)
    with appearing(out) as folder:
        folder.mkdir()
        with _Dataset(folder, by) as dataset:
            for number, episode in enumerate(episodes):
                try:
                    report.samples += dataset.add(episode.reopened())
                    report.episodes += 1
                except Unsupported as error:
                    if not options.skip_unsupported:
                        raise Unsupported(f"{error}; leave the episode out: --skip-unsupported") from error
                    report.skipped[episode.id] = str(error)
                options.told(number + 1)
            if not report.episodes:
                raise Unsupported(f"no episode fits {options.map}: {next(iter(report.skipped.values()))}")
            dataset.finish()
        report.lost = [each.said(name, by.fps) for name, each in sorted(dataset.rates.items())]
        report.lost += [
            f"{key}: one of its numbers is never finite, so it is not in meta/stats.json, and models take it unscaled"
            for key in dataset.without_stats
        ]
    report.lost.append(
        "stamps and UTC: frame n of an episode is at n / fps from its first; JPEGs and pixels become H.264"
    )
    return report


@dataclass(slots=True)
class _Written:
    """An episode as the dataset has it."""

    id: str
    task: str
    length: int
    first_frame: int
    stats: dict[str, Stats] = field(default_factory=dict)


class _Dataset:
    """A dataset on its way: what its files are once it is finished."""

    def __init__(self, folder: Path, by: LerobotMap) -> None:
        self._folder, self._by = folder, by
        self._open = contextlib.ExitStack()
        self._features: list[Feature] = []
        self._orders: dict[str, str] = {}
        self._videos: dict[str, Video] = {}
        self._data: Any = None
        self._written: list[_Written] = []
        self._tasks: dict[str, int] = {}
        self.rates: dict[str, SingleRate] = {}
        self.without_stats: list[str] = []
        """Of whose numbers one has no finite value: JSON has no NaN, and LeRobot takes no null, but a feature less."""

    def __enter__(self) -> "_Dataset":
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def add(self, episode: Episode) -> int:
        """Write an episode; how many frames.

        Raises:
            Unsupported: it does not fit; nothing of it was written.
        """
        features = features_of(episode, self._by)
        orders = {each.key: episode.streams[each.streams[0]].spec.color_order for each in features}
        at_ns, standing = moments_of(episode, self._by)
        if not self._features:
            self._begin(features, orders)
        elif features != self._features or orders != self._orders:
            unlike = _unlike(features, self._features)
            raise Unsupported(f"episode {episode.id}: its features are not those of the first: {unlike}")
        task = self._by.task_of(episode)
        self._tasks.setdefault(task, len(self._tasks))
        first = sum(each.length for each in self._written)
        written = _Written(episode.id, task, len(at_ns), first)
        count(episode, at_ns, standing, self.rates)
        self._write(episode, written, at_ns, standing)
        self._written.append(written)
        return len(at_ns)

    def finish(self) -> None:
        """Close all files, and say what is in them."""
        self._open.close()
        meta = self._folder / "meta"
        (meta / "episodes" / "chunk-000").mkdir(parents=True)
        stats = of_all([each.stats for each in self._written])
        rows = [(each.id, each.task, each.length, each.first_frame, each.stats) for each in self._written]
        cameras = [each.key for each in self._features if each.is_video]
        pq.write_table(episodes_table(rows, cameras, self._by.fps), meta / "episodes" / f"{FILE}.parquet")
        pq.write_table(tasks_table(list(self._tasks)), meta / "tasks.parquet")
        frames = sum(each.length for each in self._written)
        about = info(self._features, self._by, len(self._written), frames, len(self._tasks))
        (meta / "info.json").write_text(json.dumps(about, indent=4), encoding="utf-8")
        self.without_stats = [key for key, each in stats.items() if not np.isfinite(each["mean"]).all()]
        plain = {
            key: {name: value.tolist() for name, value in each.items()}
            for key, each in stats.items()
            if key not in self.without_stats
        }
        text = json.dumps(plain, indent=4, allow_nan=False)
        (meta / "stats.json").write_text(text, encoding="utf-8")

    def _begin(self, features: list[Feature], orders: dict[str, str]) -> None:
        self._features, self._orders = features, orders
        (self._folder / "data" / "chunk-000").mkdir(parents=True)
        self._data = pq.ParquetWriter(self._folder / "data" / f"{FILE}.parquet", frame_schema(features))
        self._open.callback(self._data.close)
        for each in features:
            if each.is_video:
                height, width, _ = each.shape
                path = self._folder / "videos" / each.key / f"{FILE}.mp4"
                self._videos[each.key] = Video(path, self._by.fps, width, height, self._by.crf)
                self._open.callback(self._videos[each.key].close)

    def _write(self, episode: Episode, written: _Written, at_ns: Stamps, standing: Mapping[str, StandIns]) -> None:
        rows: dict[str, list[Any]] = {each.key: [] for each in self._features}
        every = -(-len(at_ns) // MOST_PICTURES)
        done = 0
        for part in frames(episode, self._features, at_ns, standing, self.rates):
            for each in self._features:
                samples = part[each.key]
                if each.is_video:
                    self._videos[each.key].add(samples, self._orders[each.key])
                    rows[each.key] += [
                        _rgb(samples[row], self._orders[each.key]) for row in range(-done % every, len(samples), every)
                    ]
                else:
                    rows[each.key].append(samples)
            done += len(next(iter(part.values())))
        numbers = {each.key: np.concatenate(rows[each.key]) for each in self._features if not each.is_video}
        columns = self._frame_columns(written)
        self._data.write_table(_table(numbers | columns, self._data.schema))
        written.stats = {each.key: of_pictures(rows[each.key]) for each in self._features if each.is_video}
        written.stats |= {key: of_numbers(each.reshape(len(each), -1)) for key, each in (numbers | columns).items()}

    def _frame_columns(self, written: _Written) -> dict[str, Any]:
        index = np.arange(written.length, dtype=np.int64)
        return {
            "timestamp": (index / self._by.fps).astype(np.float32),
            "frame_index": index,
            "episode_index": np.full(written.length, len(self._written), np.int64),
            "index": index + written.first_frame,
            "task_index": np.full(written.length, self._tasks[written.task], np.int64),
        }


def _table(columns: Mapping[str, Any], schema: Any) -> Any:
    arrays = []
    for name in schema.names:
        column, of = columns[name], schema.field(name).type
        if column.ndim == 1 or (column.shape[1] == 1 and not pa.types.is_fixed_size_list(of)):
            arrays.append(pa.array(column.reshape(-1), of))
        else:
            arrays.append(pa.FixedSizeListArray.from_arrays(pa.array(column.reshape(-1)), type=of))
    return pa.Table.from_arrays(arrays, schema=schema)


def _rgb(picture: Any, order: str) -> Any:
    if picture.ndim == 2:
        return np.repeat(picture[..., None], 3, axis=2)
    return picture if order == "RGB" else picture[..., ::-1]


def _unlike(these: Sequence[Feature], those: Sequence[Feature]) -> str:
    pairs: Iterator[tuple[Feature, Feature]] = zip(these, those, strict=True)
    said = [
        f"{a.key} {list(a.shape)} {', '.join(a.names)}, not {list(b.shape)} {', '.join(b.names)}"
        for a, b in pairs
        if a != b
    ]
    return "; ".join(said) or "the order of colours"
