"""Labels and preferences as lines of JSON: all of a store, and those of elsewhere into one."""

import json
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import uuid_utils

from sensorium.corpus.beside import BesideWriter
from sensorium.corpus.beside_catalog import enter_beside
from sensorium.corpus.beside_episode import Said, said_beside
from sensorium.corpus.episode import Episode
from sensorium.corpus.label_book import EpisodesById
from sensorium.corpus.labelling import (
    KIND,
    LabelRecord,
    check_label,
    check_superseded,
    check_within,
    label_records,
    pseudonym,
)
from sensorium.corpus.preferences import KIND as PREFERENCES
from sensorium.corpus.preferences import PreferenceRecord, check_preference, check_replaced, preference_records
from sensorium.episode.utc_text import utc_ns_of, utc_text
from sensorium.errors import ConfigError

_AT_ONCE = 2000
_NS = 1e9


def label_lines(store: Path) -> Iterator[str]:
    """Every label and preference that was ever said in a store, a line of JSON each, the oldest first of either."""
    for each in (
        *label_records(said_beside(store, KIND, None)),
        *preference_records(said_beside(store, PREFERENCES, None)),
    ):
        yield json.dumps(
            {key: value for key, value in msgspec.to_builtins(each).items() if value not in (None, "", {})}
        )


def import_labels(
    corpus: EpisodesById,
    lines: Iterable[str],
    *,
    who: str = "",
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> tuple[int, int]:
    """Say what `lines` say: all of it, or nothing where a line is none; how many were new, and how many there already.

    A line is an object: `episode`, `name` and `value` of a label (or `scores` of a rubric), with `other` and `choice`
    it is a preference. Where it lacks them `who` is given here, `utc` now, `id` a new one; `span_s` (from the episode's
    start) may stand for `start_ns` and `end_ns`. What is there already under its id, and says the same, is passed over.

    Raises:
        ConfigError: a line is none of this, its episode is not in the store, its stretch not within it, what it
            supersedes not there or superseded already; the line is named.
        StoreError: nothing can be written beside the episodes.
    """
    who = who or pseudonym()
    read = [(number, _read(line, number, who)) for number, line in enumerate(lines, 1) if line.strip()]
    known = _SaidBefore(corpus.path)
    new: list[LabelRecord | PreferenceRecord] = []
    for start in range(0, len(read), _AT_ONCE):
        some = read[start : start + _AT_ONCE]
        ids = {episode for _, said in some for episode in (said["episode"], said.get("other")) if episode}
        there = corpus.episodes(sorted(ids))
        for number, said in some:
            try:
                record = _made(said, there)
                if known.is_new(record):
                    new.append(record)
            except (ConfigError, msgspec.ValidationError, OverflowError) as error:
                raise ConfigError(f"line {number}: {error}") from error
        progress(start + len(some), len(read))
    for kind, made in ((KIND, LabelRecord), (PREFERENCES, PreferenceRecord)):
        mine = [msgspec.to_builtins(each) for each in new if isinstance(each, made)]
        if mine:
            with BesideWriter(corpus.path, kind) as writer:
                writer.append(mine, known.check_still(kind))
    if new:
        enter_beside(corpus.path)
    return len(new), len(read) - len(new)


def span_of(span_s: Sequence[float], start_ns: int) -> tuple[int, int]:
    """A stretch in seconds of an episode that begins at `start_ns`, in ns of its clock; `ConfigError` if it is none."""
    try:
        begin_ns, end_ns = (start_ns + round(float(each) * _NS) for each in span_s)
    except (ValueError, OverflowError) as error:  # not a number, or without end
        said = " ".join(map(str, span_s))
        raise ConfigError(f"stretch {said}: expected two numbers, seconds from the episode's start") from error
    return begin_ns, end_ns


class _SaidBefore:
    """What is said already, and by the lines before."""

    def __init__(self, store: Path) -> None:
        self._store = store
        self._by_id: dict[str, LabelRecord | PreferenceRecord] = {}
        self._by_id |= {each.id: each for each in label_records(said_beside(store, KIND, None))}
        self._by_id |= {each.id: each for each in preference_records(said_beside(store, PREFERENCES, None))}
        self._superseded = {each.supersedes: each for each in self._by_id.values() if each.supersedes}
        self._taken: list[str] = []

    def is_new(self, record: LabelRecord | PreferenceRecord) -> bool:
        if (there := self._by_id.get(record.id)) is not None:
            if there != record:
                raise ConfigError(
                    f"id {record.id}: is there already, and says something else; give it an id of its own"
                )
            return False
        if (superseded := record.supersedes) is not None:
            former = self._by_id.get(superseded)
            by = [self._superseded[superseded]] if superseded in self._superseded else []
            if isinstance(record, LabelRecord):
                mine = [each for each in (former, *by) if isinstance(each, LabelRecord)]
                check_superseded(superseded, record.episode, [each for each in mine if each.episode == record.episode])
            else:
                check_replaced(superseded, [each for each in (former, *by) if isinstance(each, PreferenceRecord)])
            self._superseded[superseded] = record
            self._taken.append(superseded)
        self._by_id[record.id] = record
        return True

    def check_still(self, kind: str) -> Callable[[], None] | None:
        """That nobody has superseded the same meanwhile, where something is superseded."""
        if not self._taken:
            return None

        def check() -> None:
            taken = set(self._taken)
            for said in said_beside(self._store, kind, None):
                if said.get("supersedes") in taken:
                    raise ConfigError(f"supersedes {said['supersedes']!r}: {said.get('who')} has done so meanwhile")

        return check


def _read(line: str, number: int, who: str) -> Said:
    try:
        said = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"line {number}: no JSON: {error}") from error
    try:
        msgspec.json.encode(said)  # an escape may say half of a surrogate pair
    except ValueError as error:
        raise ConfigError(f"line {number}: cannot be kept as JSON: {error}") from error
    if not isinstance(said, dict) or not isinstance(said.get("episode"), str):
        raise ConfigError(f"line {number}: expected an object with the id of an `episode`")
    try:  # the newest counts, by this text: it must sort as the times do
        utc = utc_text(utc_ns_of(said["utc"]) if "utc" in said else time.time_ns())
    except (ValueError, TypeError, AttributeError) as error:
        raise ConfigError(f"line {number}: utc {said['utc']!r}: expected a time, as 2026-05-03T12:00:00Z") from error
    return {"id": str(uuid.UUID(bytes=uuid_utils.uuid7().bytes)), "who": who, **said, "utc": utc}


