"""Stretches of episodes that somebody labelled beside them: events of the kind `label`, as the notes within are."""

import json
import sqlite3

from sensorium.corpus.label_terms import STANDS, has_labels
from sensorium.episode.documents import Note

LABEL = "label"
"""Their kind."""
_ALL = f"said.kind = 'labels' AND json_type(said.document, '$.start_ns') = 'integer' AND {STANDS}"
_SUCH = f"FROM beside AS said WHERE {{event}} IN (said.name, '{LABEL}', '{LABEL}/' || said.name) AND {_ALL}"


def stretches_of(connection: sqlite3.Connection, event: str) -> dict[str, list[Note]]:
    """By episode those of a name, of the kind, or of `label/NAME` that count, in the order in which they begin.

    Of the same name more than one may, of other stretches; what is superseded does not.
    """
    if not has_labels(connection):
        return {}
    found: dict[str, list[Note]] = {}
    text = f"SELECT said.episode, said.name, said.document {_SUCH.format(event=':event')}"
    for episode, name, document in connection.execute(text, {"event": event}):
        of = json.loads(document)
        note = Note(kind=LABEL, name=name, value=of["value"], start_ns=of["start_ns"], end_ns=of.get("end_ns"))
        found.setdefault(episode, []).append(note)
    return {episode: sorted(notes, key=_begins) for episode, notes in found.items()}


def stretch_names(connection: sqlite3.Connection) -> set[str]:
    """What they are called, and their kind; nothing where there are none."""
    if not has_labels(connection):
        return set()
    found = {name for (name,) in connection.execute(f"SELECT DISTINCT said.name FROM beside AS said WHERE {_ALL}")}
    return found | {LABEL} if found else found


def stretches_in_row(event: str) -> str:
    """SQL of those of a row of `episodes`, behind SELECT; `event` stands for what they are called."""
    return f"{_SUCH.format(event=event)} AND said.episode = episodes.episode"


def ids_with_stretches(event: str) -> str:
    """SQL of the numbers of the episodes that have any."""
    return f"SELECT id FROM episodes WHERE episode IN (SELECT said.episode {_SUCH.format(event=event)})"


def _begins(note: Note) -> int:
    return note.start_ns or 0
