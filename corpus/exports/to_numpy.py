"""To NumPy: a folder an episode, a folder a stream in it, an array a file, which `np.load` opens, mapped too."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sensorium.corpus.episode import Episode
from sensorium.corpus.exports.contract import (
    ExportReport,
    Options,
    about_episode,
    about_stream,
    each_apart,
    portions,
)
from sensorium.corpus.stream import Stream

ABOUT = "episode.json"


def export_numpy(episodes: Sequence[Episode], out: Path, options: Options) -> ExportReport:
    """Write EPISODE/STREAM/{data, captured_ns, utc_ns, uncertainty_ns, sensor_ns}.npy, those that there are, and what
    was said of them as episode.json. Encoded pictures are decoded: `data` is [n, *shape] of the stream's dtype."""
    return each_apart(episodes, out, options, "", _refusal, _write)


def _refusal(_episode: Episode, stream: Stream) -> str:
    return f"its folder would be where {ABOUT} is" if stream.spec.name == ABOUT else ""


def _write(episode: Episode, streams: Sequence[Stream], path: Path) -> None:
    path.mkdir()
    about = about_episode(episode) | {"streams": {each.spec.name: about_stream(each) for each in streams}}
    (path / ABOUT).write_text(json.dumps(about, indent=1), encoding="utf-8")
    for stream in streams:
        folder = path / stream.spec.name
        folder.mkdir()
        utc_ns, uncertainty_ns = episode.utc(stream.captured_ns)
        arrays = {"captured_ns": stream.captured_ns, "utc_ns": utc_ns, "uncertainty_ns": uncertainty_ns}
        for name, array in (arrays | {"sensor_ns": stream.sensor_ns}).items():
            if array is not None:
                _array(folder / f"{name}.npy", array.shape, array.dtype, [array])
        parts = (stream[start:stop] for start, stop in portions(stream))
        _array(folder / "data.npy", stream.shape, stream.dtype, parts)


def _array(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], parts: Any) -> None:
    """Written, and not mapped: on a full disk a write says so, and a map ends the process."""
    with path.open("wb") as file:
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_2_0(file, header)
        for part in parts:
            file.write(_bytes(part))


def _bytes(part: npt.NDArray[Any]) -> memoryview:
    return np.ascontiguousarray(part).reshape(-1).view(np.uint8).data
