"""An hour of a JPEG camera (640x480 at 30 Hz) and an IMU (200 Hz) to MCAP, against a bare copy by the mcap writer.

The bare copy writes the messages of our file once more, with the same stamps, by the same writer with the same chunks.
It reads their bytes from one plain file, in order, as ours reads the store; it finds no order, checks and encodes
nothing. In the detail are two others: one that has all bytes in memory, and one that reads them from our file by the
mcap reader. All are CPU seconds, in turns, so that others on the machine count little.

Beside that, `sensorium copy`, which ends with all of it on disk, against `cp -r` and a sync, and against `cp -r` alone,
whose bytes are in memory, of two stores of a few hundred MB: of folders and of ZIPs, in wall and CPU seconds, in turns;
a ratio of wall seconds is the median of the turns' own. `wall_ratio_before_sync` is that of `cp -r` alone and of a copy
whose own syncs do nothing (those of SQLite, which keeps the catalog, do): it leaves its bytes in memory too. What is
removed of one copy would make the file system slow at the next, so each has a group of inodes of its own. `seconds`
says how long a stretch was taken.
"""

import os
import resource
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

from mcap.reader import make_reader
from mcap.writer import CompressionType, Writer
from measuring import Comparison, Options, apart, compared, main
from windows import Clip, clip, stored

import sensorium
from sensorium.corpus.episode import Episode
from sensorium.corpus.exports.contract import export
from sensorium.episode import durable
from sensorium.episode.codecs.jpeg import JpegConfig
from sensorium.ingest.copying import copy

CLIP_S, EPISODES = 60.0, 60
SHORT_S = 4.0
COPIED = {"folders": (2.0, 0), "zips": (2.0, 8_000_000)}
"""By form: how long an episode is, and below what size it is a ZIP."""
COPIED_TIMES = 4
"""So many times the clip is copied: some hundreds of MB."""


def measure(options: Options) -> Comparison:
    """Interleaved, both of the export and of the copy."""
    taken = clip(SHORT_S if options.quick else CLIP_S)
    folder = options.folder
    stored(taken, folder, JpegConfig())
    (episode,) = sensorium.open(folder / "store").query()
    again = 1 if options.quick else EPISODES
    spent: dict[str, list[float]] = {name: [] for name in ("ours", "plain", "memory", "reader", "wall")}
    for _ in range(options.runs):
        total = dict.fromkeys(spent, 0.0)
        for _ in range(again):
            for name, seconds in exported(episode, folder).items():
                total[name] += seconds
        for name, seconds in total.items():
            spent[name].append(seconds)
    middle = {name: statistics.median(each) for name, each in spent.items()}
    detail: dict[str, Any] = {
        "seconds": (SHORT_S if options.quick else CLIP_S) * again,
        "samples_an_episode": sum(map(len, episode.streams.values())),
        "mb_an_episode": round(episode.row["bytes"] / 1e6, 1),
        "wall_s": round(middle["wall"], 2),
        "bare_from_memory_s": round(middle["memory"], 3),
        "ratio_from_memory": round(middle["memory"] / middle["ours"], 3),
        "bare_by_reader_s": round(middle["reader"], 3),
        "ratio_by_reader": round(middle["reader"] / middle["ours"], 3),
    }
    for form, (length_s, small_bytes) in COPIED.items():
        detail[f"copy_{form}"] = copied_and_cp(taken, folder / form, length_s, small_bytes, options)
    ours, plain = ([1e3 * each for each in spent[name]] for name in ("ours", "plain"))
    return compared("export", ours, plain, "ms", False, {"of": "CPU time", **detail})


def exported(episode: Episode, folder: Path) -> dict[str, float]:
    """CPU seconds of each way to make the file; `wall` of ours."""
    path, plain, bare = folder / "ours.mcap", folder / "plain", folder / "bare.mcap"
    started = time.perf_counter()
    found = {"ours": took(lambda: export([episode], "mcap", path))}
    found["wall"] = time.perf_counter() - started
    messages = list(read(path))
    plain.write_bytes(b"".join(each[2] for each in messages))
    about = [(*each[:2], len(each[2]), *each[3:]) for each in messages]
    assert len(messages) == sum(map(len, episode.streams.values()))
    ways: dict[str, Callable[[], Iterable[Message]]] = {
        "memory": lambda: messages,
        "plain": lambda: from_plain(plain, about),
        "reader": lambda: read(path),
    }
    for name, way in ways.items():
        found[name] = took(lambda way=way: written(way(), bare))  # type: ignore[misc]
        bare.unlink()
    path.unlink()
    plain.unlink()
    return found


def took(what: Callable[[], object]) -> float:
    """CPU seconds of this process, all threads."""
    started = time.process_time()
    what()
    return time.process_time() - started


