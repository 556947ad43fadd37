"""Marks and notes: what a source says beside its samples: where an episode begins and ends, and what happened in it.

They come from `read`: marks in the order of their stamps, each at any time before its sensor's samples at or behind its
stamp (once the clock was set back, behind the first sample of the new time); a note at any time before the episode that
holds its start is sealed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

STATE = "state"
"""The kind of a note that says how things are from its start on, until another of the same name and stream says
otherwise; an episode that begins between them is told too."""
MAX_TEXT = 200
MAX_LABELS = 64
MAX_NOTE_BYTES = 16 << 10
MAX_DEPTH = 8
_FAR_NS = 1 << 62

Label = str | int | float | bool


@dataclass(frozen=True, slots=True)
class EpisodeBegin:
    """From `at_ns` of the device's clock on samples belong to an episode; one that is open ends there.

    `base_ns` is where a source whose own time began anew, as that of a world that was reset, has its 0: what is the
    same has the same stamps less their base.
    """

    at_ns: int
    labels: Mapping[str, Label] = field(default_factory=dict)
    base_ns: int | None = None

    def check(self) -> None:
        """Raise `ValueError` unless its stamp and labels (up to 64, texts of up to 200 letters) can be stored."""
        _check_stamp(self.at_ns)
        if self.base_ns is not None:
            _check_stamp(self.base_ns)
        check_labels(self.labels)


@dataclass(frozen=True, slots=True)
class EpisodeEnd:
    """At `at_ns` the episode has ended, which does not hold that stamp; `outcome` says how: success, failure, any
    word. `labels` are those that are known at its end alone.

    With `passed` the source says that all its samples before `at_ns` were delivered, and every later one will have a
    later stamp: the episode is sealed at once, where else it waits for samples behind its end.
    """

    at_ns: int
    outcome: str = ""
    labels: Mapping[str, Label] = field(default_factory=dict)
    passed: bool = False

    def check(self) -> None:
        """Raise `ValueError` unless its stamp, outcome (up to 200 letters) and labels can be stored."""
        _check_stamp(self.at_ns)
        _check_text("the outcome", self.outcome, empty=True)
        check_labels(self.labels)


Mark = EpisodeBegin | EpisodeEnd


@dataclass(frozen=True, slots=True)
class Passed:
    """The source has delivered all its samples before `at_ns`, and says so as some of its streams may be silent for
    long, as of an instrument that is not in use: nobody waits for them to pass that stamp."""

    at_ns: int

    def check(self) -> None:
        """Raise `ValueError` unless it is a stamp."""
        _check_stamp(self.at_ns)


@dataclass(frozen=True, slots=True)
class SourceNote:
    """What happened: an event, action, score or label, over [start_ns, end_ns) where it has an end.

    It is kept in the episode that holds its start; of the kind `STATE`, that of a live sensor, also in those that begin
    later, at their start, until another says otherwise. `value` is what JSON can say; `stream` is one of the sensor's,
    or empty. The kind "trigger" is the agent's own.
    """

    kind: str
    name: str
    value: Any = None
    stream: str = ""
    start_ns: int = field(kw_only=True)
    end_ns: int | None = field(default=None, kw_only=True)

    def check(self) -> None:
        """Raise `ValueError` unless it can be stored: a value of up to 16 KiB, nested at most 8 deep."""
        _check_text("a note's kind", self.kind)
        _check_text("a note's name", self.name)
        if self.kind == "trigger":
            raise ValueError("a note of the kind 'trigger', which is the agent's own; choose another")
        _check_stamp(self.start_ns)
        if self.end_ns is not None:
            _check_stamp(self.end_ns)
            if self.end_ns < self.start_ns:
                raise ValueError(f"note {self.name!r} ends at {self.end_ns}, before its start at {self.start_ns}")
        if self.nbytes > MAX_NOTE_BYTES:
            raise ValueError(f"note {self.name!r} has a value of {self.nbytes} bytes, at most {MAX_NOTE_BYTES}")
        plain = self.plain()
        if not _is_shallow(plain, MAX_DEPTH):
            raise ValueError(f"note {self.name!r} has a value nested more than {MAX_DEPTH} deep")
        try:
            msgspec.msgpack.encode(plain)
        except OverflowError as error:
            raise ValueError(f"note {self.name!r} has a whole number of more than 64 bits") from error

    def plain(self) -> Any:
        """The value as JSON has it: lists, mappings with texts as keys, and null for a number that is not finite."""
        return msgspec.json.decode(self._encoded())

    @property
    def nbytes(self) -> int:
        """About the bytes that it takes."""
        return len(self._encoded())

    def _encoded(self) -> bytes:
        try:
            return msgspec.json.encode(self.value)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise ValueError(f"note {self.name!r} has a value that JSON cannot say: {error}") from error


def check_labels(labels: Mapping[str, Label]) -> None:
    """Raise `ValueError` unless they can be stored: up to 64, texts of up to 200 letters, finite numbers."""
    if len(labels) > MAX_LABELS:
        raise ValueError(f"{len(labels)} labels, at most {MAX_LABELS}")
    for name, value in labels.items():
        _check_text("a label's name", name)
        if isinstance(value, str):
            _check_text(f"label {name!r}", value, empty=True)
        elif not isinstance(value, int | float) or not abs(value) < _FAR_NS:
            raise ValueError(f"label {name!r} is {value!r}, expected text, a finite number, true or false")


def _check_stamp(stamp_ns: object) -> None:
    if type(stamp_ns) is not int or not -_FAR_NS <= stamp_ns <= _FAR_NS:
        raise ValueError(f"a stamp is {stamp_ns!r}, expected a whole number of ns")


def _check_text(what: str, text: object, *, empty: bool = False) -> None:
    if not isinstance(text, str) or not (empty or text) or len(text) > MAX_TEXT:
        raise ValueError(f"{what} is {str(text)[:50]!r}, expected a text of up to {MAX_TEXT} letters")
    text.encode()  # half a surrogate pair is no letter: a `ValueError` too


def _is_shallow(value: Any, depth: int) -> bool:
    if not isinstance(value, dict | list):
        return True
    inner = value.values() if isinstance(value, dict) else value
    return depth > 0 and all(_is_shallow(each, depth - 1) for each in inner)
