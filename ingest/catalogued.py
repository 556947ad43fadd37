"""What of an episode's SEAL and notes its commit record has, in numbers, so that the catalog finds it by them."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

import msgspec

from sensorium.episode.documents import SCORES
from sensorium.ingest.admission import INT64

MAX_EVENTS = 128
"""So many kinds and names of notes are told of one episode, and none with more letters than `MAX_LETTERS`."""
MAX_LETTERS = 200
UNTOLD = ""
"""The kind, and the name, under which those beyond are counted."""
_LIKE = (
    ("rate_hz", ("rate_hz",)),
    ("interval_ms", ("interval_ms", "p50")),
    ("interval_p99_ms", ("interval_ms", "p99")),
    ("jitter_ms", ("jitter_ms", "p50")),
    ("jitter_p99_ms", ("jitter_ms", "p99")),
    ("gaps", ("gaps", "count")),
    ("longest_gap_ms", ("gaps", "longest_ms")),
    ("saturated_share", ("saturated_share",)),
    ("saturated", ("saturated",)),
    ("stuck", ("stuck",)),
    ("sharpness", ("sharpness", "p50")),
    ("sharpness_p10", ("sharpness", "p10")),
)
"""Where each number stands in what a device says of a stream's health."""


class _NoteHead(msgspec.Struct):
    kind: str
    name: str


_decode_noted = msgspec.json.Decoder(_NoteHead).decode


def health_of(summary: Mapping[str, Any], stream: str) -> dict[str, float]:
    """The numbers of a stream's health, as a SEAL's summary has it; what is none is left out, of lists how many.

    >>> said = {"rate_hz": 29.9, "gaps": {"count": 2}, "stuck": ["all"], "sharpness": None}
    >>> health_of({"health": {"cam": said}}, "cam")
    {'rate_hz': 29.9, 'gaps': 2, 'stuck': 1}
    """
    every = summary.get("health")
    said = every.get(stream) if isinstance(every, Mapping) else None
    if not isinstance(said, Mapping):
        return {}  # a summary is whatever the device made of it
    found: dict[str, float] = {}
    for name, (first, *rest) in _LIKE:
        value = said.get(first)
        if rest:
            value = value.get(rest[0]) if isinstance(value, Mapping) else None
        if isinstance(value, list):
            value = len(value)
        if _is_number(value):
            found[name] = value if abs(value) < INT64 else float(value)
    return found


def scores_of(summary: Mapping[str, Any], stream: str) -> dict[str, float]:
    """The scores of a stream, as a SEAL's summary has their medians; what is no number is left out.

    >>> scores_of({"scores": {"cam": {"blur": 0.25, "odd": "x"}}}, "cam"), scores_of({}, "cam")
    ({'blur': 0.25}, {})
    """
    every = summary.get(SCORES)
    said = every.get(stream) if isinstance(every, Mapping) else None
    if not isinstance(said, Mapping):
        return {}
    found = {
        name: float(value)
        for name, value in said.items()
        if isinstance(name, str) and len(name) <= MAX_LETTERS and _is_number(value)
    }
    return dict(itertools.islice(found.items(), MAX_EVENTS))


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def events_of(notes: Sequence[msgspec.Raw]) -> dict[str, dict[str, int]]:
    """How many notes there are by kind and name; `notes` are JSON."""
    found: dict[str, dict[str, int]] = {}
    room, untold = MAX_EVENTS, 0
    for raw in notes:
        note = _decode_noted(raw)
        names = found.get(note.kind, {})
        if note.name not in names:
            if not room or max(len(note.kind), len(note.name)) > MAX_LETTERS:
                untold += 1
                continue
            room -= 1
            names = found.setdefault(note.kind, {})
        names[note.name] = names.get(note.name, 0) + 1
    if untold:
        found[UNTOLD] = {UNTOLD: untold}
    return found
