"""Events: the notes of episodes that have a place in time, and windows around them."""

from collections.abc import Sequence

from sensorium.corpus.joined import Joined
from sensorium.corpus.windows import WindowPlace
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


def places_around(sources: Sequence[Joined], event: str, before_ns: int) -> list[WindowPlace]:
    """A window `before_ns` before each such event begins, in the order of the episodes and then of the events.

    What begins in no episode that holds the note is passed over.

    Raises:
        ConfigError: no episode has such an event.
        Corrupt: an episode's document is damaged.
    """
    found, known = [], set[str]()
    for number, source in enumerate(sources):
        for episode in source.episodes:
            # opened anew, for what was read of it is not kept
            for note in episode.reopened().notes:
                if not is_of(note, event):
                    known.update((note.kind, note.name))
                elif note.start_ns is not None and episode.start_ns <= note.start_ns < episode.end_ns:
                    found.append(WindowPlace(number, note.start_ns - before_ns, note))
    if sources and not found:
        some = ", ".join(sorted(known)[:8]) or "no notes at all"
        raise ConfigError(f"around {event!r}: no episode has such an event{nearest(event, known)}; there are {some}")
    return found
