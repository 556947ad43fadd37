"""Symptoms: what ails a sensor is said once it has lasted, and again when it is over."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from sensorium.drivers.stream import Scores, Stamps
from sensorium.perception.gates import EXPOSURE, FROZEN, NOISE

log = logging.getLogger(__name__)

LASTING_NS, BREAK_NS = 2_000_000_000, 1_000_000_000
"""What has lasted so long is said; after a break so long it is over."""
MOST, WITHIN_NS = 5, 600_000_000_000
"""What comes and goes is said so often within so long."""
FLICKER = 0.15
DARK, BRIGHT = "dark", "bright"
_MIDDLE = 0.5
_SAID = {
    FROZEN: "shows the same pictures again and again: is the camera stuck?",
    DARK: "is too dark: is it covered?",
    BRIGHT: "is too bright, or clipped: is it blinded?",
    NOISE: "shows noise, or fine texture that cannot be told from it: is there a signal?",
    "flicker": "flickers: does its exposure fight with the light?",
    "stuck": "has channels that do not change any more: is the sensor well?",
    "saturated": "has channels at their limit: choose a larger range",
}

Marked = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Symptom:
    """Since when it has been there, without a break, and until when; `said`: it was told, and is not over yet."""

    since_ns: int
    until_ns: int
    said: bool = False


@dataclass(frozen=True, slots=True)
class Symptoms:
    """Those that a stream has, by name, and when each was said of late, the last `MOST` times."""

    present: Mapping[str, Symptom] = field(default_factory=dict)
    said_ns: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


def of_pictures(closed: Sequence[str], scores: Mapping[str, Scores]) -> dict[str, Marked]:
    """Which pictures have which symptom, bool [n] each; `closed` are the gates that they do not pass.

    >>> scores = {"flicker": np.array([0.5, 0]), "exposure_mean": np.array([0.3, 0])}
    >>> {name: marked.tolist() for name, marked in of_pictures(["noise", "exposure"], scores).items() if marked.any()}
    {'noise': [True, False], 'dark': [False, True], 'flicker': [True, False]}
    """
    gates = np.array(closed, np.str_)
    exposure, dark = gates == EXPOSURE, scores["exposure_mean"] < _MIDDLE
    found = {name: gates == name for name in (FROZEN, NOISE)} | {DARK: exposure & dark, BRIGHT: exposure & ~dark}
    return found | {"flicker": scores["flicker"] > FLICKER}


def of_rows(scores: Mapping[str, Scores]) -> dict[str, Marked]:
    """Which rows have which symptom, bool [n] each."""
    return {name: scores[name] > 0 for name in ("stuck", "saturated")}


def told(before: Symptoms, stream: str, captured_ns: Stamps, marked: Mapping[str, Marked]) -> Symptoms:
    """The symptoms after n samples; says of the stream what has lasted, and what is over."""
    if not len(captured_ns):
        return before
    present, said_ns = dict(before.present), dict(before.said_ns)
    for name, rows in marked.items():
        had = present.get(name)
        stamps = captured_ns[rows]
        if had is not None and int(stamps[0] if len(stamps) else captured_ns[-1]) - had.until_ns > BREAK_NS:
            del present[name]
            if had.said:
                log.warning("stream %r: what was said of it (%s) is over", stream, name)
            had = None
        if not len(stamps):
            continue
        has = replace(had or Symptom(int(stamps[0]), 0), until_ns=int(stamps[-1]))
        lasted = has.until_ns - has.since_ns >= LASTING_NS
        often = tuple(at for at in said_ns.get(name, ()) if abs(has.until_ns - at) < WITHIN_NS)
        if lasted and not has.said and len(often) < MOST:
            again = f"; it comes and goes, and is not said again for {WITHIN_NS // 10**9} s"
            log.warning("stream %r %s%s", stream, _SAID[name], again if len(often) == MOST - 1 else "")
            said_ns[name] = (*often, has.until_ns)
            has = replace(has, said=True)
        present[name] = has
    return Symptoms(present, said_ns)
