"""The cascade: all scores of one picture, from one working size, cheap ones first."""

import zlib
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sensorium.drivers.described import Hashes, Vectors
from sensorium.perception.descriptor import descriptor, hashes
from sensorium.perception.dhash import distance
from sensorium.perception.exposure import exposure
from sensorium.perception.information import entropy, jpeg_bytes
from sensorium.perception.noise import noise
from sensorium.perception.sharpness import sharpness
from sensorium.perception.shift import NO_SHIFT, SURE, Shift, shift
from sensorium.perception.working import Working

RECENT_PRINTS, RECENT_MEANS, RECENT_SHARPNESS = 8, 16, 100
_SEEN_AGAIN = 0.5
"""A response from which on a picture shows what the one before showed, moved or not: it is a scene."""


@dataclass(frozen=True, slots=True)
class Before:
    """What is remembered of the pictures before: prints, means and sharpness of the last, the last one's hashes, shade,
    noise and stamp, and how many in a row were not new."""

    prints: tuple[int, ...] = ()
    means: tuple[float, ...] = ()
    sharpness: tuple[float, ...] = ()
    hashes: tuple[int, ...] = ()
    shade: npt.NDArray[np.uint8] | None = None
    noise: float = 0.0
    at_ns: int = 0
    repeats: int = 0


class Looked(NamedTuple):
    """What is said of a picture: its scores by name, its descriptor int8 [512] and its hashes uint64 [2]."""

    scores: dict[str, float]
    vector: Vectors
    hashes: Hashes


NAMES = (
    "frozen", "exposure_mean", "exposure_clipped", "flicker", "entropy", "sharpness", "blur", "noise", "hash_distance",
    "information", "shift_x", "shift_y", "shift_s",
)  # fmt: skip
"""All scores of a picture; docs/scores.md says what they mean."""


def look(before: Before, seen: Working, white: float, at_ns: int) -> tuple[Before, Looked]:
    """Score a picture; what is remembered then, and what is said of it.

    `white` as `exposure.white_level` tells. What can only be said beside another picture is NaN for the first.

    >>> picture = np.tile(np.arange(160, dtype=np.uint8), (120, 1))
    >>> _, first = look(Before(), Working(picture, picture), 255, 0)
    >>> first.scores["exposure_mean"] == 79.5 / 255, first.scores["hash_distance"]
    (True, nan)
    """
    mean, clipped = exposure(seen.gray, white)
    print_ = zlib.crc32(seen.gray.tobytes())
    repeats = before.repeats + 1 if print_ in before.prints else 0
    means = (*before.means, mean)[-RECENT_MEANS:]
    sharp = sharpness(seen.gray)
    shade = seen.shade
    moved = NO_SHIFT if before.shade is None else shift(before.shade, shade)
    vector, prints = descriptor(seen), hashes(seen)
    both = tuple(prints.tolist())
    # of a picture that is the last one again, that they are alike says nothing
    noisy = before.noise if repeats and before.prints[-1:] == (print_,) else _noise(seen, moved)
    sure = moved.response >= SURE and at_ns > before.at_ns  # a clock that was set back says nothing of how long it took
    scores = {
        "frozen": float(repeats),
        "exposure_mean": mean,
        "exposure_clipped": clipped,
        "flicker": flicker(means),
        "entropy": entropy(shade),
        "sharpness": sharp,
        "blur": _blur(before.sharpness, sharp),
        "noise": noisy,
        "hash_distance": float(sum(map(distance, before.hashes, both))) if before.hashes else np.nan,
        "information": float(jpeg_bytes(seen.picture)),
        "shift_x": moved.x if sure else np.nan,
        "shift_y": moved.y if sure else np.nan,
        "shift_s": (at_ns - before.at_ns) / 1e9 if sure else np.nan,
    }
    kept = (*before.prints, print_)[-RECENT_PRINTS:], means, (*before.sharpness, sharp)[-RECENT_SHARPNESS:]
    return Before(*kept, both, shade, noisy, at_ns, repeats), Looked(scores, vector, prints)


def flicker(means: tuple[float, ...]) -> float:
    """How much brightness goes up and down, as a share of it: its way from picture to picture, without where it leads.

    >>> round(flicker((0.4, 0.6) * 8), 2), flicker((0.1, 0.2, 0.3)), flicker((0.5,))
    (0.37, 0.0, 0.0)
    """
    steps = np.diff(means)
    level = sum(means) / len(means)
    if not len(steps) or level <= 0:
        return 0.0
    return max(0.0, round(float(np.abs(steps).sum() - abs(steps.sum())) / (len(steps) * level), 9))


def _noise(seen: Working, moved: Shift) -> float:
    """Noise has nothing in common with the picture before; fine texture has, and is none."""
    doubt = (moved.response - SURE) / (_SEEN_AGAIN - SURE)
    return noise(seen.gray) * (1.0 - min(max(doubt, 0.0), 1.0))


def _blur(recent: tuple[float, ...], sharp: float) -> float:
    """The share of recent pictures that are sharper; NaN where there are too few to say."""
    return sum(value > sharp for value in recent) / len(recent) if len(recent) >= RECENT_SHARPNESS // 10 else np.nan