Message = tuple[int, int, bytes, int, int]


def read(path: Path) -> Iterator[Message]:
    """The messages of a file in its order."""
    with path.open("rb") as file:
        for _, _, m in make_reader(file).iter_messages(log_time_order=False):
            yield m.channel_id, m.log_time, m.data, m.publish_time, m.sequence


def from_plain(path: Path, about: Sequence[tuple[int, int, int, int, int]]) -> Iterator[Message]:
    """The same, of a file of their bytes alone; `about` has lengths in place of them."""
    with path.open("rb", 1 << 20) as file:
        for channel, log_ns, length, publish_ns, sequence in about:
            yield channel, log_ns, file.read(length), publish_ns, sequence


def written(messages: Iterable[Message], path: Path) -> None:
    """The bare copy, on disk at its end as ours is."""
    with path.open("wb") as file:
        writer = Writer(file, compression=CompressionType.NONE)
        writer.start()
        schema = writer.register_schema("bytes", "", b"")
        for channel in (1, 2):
            writer.register_channel(f"/{channel}", "", schema)
        for each in messages:
            writer.add_message(*each)
        writer.finish()
        file.flush()
        os.fsync(file.fileno())


def copied_and_cp(taken: Clip, folder: Path, length_s: float, small_bytes: int, options: Options) -> dict[str, Any]:
    """Wall and CPU seconds of `sensorium copy` and of `cp -r` of one store, in turns."""
    for number in range(1 if options.quick else COPIED_TIMES):
        stored(taken, folder / str(number), JpegConfig(), length_s, small_bytes)
        if number:
            copy(folder / str(number) / "store", folder / "0" / "store")
    store = folder / "0" / "store"
    rows = list(sensorium.open(store).rows(columns=["bytes"]))
    ways: dict[str, Callable[[Path, Path], None]] = {
        "copy": copied,
        "cp_and_sync": cp_and_sync,
        "copy_before_sync": copied_unsynced,
        "cp": cp,
    }
    walls: dict[str, list[float]] = {name: [] for name in ways}
    cpus: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(max(options.runs, 1 if options.quick else 5)):
        for name, way in ways.items():
            target = apart(folder / "copies")
            os.sync()
            started, cpu = time.perf_counter(), cpu_s()
            way(store, target)
            walls[name].append(time.perf_counter() - started)
            cpus[name].append(cpu_s() - cpu)
            shutil.rmtree(target)
    wall, cpu_of = ({name: statistics.median(each) for name, each in found.items()} for found in (walls, cpus))
    return {
        "episodes": len(rows),
        "mb": round(sum(each["bytes"] for each in rows) / 1e6, 1),
        "wall_ratio": round(turns(walls["cp_and_sync"], walls["copy"]), 3),
        "wall_ratio_to_cp_in_memory": round(turns(walls["cp"], walls["copy"]), 3),
        "wall_ratio_before_sync": round(turns(walls["cp"], walls["copy_before_sync"]), 3),
        "cpu_ratio": round(turns(cpus["cp_and_sync"], cpus["copy"]), 3),
        "wall_s": {name: round(each, 3) for name, each in wall.items()},
        "cpu_s": {name: round(each, 3) for name, each in cpu_of.items()},
    }


def turns(theirs: Sequence[float], ours: Sequence[float]) -> float:
    """The median of the ratios of each turn, in which others on the machine were about the same."""
    return statistics.median(one / other for one, other in zip(theirs, ours, strict=True))


def cpu_s() -> float:
    """Of this process and of those that it waited for."""
    mine, theirs = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return mine.ru_utime + mine.ru_stime + theirs.ru_utime + theirs.ru_stime


def copied(store: Path, target: Path) -> None:
    """`sensorium copy`, which syncs."""
    copy(store, target)


class Unsynced:
    """Stands in for `os` where what is durable is made so: nothing is waited for, and no disk begins."""

    def __getattr__(self, name: str) -> Any:
        nothing = name in ("fsync", "fdatasync", "syncfs", "posix_fadvise")
        return (lambda *_: None) if nothing else getattr(os, name)


def copied_unsynced(store: Path, target: Path) -> None:
    """`sensorium copy` as far as memory."""
    with mock.patch.object(durable, "os", Unsynced()):
        copy(store, target)


def cp(store: Path, target: Path) -> None:
    """`cp -r`."""
    subprocess.run(["cp", "-r", str(store), str(target)], check=True)


def cp_and_sync(store: Path, target: Path) -> None:
    """`cp -r`, and a sync of what it wrote."""
    cp(store, target)
    subprocess.run(["sync", "-f", str(target)], check=True)


if __name__ == "__main__":
    main(__doc__ or "", measure, runs=3)
