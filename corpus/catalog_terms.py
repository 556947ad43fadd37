"""What a condition asks of a store (`sensorium.episode.store_terms`), as SQL over the tables of its catalog."""

import json
import sqlite3

from sensorium.corpus.around import kinds_with_names
from sensorium.corpus.beside_catalog import NO_VERDICT, SCORE_PATH, VERDICT, VERDICTS
from sensorium.corpus.label_terms import LabelTerms, has_labels, recorded_value
from sensorium.corpus.previewed import OF_PREVIEWS, of_previews
from sensorium.corpus.stretches import ids_with_stretches, stretches_in_row
from sensorium.episode.store_terms import (
    EVENT,
    HEALTH,
    LABEL,
    RECORDED_LABEL,
    SCORE,
    SPEC,
    STREAM,
    Bind,
    StoreTerm,
)
from sensorium.episode.store_terms import VERDICT as VERDICT_TERM
from sensorium.episode.where import Where
from sensorium.errors import ConfigError

FEW, SOME = 5000, 100_000
"""Up to so many episodes are gathered by a term's index first, to be looked at in turn: where the rest of the condition
narrows them by itself, and where it does not."""
_NARROWS = frozenset(("device", "mission", "start_utc", "committed_utc", "episode"))
"""The columns by which indices find episodes."""


class CatalogTerms:
    """Terms over the tables of now."""

    def __init__(
        self, connection: sqlite3.Connection, where: Where | None, has_beside: bool, has_figures: bool
    ) -> None:
        self._connection, self._has_figures = connection, has_figures
        self._has_beside, self._narrowed = has_beside, where is not None and is_narrowed(where)

    def column(self, name: str) -> str:
        """As it stands in a row; where its bytes are, and what it is the preview of, is found out."""
        return of_previews(self._connection, name) if name in OF_PREVIEWS else f'"{name}"'

    def has(self, stream: str, bind: Bind) -> str:
        """By the layout, of which there are few."""
        return self._of_layouts(f"SELECT layout FROM layout_streams WHERE name = {bind(stream)}", bind)

    def value(self, term: StoreTerm, bind: Bind) -> str:
        """The term's value in a row of `episodes`."""
        names = [bind(name) for name in term.names]
        if term.function == VERDICT_TERM:
            return (VERDICT if self._has_beside else NO_VERDICT).format(name=names[0], path=bind(term.field))
        mine = "id = episodes.id"
        if term.function == EVENT:
            said = f"FROM events WHERE {mine} AND {names[0]} IN (name, kind, kind || '/' || name)"
            count, there = f"(SELECT total(count) {said})", f"EXISTS (SELECT 1 {said})"
            if has_labels(self._connection):
                beside = stretches_in_row(names[0])
                count, there = f"({count} + (SELECT count(*) {beside}))", f"{there} OR EXISTS (SELECT 1 {beside})"
            return count if term.field else f"({there})"
        if term.function == SCORE:
            return f"(SELECT value FROM scores WHERE {mine} AND stream = {names[0]} AND name = {names[1]})"
        if term.function in (LABEL, RECORDED_LABEL):
            return LabelTerms(self._connection).value(names[0]) if term.function == LABEL else recorded_value(names[0])
        if term.function == STREAM and term.field in SPEC:
            found = f"layout_streams AS spec WHERE spec.layout = episodes.layout AND spec.name = {names[0]}"
            return f"(SELECT spec.{term.field} FROM {found})"
        if self._has_figures:
            return f"(SELECT {term.field} FROM stream_figures WHERE stream = {names[0]} AND {mine})"
        return self._in_document(term, bind)

    def _in_document(self, term: StoreTerm, bind: Bind) -> str:
        """What each episode has of its own of a stream is looked up in its document."""
        name = term.names[0].replace('"', "")
        stream, account = f'$.streams."{name}"', f'$.account."{name}"'
        mine = "FROM documents WHERE documents.id = episodes.id"
        if term.function == HEALTH:
            return f"(SELECT json_extract(document, {bind(f'{stream}.health.{term.field}')}) {mine})"
        if term.field in ("rows", "bytes"):
            return f"(SELECT json_extract(document, {bind(f'{stream}.{term.field}')}) {mine})"
        path = bind(f"{account}.{term.field}")
        one = f"coalesce(json_extract(document, {path}), 0)"
        every = f"(SELECT total(value) FROM json_each(document, {path}))"
        there = f"json_type(document, {bind(stream)}) IS NOT NULL"  # what is nothing is not in an account
        return f"(SELECT {every if term.field in ('filtered', 'lost') else one} {mine} AND {there})"

    def among(self, term: StoreTerm, test: str, bind: Bind) -> str | None:
        """Episodes by an index over the term's values, unless there are many."""
        if term.function == STREAM and term.field in SPEC:
            where = f"name = {bind(term.names[0])} AND {term.field} {test}"
            return self._of_layouts(f"SELECT layout FROM layout_streams WHERE {where}", bind)
        if term.function in (STREAM, HEALTH):
            return self._gathered(term, test, bind)
        if term.function == LABEL and (labels := LabelTerms(self._connection)).any_beside:
            return labels.among(term.names[0], test, bind)
        found = self._index(term, test, bind)
        if found is None or self._over(FEW if self._narrowed else SOME, found, bind):
            return None
        if term.function == VERDICT_TERM:  # of which the newest counts
            return f"(episode IN ({found}) AND {self.value(term, bind)} {test})"
        return f"(episodes.id IN ({found}))"

    def _of_layouts(self, layouts: str, bind: Bind) -> str:
        """Episodes of some layouts: by the index over these where they are few; of many each is looked at."""
        few = not self._narrowed and not self._over(
            4 * FEW, f"SELECT 1 FROM episodes WHERE layout IN ({layouts})", bind
        )
        return f"({'' if few else '+'}layout IN ({layouts}))"

    def _gathered(self, term: StoreTerm, test: str, bind: Bind) -> str | None:
        """Episodes whose figures pass a test: all of the stream's are gone through, once, which is less than to look
        them up for each episode."""
        if self._narrowed or not self._has_figures:
            return None
        text = f"SELECT id FROM stream_figures WHERE stream = {bind(term.names[0])} AND {term.field} {test}"
        found = self._connection.execute(f"{text} LIMIT {SOME + 1}", bind.values).fetchall()
        if len(found) > SOME:
            return None
        return f"(episodes.id IN (SELECT value FROM json_each({bind(json.dumps([number for (number,) in found]))})))"

    def _over(self, most: int, found: str, bind: Bind) -> bool:
        text = f"SELECT count(*) FROM (SELECT 1 FROM ({found}) LIMIT {most + 1})"
        return int(self._connection.execute(text, bind.values).fetchone()[0]) > most

    def _index(self, term: StoreTerm, test: str, bind: Bind) -> str | None:
        names = [bind(name) for name in term.names]
        if term.function == SCORE:
            return f"SELECT id FROM scores WHERE stream = {names[0]} AND name = {names[1]} AND value {test}"
        if term.function in (LABEL, RECORDED_LABEL):
            return f"SELECT id FROM labels WHERE name = {names[0]} AND value {test}"
        if term.function == VERDICT_TERM and self._has_beside:
            path = f"'{SCORE_PATH}'" if term.field == SCORE_PATH else bind(term.field)
            return VERDICTS.format(name=names[0], path=path, test=test)
        if term.function == EVENT and not term.field and not test:
            found = [f"name = {names[0]}", f"kind = {names[0]}"]
            found += [f"name = {bind(name)} AND kind = {bind(kind)}" for kind, name in kinds_with_names(term.names[0])]
            every = [f"SELECT id FROM events WHERE {each}" for each in found]
            every += [ids_with_stretches(names[0])] if has_labels(self._connection) else []
            return " UNION ALL ".join(every)
        return None


