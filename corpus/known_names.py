"""Names that a condition asks for: one that no episode of the store has is an error that says the nearest."""

import sqlite3
from collections.abc import Collection, Iterable
from typing import get_args

from sensorium.corpus.around import kinds_with_names
from sensorium.corpus.label_terms import has_labels
from sensorium.corpus.stretches import LABEL as LABELLED
from sensorium.corpus.stretches import stretch_names
from sensorium.corpus.verifier import GROUP as VERIFIERS
from sensorium.drivers.registry import kinds, nearest
from sensorium.episode import store_terms
from sensorium.episode.documents import Kind
from sensorium.episode.store_terms import HEALTH, LABEL, SCORE, STREAM, StoreTerm
from sensorium.errors import ConfigError

_OF_STREAM = (STREAM, HEALTH, SCORE)
_SHOWN = 20
_OWN_LABELS = ("campaign",)
"""Those that devices give by themselves, sooner or later: to ask for one is no typo."""


def check_names(
    connection: sqlite3.Connection, streams: Iterable[str], terms: Collection[StoreTerm], former: bool, has_beside: bool
) -> None:
    """Raise `ConfigError` for a stream, score, label or event that no episode has: a typo is not an empty answer.

    A verifier may be asked for before it has judged anything, but not by a name that is nearly another's.
    """
    check_streams(connection, [*streams, *(term.names[0] for term in terms if term.function in _OF_STREAM)], former)
    for term in terms if not former else ():
        match term.function:
            case store_terms.SCORE:
                _check_score(connection, *term.names)
            case store_terms.EVENT:
                _check_event(connection, term.names[0])
            case store_terms.LABEL | store_terms.RECORDED_LABEL:
                _check_label(connection, term.function, term.names[0], has_beside)
            case store_terms.VERDICT if has_beside:
                _check_verifier(connection, term.names[0])


def check_kind(kind: str | None) -> None:
    """Raise `ConfigError` for what no kind of episode is called; None is asked for by nobody."""
    known = get_args(Kind)
    if kind is not None and kind not in known:
        raise ConfigError(
            f"kind = {kind!r}: no such kind of episode{nearest(kind, known)}; there are {', '.join(known)}"
        )


def check_streams(connection: sqlite3.Connection, names: Collection[str], former: bool) -> None:
    """Raise `ConfigError` for a name that no episode's stream has, unless there is none at all."""
    if not names:
        return
    known = _names(connection, f"SELECT DISTINCT name FROM {'streams' if former else 'layout_streams'}")
    for name in names if known else ():
        if name not in known:
            some = ", ".join(sorted(known)[:_SHOWN])
            raise ConfigError(f"no episode has a stream {name!r}{nearest(name, known)}; known are {some}")


def _check_score(connection: sqlite3.Connection, stream: str, name: str) -> None:
    if not _any(connection, "SELECT 1 FROM scores WHERE stream = ? AND name = ?", stream, name):
        known = _names(connection, "SELECT DISTINCT name FROM scores WHERE stream = ?", stream)
        _say(connection, f"no episode has a score {name!r} of {stream!r}", name, known, "it has")


def _check_event(connection: sqlite3.Connection, event: str) -> None:
    by_name = "SELECT 1 FROM events WHERE name = ?"
    if not (
        _any(connection, by_name, event)
        or _any(connection, "SELECT 1 FROM events WHERE kind = ?", event)
        or any(_any(connection, f"{by_name} AND kind = ?", name, kind) for kind, name in kinds_with_names(event))
    ):
        beside = stretch_names(connection)
        text = "SELECT DISTINCT name FROM events UNION SELECT DISTINCT kind FROM events"
        if "/" in event:
            text = "SELECT DISTINCT kind || '/' || name FROM events"
            beside |= {f"{LABELLED}/{each}" for each in beside}
        if event not in beside:
            known = (_names(connection, text) | beside) - {""}
            _say(connection, f"no episode has an event {event!r}", event, known, "there are")


def _check_label(connection: sqlite3.Connection, function: str, name: str, has_beside: bool) -> None:
    """Recorded with an episode, or said beside one; or devices will."""
    if name in _OWN_LABELS:
        return
    tables = ["labels WHERE true"]
    if function == LABEL and has_beside and has_labels(connection):
        tables.append("beside WHERE kind = 'labels'")
        if _any(connection, "SELECT 1 FROM sqlite_master WHERE name = 'label_stands'"):
            tables.append("label_stands WHERE true")
    if not any(_any(connection, f"SELECT 1 FROM {text} AND name = ?", name) for text in tables):
        known = {each for text in tables for each in _names(connection, f"SELECT DISTINCT name FROM {text}")}
        near = "" if nearest(name, known) else nearest(name, _OWN_LABELS)
        _say(connection, f"no episode has a label {name!r}{near}", name, known, "there are")


def _check_verifier(connection: sqlite3.Connection, name: str) -> None:
    verdicts = "FROM beside WHERE kind = 'verdicts'"
    if not _any(connection, f"SELECT 1 {verdicts} AND name = ?", name):
        known = _names(connection, f"SELECT DISTINCT name {verdicts}")
        near = nearest(name, known)
        if near and name not in kinds(VERIFIERS):
            some = ", ".join(sorted(known)[:_SHOWN])
            raise ConfigError(f"no verifier {name!r} has judged an episode{near}; there are verdicts of {some}")


def _say(connection: sqlite3.Connection, what: str, name: str, known: Collection[str], has: str) -> None:
    """Raise it, unless there is no episode at all."""
    if known or _any(connection, "SELECT 1 FROM episodes"):
        some = ", ".join(sorted(known)[:_SHOWN])
        raise ConfigError(f"{what}{nearest(name, known)}; {has} {some or 'none'}")


def _any(connection: sqlite3.Connection, text: str, *values: str) -> bool:
    return connection.execute(f"{text} LIMIT 1", values).fetchone() is not None


def _names(connection: sqlite3.Connection, text: str, *values: str) -> set[str]:
    return {str(name) for (name,) in connection.execute(text, values)}
