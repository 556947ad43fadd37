"""An hour of a JPEG camera (640x480 at 30 Hz) and an IMU (200 Hz) to MCAP, against a bare copy by the mcap writer.

The bare copy writes the messages of our file once more, with the same stamps, by the same writer with the same chunks:
they are in memory, so it reads nothing, finds no order and encodes nothing. In the detail `copy` of the same store
against `cp -r` of it (both synced at the end), and what is read by the mcap library is as many messages as there are
samples. Where the disk has no room for an hour a shorter stretch is taken: `seconds` says how long.
"""

import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from mcap.reader import make_reader
from mcap.writer import CompressionType, Writer
from measuring import Comparison, Options, compared, main
from windows import clip, stored

import sensorium
from sensorium.corpus.exports.contract import export
from sensorium.episode.codecs.jpeg import JpegConfig
from sensorium.ingest.copying import copy

CLIP_S, EPISODES = 60.0, 60
SHORT_S = 4.0


def measure(options: Options) -> Comparison:
    """Interleaved; CPU seconds, so that others on the machine count little. `wall` is in the detail."""
    seconds = SHORT_S if options.quick else CLIP_S
    stored(clip(seconds), options.folder, JpegConfig())
    corpus = sensorium.open(options.folder / "store")
    (episode,) = corpus.query()
    again = 1 if options.quick else EPISODES
    ours, bare, wall = [], [], []
    copies, cps = [], []
    for _ in range(options.runs):
        spent = bare_s = began_wall = 0.0
        for _ in range(again):
            path = options.folder / "ours.mcap"
            started = time.perf_counter()
            spent += took(lambda path=path: export([episode], "mcap", path))  # type: ignore[misc]
            began_wall += time.perf_counter() - started
            messages = read(path)
            path.unlink()
            bare_s += took(lambda messages=messages: written(messages, options.folder / "bare.mcap"))  # type: ignore[misc]
            (options.folder / "bare.mcap").unlink()
        ours.append(spent)
        bare.append(bare_s)
        wall.append(began_wall)
        copies.append(copied(options.folder / "store", options.folder / "copy"))
        cps.append(cp(options.folder / "store", options.folder / "cp"))
    detail = {
        "seconds": seconds * again,
        "wall_s": round(statistics.median(wall), 2),
        "messages_an_episode": len(messages),
        "samples_an_episode": sum(map(len, episode.streams.values())),
        "copy_over_cp_wall": round(statistics.median(cps) / statistics.median(copies), 3),
        "copy_s": round(statistics.median(copies), 3),
        "cp_s": round(statistics.median(cps), 3),
        "store_mb": round(episode.row["bytes"] / 1e6, 1),
    }
    return compared("export mcap", ours, bare, "CPU s", False, detail)


def took(what: Callable[[], object]) -> float:
    """CPU seconds of this process, all threads."""
    started = time.process_time()
    what()
    return time.process_time() - started


Message = tuple[int, int, bytes, int, int]


def read(path: Path) -> list[Message]:
    """The messages of a file in its order."""
    with path.open("rb") as file:
        found = make_reader(file).iter_messages(log_time_order=False)
        return [(m.channel_id, m.log_time, m.data, m.publish_time, m.sequence) for _, _, m in found]


def written(messages: list[Message], path: Path) -> None:
    """The bare copy, on disk at its end as ours is."""
    with path.open("wb") as file:
        writer = Writer(file, compression=CompressionType.NONE)
        writer.start()
        schema = writer.register_schema("bytes", "", b"")
        for channel in {each[0] for each in messages}:
            writer.register_channel(f"/{channel}", "", schema)
        for each in messages:
            writer.add_message(*each)
        writer.finish()
        file.flush()
        os.fsync(file.fileno())


def copied(store: Path, target: Path) -> float:
    """Wall seconds of `sensorium copy`."""
    started = time.perf_counter()
    copy(store, target)
    spent = time.perf_counter() - started
    shutil.rmtree(target)
    return spent


def cp(store: Path, target: Path) -> float:
    """Wall seconds of `cp -r`, and of a sync of what it wrote."""
    started = time.perf_counter()
    subprocess.run(["cp", "-r", str(store), str(target)], check=True)
    subprocess.run(["sync", "-f", str(target)], check=True)
    spent = time.perf_counter() - started
    shutil.rmtree(target)
    return spent


if __name__ == "__main__":
    main(__doc__ or "", measure, runs=3)