class FormerTerms:
    """Terms over a catalog of before there were any but streams and verdicts."""

    def __init__(self, has_beside: bool) -> None:
        self._verdict = VERDICT if has_beside else NO_VERDICT

    def column(self, name: str) -> str:
        """As it stands in a row; there were no previews."""
        return of_previews(None, name) if name in OF_PREVIEWS else f'"{name}"'

    def has(self, stream: str, bind: Bind) -> str:
        """By the episode's own streams."""
        return former_has(stream, bind)

    def value(self, term: StoreTerm, bind: Bind) -> str:
        """Of a verdict alone."""
        if term.function != VERDICT_TERM:
            raise ConfigError(
                f"{term.function}('{term.names[0]}'): the catalog is of an earlier release, and does not know of such;"
                " start the ingest once, or run `sensorium rebuild-catalog`"
            )
        return self._verdict.format(name=bind(term.names[0]), path=bind(term.field))

    def among(self, term: StoreTerm, test: str, bind: Bind) -> str | None:
        """Never."""
        del term, test, bind
        return None


def former_has(stream: str, bind: Bind) -> str:
    """The same of a catalog of before there were layouts."""
    found = f"SELECT 1 FROM streams WHERE streams.episode = episodes.episode AND streams.name = {bind(stream)}"
    return f"EXISTS ({found})"


def is_narrowed(where: Where) -> bool:
    """Whether an index over a column finds the episodes that a condition may be true of."""
    return not _NARROWS.isdisjoint(where.needed)
