"""What a card has of an episode's own samples: where it was, what was measured, what it looks like. Never of truth."""

import math
from collections.abc import Iterable, Iterator, Mapping

import cv2
import msgspec
import numpy as np
import numpy.typing as npt

from sensorium.agents.planning.card import MOST_MEASURED
from sensorium.agents.planning.gain import BRIGHTNESS, MOTION
from sensorium.agents.plans.asked import DEVICE_WIDE
from sensorium.agents.plans.causing import ON_THE_WAY, PHASE
from sensorium.corpus.episode import Episode
from sensorium.corpus.stream import Stream
from sensorium.drivers.controls import CONTROL
from sensorium.drivers.stream import StreamSpec
from sensorium.episode.documents import Note
from sensorium.perception.coverage import unit_vectors
from sensorium.perception.descriptor import descriptor
from sensorium.perception.drawing import picture
from sensorium.perception.gray import is_pictures
from sensorium.perception.working import working

VERSION = 1
"""Goes up when the same samples give something else."""
TRUTH = ("truth",)
PLACES = ("position", "pose", "odometry", "place")
"""Modalities of streams that tell where a source is, by its own senses."""
THUMBNAIL = 96
PICTURES = 6
"""So many of a stream's pictures are looked at, evenly spaced."""
DIFFER = 0.97
BANDS = 48
"""Of one spectrum; the other measurements are means of channels."""
_MOST_ROWS = 1 << 14
_MOST_CHANNELS = 64


