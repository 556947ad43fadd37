"""An episode in Rerun: pictures, JPEGs as they are, and curves, by the device's clock and by UTC where it is known."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from sensorium.corpus.episode import Episode
from sensorium.corpus.exports.appearing import appearing
from sensorium.corpus.exports.contract import portions
from sensorium.corpus.rerun_log import CAPTURED, UTC, RerunLog, Times, check_display, rerun_module
from sensorium.drivers.stream import Stamps
from sensorium.errors import ConfigError, SensoriumError

Progress = Callable[[int, int], None]
SHOWN_S = 60.0
"""A viewer that has not taken a part of an episode after this is taken to be gone."""
_END = b"RRF2FOOT"
"""And a number of 32 bits behind it."""
ELSEWHERE = "make a file, `--save FILE.rrd`, and open it where there is one (`rerun FILE.rrd`), or say `--at URL`"


def save_view(episode: Episode, path: Path, progress: Progress = lambda _done, _total: None) -> None:
    """Make a recording of Rerun, `path`, of all streams of an episode.

    Raises:
        ConfigError: Rerun is not installed, or `path` exists or has another ending than .rrd.
        StoreError: it cannot be written; nothing of it is left.
        Corrupt: what is read is damaged.
    """
    rerun_module()
    if path.suffix != ".rrd":
        raise ConfigError(f"{path}: expected a name that ends in .rrd")
    with appearing(path) as beside:
        recording = _recording(episode, str(beside))
        _log(recording, episode, progress)
        try:
            recording.flush(SHOWN_S)
        except RuntimeError as error:
            raise OSError(errno.EIO, f"Rerun cannot write it ({error})") from error
        recording.close()
        _check_whole(beside)


def _check_whole(path: Path) -> None:
    """`OSError` unless a file has the end that Rerun gives it: its writer tells nobody that it could not."""
    with path.open("rb") as file:
        file.seek(-min(len(_END) + 4, path.stat().st_size), os.SEEK_END)
        end = file.read(len(_END))
    if end != _END:
        raise OSError(errno.EIO, "Rerun could not write its end")


def open_view(episode: Episode, at: str = "", progress: Progress = lambda _done, _total: None) -> None:
    """Show all streams of an episode in Rerun's viewer: in the one that listens at a URL, or here, where it is started
    if none is running, and goes on.

    Raises:
        ConfigError: Rerun is not installed, or there is no display for its viewer.
        Corrupt: what is read is damaged.
        SensoriumError: no viewer takes it.
    """
    rerun_module()
    if not at:
        check_display(ELSEWHERE)
    recording = _recording(episode, at)
    try:
        _log(recording, episode, progress)
        recording.flush(SHOWN_S)
    except RuntimeError as error:
        raise SensoriumError(f"Rerun's viewer {at}: does not take the episode: {error}") from error
    recording.close()


def _recording(episode: Episode, to: str) -> RerunLog:
    return RerunLog(f"{episode.device} {episode.row['mission'] or ''} {episode.id}", episode.id, to)


def _log(recording: RerunLog, episode: Episode, progress: Progress) -> None:
    total, done = sum(len(each) for each in episode.streams.values()), 0
    for stream in episode.streams.values():
        for start, stop in portions(stream):
            times = _times(episode, stream.captured_ns[start:stop])
            if stream.is_encoded:
                items = [np.frombuffer(item, np.uint8) for item in stream.items(start, stop)]
                recording.items(stream.spec, times, items, stream.media_type)
            else:
                recording.values(stream.spec, times, stream[start:stop])
            done += stop - start
            progress(done, total)


def _times(episode: Episode, stamps: Stamps) -> Times:
    """By timeline, of each stamp the moment as numpy's."""
    utc_ns, _ = episode.utc(stamps)
    known = {} if utc_ns is None else {UTC: utc_ns.astype("datetime64[ns]")}
    return {CAPTURED: stamps.astype("timedelta64[ns]"), **known}