def _made(said: Said, there: dict[str, Episode]) -> LabelRecord | PreferenceRecord:
    if (found := there.get(said["episode"])) is None:
        raise ConfigError(f"episode {said['episode']!r} is not in the store; expected a whole id of one that is")
    if "other" in said or "choice" in said:
        preference = msgspec.convert({"name": "preference", **said}, PreferenceRecord)
        if preference.other not in there:
            raise ConfigError(f"episode {preference.other!r} is not in the store; expected a whole id of one that is")
        check_preference(preference)
        return preference
    label = msgspec.convert(_with_value(_with_span(said, found)), LabelRecord)
    check_label(label)
    check_within(label, found.start_ns, found.end_ns)
    return label


def _with_span(said: Said, found: Episode) -> Said:
    if "span_s" not in said:
        return said
    span: Any = said["span_s"]
    if not isinstance(span, list) or len(span) != 2 or not all(isinstance(each, int | float) for each in span):
        raise ConfigError(f"span_s {span!r}: expected two numbers, seconds from the episode's start")
    start_ns, end_ns = span_of(span, found.start_ns)
    return {**said, "start_ns": start_ns, "end_ns": end_ns}


def _with_value(said: Said) -> Said:
    scores = said.get("scores")
    if "value" in said or not isinstance(scores, dict) or not scores:
        return {"value": None, **said}
    if not all(isinstance(each, int | float) for each in scores.values()):
        raise ConfigError(f"scores {scores!r}: expected a number for each criterion")
    return {**said, "value": sum(scores.values()) / len(scores)}