class SampledCard(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The part of a card that takes reading; kept beside the episode, as an episode does not change."""

    version: int = VERSION
    where: dict[str, float] = {}
    labels: dict[str, str] = {}
    measured: dict[str, float] = {}
    decided: dict[str, float] = {}
    looks: tuple[bytes, ...] = ()
    thumbnail: bytes = b""
    on_the_way: bool = False


def sampled(episode: Episode) -> SampledCard:
    """Read what a card has.

    Raises:
        Corrupt: it cannot be read.
        ConfigError: a codec is not installed.
    """
    streams = {name: each for name, each in episode.streams.items() if each.spec.modality not in TRUTH and len(each)}
    notes = episode.notes
    went, chosen = _did(notes)
    seen = [(name, each) for name, each in streams.items() if is_pictures(each.spec)]
    looks, brightness, thumbnail = _pictures(seen)
    rows = {name: each for name, each in streams.items() if not each.spec.is_frames}
    measured = brightness | _motion(rows)
    measured |= _bands(rows, MOST_MEASURED - len(measured))
    measured |= dict(_first(_means(rows), MOST_MEASURED - len(measured)))
    return SampledCard(
        where=_places(rows) | went,
        labels=chosen,
        measured=dict(_first(measured.items(), MOST_MEASURED)),
        decided=_decided(notes),
        looks=looks,
        thumbnail=thumbnail,
        on_the_way=any(_is_of_the_way(note) for note in notes),
    )


def _is_of_the_way(note: Note) -> bool:
    return note.kind == CONTROL and isinstance(note.value, Mapping) and note.value.get(PHASE) == ON_THE_WAY


def _did(notes: Iterable[Note]) -> tuple[dict[str, float], dict[str, str]]:
    """What controls were at last, as their source measured it: numbers, and choices."""
    numbers: dict[str, float] = {}
    choices: dict[str, str] = {}
    for note in notes:
        is_control = note.kind == CONTROL and isinstance(note.value, Mapping)
        did = note.value.get("did") if is_control and note.value.get("plan") not in DEVICE_WIDE else None
        for name, value in did.items() if isinstance(did, Mapping) else ():
            bare = str(name).rpartition(".")[2]
            if isinstance(value, str):
                choices[bare] = value
            elif isinstance(value, int | float) and math.isfinite(value):
                numbers[bare] = float(value)
    return numbers, choices


def _decided(notes: Iterable[Note]) -> dict[str, float]:
    """How many of its units were kept and dropped, and by which reason."""
    found: dict[str, float] = {}
    for note in notes:
        if note.kind == "decision":
            found[note.name] = found.get(note.name, 0.0) + 1.0
    return found


def _places(rows: Mapping[str, Stream]) -> dict[str, float]:
    """The middle of what streams of places say, `x` in `mm` as `x_mm`."""
    found: dict[str, float] = {}
    for stream in rows.values():
        if stream.spec.modality not in PLACES or len(stream.spec.shape) != 1:
            continue
        values = _finite(stream)
        for name, unit, column in zip(*_named(stream.spec), values.T, strict=True):
            known = column[np.isfinite(column)]
            if len(known):
                said = name if not unit or name.endswith(f"_{unit}") else f"{name}_{unit}"
                found.setdefault(said, float(np.median(known)))
    return found


def _named(spec: StreamSpec) -> tuple[list[str], list[str]]:
    """The channels of a stream of rows, and the unit of each."""
    count = spec.shape[0] if spec.shape else 1
    names = list(spec.channels) if len(spec.channels) == count else [str(number) for number in range(count)]
    units = [unit.strip() for unit in spec.unit.split(",")]
    return names, units if len(units) == count else [spec.unit if len(units) == 1 else ""] * count


def _finite(stream: Stream) -> npt.NDArray[np.float64]:
    """[n, channels], at most so many rows, evenly spaced; what is not finite is NaN."""
    step = max(1, -(-len(stream) // _MOST_ROWS))
    data = np.asarray(stream[: _MOST_ROWS * step], np.float64)[::step]
    found = data.reshape(len(data), -1)
    found[~np.isfinite(found)] = np.nan
    return found


def _motion(rows: Mapping[str, Stream]) -> dict[str, float]:
    """How fast each IMU turned, the root of the mean square."""
    found = {}
    for name, stream in rows.items():
        if stream.spec.modality == "imu" and stream.spec.shape == (6,) and stream.spec.unit.startswith("rad/s"):
            turning = _finite(stream)[:, :3]
            square = turning[np.isfinite(turning).all(axis=1)] ** 2
            if len(square):
                found[f"{name}{MOTION}"] = float(np.sqrt(square.sum(axis=1).mean()))
    return found


def _bands(rows: Mapping[str, Stream], room: int) -> dict[str, float]:
    """The bands of the spectrum that has most rows, the mean of all."""
    those = [each for each in rows.items() if each[1].spec.modality == "spectrum" and len(each[1].spec.shape) == 1]
    if not those:
        return {}
    name, stream = max(those, key=lambda each: (len(each[1]), each[0]))
    values = _finite(stream)
    values = values[np.isfinite(values).all(axis=1)]
    if not len(values):
        return {}
    parts = np.array_split(values.mean(axis=0), min(BANDS, room, values.shape[1]))
    return {f"{name}.{number:02d}": float(part.mean()) for number, part in enumerate(parts)}


def _means(rows: Mapping[str, Stream]) -> Iterator[tuple[str, float]]:
    """Of all channels of streams that have few, those that have fewest first."""
    few = [each for each in rows.items() if math.prod(each[1].spec.shape) <= _MOST_CHANNELS]
    for name, stream in sorted(few, key=lambda each: (math.prod(each[1].spec.shape), each[0])):
        values = _finite(stream)
        names = _named(stream.spec)[0] if len(stream.spec.shape) <= 1 else [str(n) for n in range(values.shape[1])]
        for channel, column in zip(names, values.T, strict=True):
            known = column[np.isfinite(column)]
            if len(known):
                yield f"{name}.{channel}" if stream.spec.shape else name, float(known.mean())


def _pictures(seen: list[tuple[str, Stream]]) -> tuple[tuple[bytes, ...], dict[str, float], bytes]:
    """Descriptors of what differs in them, how bright each stream's are (0 to 255), and the middle of the first."""
    looks: list[npt.NDArray[np.int8]] = []
    brightness: dict[str, float] = {}
    thumbnail = b""
    for name, stream in seen:
        count = min(len(stream), PICTURES)
        rows = [(2 * place + 1) * len(stream) // (2 * count) for place in range(count)]
        order, shades = stream.spec.color_order, []
        for row in rows:
            small = working(stream[row], order)
            shades.append(float(small.shade.mean()))
            look = descriptor(small)
            if look.any() and all(_cosine(look, each) < DIFFER for each in looks):
                looks.append(look)
        brightness[f"{name}{BRIGHTNESS}"] = float(np.mean(shades))
        if not thumbnail:
            middle = picture(stream[len(stream) // 2], order, THUMBNAIL, THUMBNAIL)
            thumbnail = cv2.imencode(".jpg", middle, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()
    return tuple(look.tobytes() for look in looks), brightness, thumbnail


def _cosine(one: npt.NDArray[np.int8], other: npt.NDArray[np.int8]) -> float:
    both = unit_vectors(np.stack([one, other]))
    return float(both[0] @ both[1])


def _first(those: Iterable[tuple[str, float]], count: int) -> Iterator[tuple[str, float]]:
    for _, each in zip(range(max(0, count)), those, strict=False):
        yield each
