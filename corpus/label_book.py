"""A label book: one person's labels, rubrics, corrections and preferences on their way into a store."""

import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, Self

import msgspec
import uuid_utils

from sensorium.corpus.beside import BesideWriter
from sensorium.corpus.beside_catalog import enter_beside
from sensorium.corpus.beside_episode import said_beside
from sensorium.corpus.episode import Episode
from sensorium.corpus.labelling import (
    KIND,
    LabelRecord,
    check_label,
    check_superseded,
    check_within,
    label_records,
    labels_beside,
    pseudonym,
    standing,
)
from sensorium.corpus.preferences import KIND as PREFERENCES
from sensorium.corpus.preferences import Choice, PreferenceRecord, check_preference, check_replaced, preference_records
from sensorium.episode.documents import Label
from sensorium.episode.utc_text import utc_text
from sensorium.errors import ConfigError

ENTER_S = 1.0
"""So often what is appended is entered in the catalog meanwhile; `close` enters the rest."""


class EpisodesById(Protocol):
    """A `Corpus`, which says what these do."""

    path: Path

    def episode(self, episode: str) -> Episode: ...

    def episodes(self, ids: Sequence[str]) -> dict[str, Episode]: ...


class LabelBook:
    """Says things of episodes, each durably when its method returns; an ingest may be at work, and other books.

        with store.label_book(who="ada") as book:
            book.label(episode, {"task": "pick"}, why="it lifts the cup")
            book.rubric(episode, "quality", {"grip": 4, "speed": 2})
            book.prefer(episode, other, "a", why="no collision")

    Conditions find what was said a second later, or once the book is closed. `who` is a name of one's choosing; without
    it a pseudonym. One thread uses it.

    Raises of each method:
        ConfigError: there is no such episode, or what is said of it can be no label; nothing was written.
        StoreError: nothing can be written beside the episodes.
    """

    def __init__(self, corpus: EpisodesById, who: str = "") -> None:
        self._corpus, self.who = corpus, who or pseudonym()
        self._writers: dict[str, BesideWriter] = {}
        self._entered_s = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Have conditions find all that was said, and let go."""
        for writer in self._writers.values():
            writer.close()
        if self._writers:
            self._writers.clear()
            enter_beside(self._corpus.path)

    def label(
        self,
        episode: str,
        labels: Mapping[str, Label | None],
        *,
        why: str = "",
        span_ns: tuple[int, int] | None = None,
        supersedes: str | None = None,
    ) -> list[LabelRecord]:
        """Label an episode, by its id, or how that begins, or a stretch of it, half-open, in its own clock.

        A value of None only takes back what it `supersedes`, the id of a label of this episode that counts no more from
        now on; then `labels` is one.
        """
        found = self._corpus.episode(episode)
        if supersedes is not None and len(labels) != 1:
            raise ConfigError(
                f"supersedes {supersedes!r}: expected one label in place of one of {found.id}, got {len(labels)}"
            )
        made = [self._record(found.id, name, value, why, span_ns, supersedes) for name, value in labels.items()]
        return self._say(found, made)

    def rubric(
        self,
        episode: str,
        name: str,
        scores: Mapping[str, float],
        *,
        why: str = "",
        span_ns: tuple[int, int] | None = None,
        supersedes: str | None = None,
    ) -> LabelRecord:
        """Score an episode by the criteria of a rubric; the label `name` is their mean, `name.CRITERION` is each."""
        if not scores:
            raise ConfigError(f"rubric {name!r}: no scores; expected a number for each criterion")
        found = self._corpus.episode(episode)
        numbers = {criterion: float(score) for criterion, score in scores.items()}
        mean = sum(numbers.values()) / len(numbers)
        made = self._record(found.id, name, mean, why, span_ns, supersedes)
        return self._say(found, [msgspec.structs.replace(made, scores=numbers)])[0]

    def correct(self, episode: str, name: str, value: Label, *, why: str = "") -> LabelRecord:
        """Say that the label that counts, recorded or said beside the episode, is wrong, and what is right.

        It supersedes the one beside the episode; `instead_of` keeps what was wrong.
        """
        found = self._corpus.episode(episode)
        wrong = standing(labels_beside(self._corpus.path, found.id)).get(name)
        recorded = found.labels.get(name)
        if wrong is None and recorded is None:
            raise ConfigError(f"label {name!r}: episode {found.id} has none that could be wrong; label it instead")
        span_ns = None
        if wrong is not None and wrong.start_ns is not None and wrong.end_ns is not None:
            span_ns = wrong.start_ns, wrong.end_ns
        made = self._record(found.id, name, value, why, span_ns, None if wrong is None else wrong.id)
        return self._say(found, [msgspec.structs.replace(made, instead_of=recorded if wrong is None else wrong.value)])[
            0
        ]

    def prefer(
        self,
        a: str,
        b: str,
        choice: Choice | None,
        *,
        name: str = "preference",
        why: str = "",
        supersedes: str | None = None,
    ) -> PreferenceRecord:
        """Say which of two episodes is the better one by `name`: a, b, tie, or "cannot say"; None only takes back what
        it `supersedes`."""
        made = PreferenceRecord(
            id=_new_id(),
            episode=self._corpus.episode(a).id,
            other=self._corpus.episode(b).id,
            name=name,
            choice=choice,
            utc=utc_text(time.time_ns()),
            who=self.who,
            why=why,
            supersedes=supersedes,
        )
        check_preference(made)

        def check() -> None:
            if supersedes is not None:
                check_replaced(supersedes, preference_records(said_beside(self._corpus.path, PREFERENCES, None)))

        self._append(PREFERENCES, [made], check if supersedes is not None else None)
        return made

    def _record(
        self,
        episode: str,
        name: str,
        value: Label | None,
        why: str,
        span_ns: tuple[int, int] | None,
        supersedes: str | None,
    ) -> LabelRecord:
        start_ns, end_ns = span_ns or (None, None)
        return LabelRecord(
            id=_new_id(),
            episode=episode,
            name=name,
            value=value,
            utc=utc_text(time.time_ns()),
            who=self.who,
            why=why,
            start_ns=start_ns,
            end_ns=end_ns,
            supersedes=supersedes,
        )

    def _say(self, found: Episode, made: list[LabelRecord]) -> list[LabelRecord]:
        for each in made:
            check_label(each)
            check_within(each, found.start_ns, found.end_ns)
        superseded = [each.supersedes for each in made if each.supersedes is not None]

        def check() -> None:
            there = label_records(said_beside(self._corpus.path, KIND, found.id))
            for each in superseded:
                check_superseded(each, found.id, there)

        self._append(KIND, made, check if superseded else None)
        return made

    def _append(self, kind: str, records: Sequence[LabelRecord | PreferenceRecord], check: Any) -> None:
        if kind not in self._writers:
            self._writers[kind] = BesideWriter.going_on(self._corpus.path, kind)
        self._writers[kind].append([msgspec.to_builtins(record) for record in records], check)
        if time.monotonic() - self._entered_s > ENTER_S:
            enter_beside(self._corpus.path)
            self._entered_s = time.monotonic()


def _new_id() -> str:
    return str(uuid.UUID(bytes=uuid_utils.uuid7().bytes))
