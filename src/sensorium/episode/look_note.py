"""The note of a look: what an episode says of how a stream looked in a unit that it holds, for who has not seen it."""

import base64
import binascii
from collections.abc import Iterable, Mapping
from typing import Any

from sensorium.episode.unit import Look

LOOK = "look"
"""The kind of such a note; its name is the stream's."""


def look_value(look: Look) -> dict[str, str]:
    """What it says: who described it, and the descriptor, int8, in base 64."""
    return {"by": look.by, "vector": base64.b64encode(look.vector).decode("ascii")}


def looks_noted(notes: Iterable[Mapping[str, Any]]) -> list[Look]:
    """The looks among an episode's notes, in order; what says no such thing is left out.

    >>> value = look_value(Look(by="maker", vector=bytes([3, 255])))
    >>> looks_noted([{"kind": "look", "name": "cam", "value": value}, {"kind": "look", "value": {"by": 3}}])
    [Look(by='maker', vector=b'\\x03\\xff', hashes=())]
    """
    found = []
    for note in notes:
        value = note.get("value")
        if note.get("kind") != LOOK or not isinstance(value, Mapping):
            continue
        by, text = value.get("by"), value.get("vector")
        if not (isinstance(by, str) and isinstance(text, str) and 0 < len(by) <= 200):
            continue
        try:
            vector = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            continue
        if vector:
            found.append(Look(by=by, vector=vector))
    return found
