"""Events: the notes of episodes that have a place in time."""

from collections.abc import Collection

from sensorium.drivers.registry import nearest
from sensorium.episode.documents import Note
from sensorium.errors import ConfigError


def is_of(note: Note, event: str) -> bool:
    """Whether a note is such an event: of that kind, of that name, or `KIND/NAME`.

    >>> note = Note(kind="event", name="grasp")
    >>> [is_of(note, each) for each in ("event", "grasp", "event/grasp", "label/grasp")]
    [True, True, True, False]
    """
    return event in (note.kind, note.name, f"{note.kind}/{note.name}")


def kinds_with_names(event: str) -> list[tuple[str, str]]:
    """The kinds, each with a name, that `KIND/NAME` may say: either may have a stroke in it.

    >>> kinds_with_names("a/b/c"), kinds_with_names("a")
    ([('a', 'b/c'), ('a/b', 'c')], [])
    """
    return [(event[:at], event[at + 1 :]) for at, letter in enumerate(event) if letter == "/"]


def no_such_event(event: str, known: Collection[str]) -> ConfigError:
    """That no episode has one, with what there is."""
    some = ", ".join(sorted(known)[:8]) or "no notes at all"
    return ConfigError(f"around {event!r}: no episode has such an event{nearest(event, known)}; there are {some}")
