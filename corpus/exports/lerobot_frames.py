"""An episode at one rate: of each moment the samples that stand for it, and what of the streams that leaves out."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from sensorium.corpus.alignment import StandIns, grid, stand_ins
from sensorium.corpus.episode import Episode
from sensorium.corpus.exports.contract import PORTION_BYTES, Unsupported
from sensorium.corpus.exports.lerobot_map import LerobotMap
from sensorium.drivers.stream import Stamps

Array = npt.NDArray[Any]
_MOST_FRAMES = 600


@dataclass(frozen=True, slots=True)
class Feature:
    """One feature: its streams, whether it is of pictures, the shape of one sample and the names of its numbers."""

    key: str
    streams: tuple[str, ...]
    is_video: bool
    shape: tuple[int, ...]
    names: tuple[str, ...]


@dataclass(slots=True)
class SingleRate:
    """What became of a stream's samples at one rate, over all episodes: those there were, those that stand for some
    moment, moments, how far at most a sample is from its moment, and of the numbers in the samples that were taken
    those that are not finite, and those that are in float32 no more."""

    samples: int = 0
    used: int = 0
    moments: int = 0
    furthest_ns: int = 0
    dtypes: set[str] = field(default_factory=set)
    odd: int = 0
    beyond: int = 0

    def said(self, name: str, fps: int) -> str:
        """In words."""
        twice = self.moments - self.used
        told = f"{name}: at {fps} Hz {self.used} of {self.samples} samples, "
        told += f"{twice} of {self.moments} moments repeat one, " if twice else ""
        told += f"up to {self.furthest_ns / 1e6:.1f} ms from their moment"
        told += f"; {', '.join(sorted(self.dtypes))} become float32" if self.dtypes - {"float32"} else ""
        told += f"; {self.beyond} numbers are beyond float32, and infinite in it" if self.beyond else ""
        return told + (f"; {self.odd} are no number or infinite, which the stats leave out" if self.odd else "")

    def add_numbers(self, samples: Array) -> None:
        """Count those that are odd, and those that will be."""
        if samples.dtype.kind == "f":
            odd = int((~np.isfinite(samples)).sum())
            with np.errstate(over="ignore"):
                self.beyond += int((~np.isfinite(samples.astype(np.float32))).sum()) - odd
            self.odd += odd


def features_of(episode: Episode, by: LerobotMap) -> list[Feature]:
    """The features that a map makes of an episode.

    Raises:
        Unsupported: a stream is not there, or none that LeRobot has a place for.
    """
    return [_feature(episode, key, by.streams_of(key)) for key in by.features]


def moments_of(episode: Episode, by: LerobotMap) -> tuple[Stamps, dict[str, StandIns]]:
    """The moments of an episode at the map's rate, from the first at which all streams are there to the last, and of
    each stream which samples stand for them.

    Raises:
        Unsupported: a stream is silent in between, or the streams are never there together.
    """
    at_ns = grid(episode.start_ns, episode.end_ns, by.fps)
    found = _stand_ins(episode, by, at_ns)
    there = np.flatnonzero(np.logical_and.reduce([each.present for each in found.values()]))
    if not len(there):
        raise Unsupported(f"episode {episode.id}: {', '.join(found)} are never there together")
    at_ns = at_ns[there[0] : there[-1] + 1]
    found = _stand_ins(episode, by, at_ns)
    for name, each in found.items():
        if not each.present.all():
            silent = int((~each.present).sum())
            what = f"silent for {silent} of {len(at_ns)} frames, which LeRobot cannot say"
            raise Unsupported(f"episode {episode.id}, stream {name!r}: {what}")
    return at_ns, found


def frames(
    episode: Episode,
    features: list[Feature],
    at_ns: Stamps,
    standing: Mapping[str, StandIns],
    rates: Mapping[str, SingleRate],
) -> Iterator[dict[str, Array]]:
    """Parts of an episode: of each feature its samples [n, *shape], numbers as float32; `rates` is told of these."""
    streams = {name: episode.streams[name] for name in standing}
    size = sum(stream.spec.sample_bytes for stream in streams.values())
    step = max(1, min(_MOST_FRAMES, PORTION_BYTES // max(1, size)))
    for start in range(0, len(at_ns), step):
        part = slice(start, start + step)
        found = {name: stream.take(standing[name].before[part]) for name, stream in streams.items()}
        for name, samples in found.items():
            rates[name].add_numbers(samples)
        yield {each.key: _joined(each, found) for each in features}


def count(episode: Episode, at_ns: Stamps, standing: Mapping[str, StandIns], rates: dict[str, SingleRate]) -> None:
    """Add to `rates` what an episode loses of each stream."""
    for name, each in standing.items():
        stream = episode.streams[name]
        rate = rates.setdefault(name, SingleRate())
        apart_ns = int(np.abs(stream.captured_ns[each.before] - at_ns).max())
        rate.samples += len(stream)
        rate.used += len(np.unique(each.before))
        rate.moments += len(at_ns)
        rate.furthest_ns = max(rate.furthest_ns, apart_ns)
        if not stream.spec.is_frames:
            rate.dtypes.add(stream.spec.dtype)


def _stand_ins(episode: Episode, by: LerobotMap, at_ns: Stamps) -> dict[str, StandIns]:
    names = sorted({name for key in by.features for name in by.streams_of(key)})
    streams = {name: episode.streams[name] for name in names}
    return {
        name: stand_ins(stream.captured_ns, at_ns, by.align, stream.spec.rate_hz) for name, stream in streams.items()
    }


def _feature(episode: Episode, key: str, names: list[str]) -> Feature:
    where = f"episode {episode.id}"
    for name in names:
        if name not in episode.streams:
            raise Unsupported(f"{where}: no stream {name!r} for {key}; it has {', '.join(episode.streams)}")
    specs = [episode.streams[name].spec for name in names]
    if len(specs) == 1 and specs[0].is_frames:
        spec = specs[0]
        height, width = spec.shape[:2]
        if spec.dtype != "uint8" or len(spec.shape) > 3 or (len(spec.shape) == 3 and spec.shape[2] != 3):
            raise Unsupported(f"{where}, stream {spec.name!r}: {spec.dtype} {list(spec.shape)} is no picture for H.264")
        if height % 2 or width % 2:
            raise Unsupported(f"{where}, stream {spec.name!r}: {width} x {height}: H.264 (yuv420p) has even sides")
        return Feature(key, tuple(names), True, (height, width, 3), ("height", "width", "channels"))
    numbers: list[str] = []
    for spec in specs:
        if spec.is_frames:
            raise Unsupported(f"{where}, stream {spec.name!r}: pictures are a feature of their own, not with numbers")
        count = int(np.prod(spec.shape, dtype=np.int64))
        named = spec.channels if len(spec.channels) == count else tuple(f"{n}" for n in range(count))
        numbers += [f"{spec.name}.{each}" if len(specs) > 1 else each for each in named]
    return Feature(key, tuple(names), False, (len(numbers),), tuple(numbers))


def _joined(feature: Feature, found: Mapping[str, Array]) -> Array:
    parts = [found[name] for name in feature.streams]
    if feature.is_video:
        return parts[0]
    with np.errstate(over="ignore"):
        return np.concatenate([part.reshape(len(part), -1).astype(np.float32) for part in parts], axis=1)
