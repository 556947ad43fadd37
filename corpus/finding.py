"""How episodes are found in a catalog, of this release or an earlier one: conditions, orders and pages as SQL."""

import functools
import json
import re
import sqlite3
import sys
from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from sensorium.corpus.alike_conditions import AlikeConditions
from sensorium.corpus.asked_for import names, rows_wanted
from sensorium.corpus.asked_for import text as text_of
from sensorium.corpus.catalog_tables import COLUMNS, SUMMED
from sensorium.corpus.catalog_terms import (
    FEW,
    CatalogTerms,
    FormerTerms,
    is_narrowed,
)
from sensorium.corpus.cells import Cells
from sensorium.corpus.kept_open import FileState, KeptCatalog
from sensorium.corpus.known_names import check_kind, check_names
from sensorium.corpus.orders import OrderTerm, order_terms
from sensorium.corpus.previewed import OF_PREVIEWS, Previewed, previewed, whereabouts
from sensorium.corpus.rows import CatalogRows, Page, Row
from sensorium.corpus.stretches import stretch_names, stretches_of
from sensorium.episode.documents import Note
from sensorium.episode.store_terms import Bind, StoreTerm, StoreTerms
from sensorium.episode.where import Where, compile_order, known_column, parse_where
from sensorium.episode.where_sql import Bound, Sql
from sensorium.episode.where_times import TEXT

PAGE = 2000
"""Rows that are read together, where they may be many."""


class CatalogForm(NamedTuple):
    """What tables a catalog has: the file and the number that changes whenever they do, the columns of episodes that it
    has, what stands for them in FROM, whether its documents are in its rows, whether it knows of what is beside
    episodes, and whether it has the figures of streams."""

    schema: tuple[FileState, int]
    columns: dict[str, str]
    source: str
    former: bool
    has_beside: bool
    has_figures: bool

    @property
    def document(self) -> str:
        """An episode's document, as SQL."""
        return "document" if self.former else "(SELECT document FROM documents WHERE documents.id = episodes.id)"


class Condition(NamedTuple):
    """A condition as SQL with its values, and whether an index narrows the episodes that it is looked at for."""

    text: str
    values: dict[str, Any]
    narrowed: bool = False


class Found(NamedTuple):
    """A SELECT of what matches, with its values."""

    text: str
    values: dict[str, Any]


class OpenCatalog:
    """A catalog that is open, and what it is like."""

    def __init__(self, connection: sqlite3.Connection, form: CatalogForm, alike: AlikeConditions) -> None:
        self.connection, self.form, self._alike = connection, form, alike

    def condition(self, where: str, having: Sequence[str] = ()) -> Condition:
        """`where`, that there are the streams `having`, and unless it says otherwise that the episode is a full one."""
        if (known := self._alike.find(text_of("where", where))) is not None:
            return self._condition(*known, having)
        if (parsed := self.parsed(where)) is None:
            return self._condition(None, Sql("1", {}), having)
        sql = self._sql_of(parsed)
        self._alike.keep(where, parsed, sql, self.form.columns)
        return self._condition(parsed, sql, having)

    def parsed(self, where: str) -> Where | None:
        """The condition, checked; None of an empty one."""
        if not text_of("where", where).strip():
            return None
        columns = tuple((self.form.columns | {"kind": TEXT, **OF_PREVIEWS}).items())
        # What now() is changes.
        parse = _parsed.__wrapped__ if "now" in where.lower() else _parsed
        parsed = parse(where, columns)
        check_kind(parsed.needs("kind"))
        self._check(parsed.streams, parsed.terms)
        return parsed

    def cells(self, expressions: Sequence[str], bind: Bind) -> list[str]:
        """SQL of `expressions` (`sensorium.corpus.cells`), checked."""
        cells = [Cells.of(each, self.form.columns | {"kind": TEXT, **OF_PREVIEWS}) for each in expressions]
        for each in cells:
            self._check(each.streams, each.terms)
        return [each.sql(self._terms(None), bind) for each in cells]

    def _check(self, streams: Sequence[str], terms: Sequence[StoreTerm]) -> None:
        check_names(self.connection, streams, terms, self.form.former, self.form.has_beside)

    def sql(self, parsed: Where | None, having: Sequence[str] = (), any_kind: bool = False) -> Condition:
        """A condition that was checked as SQL."""
        return self._condition(parsed, Sql("1", {}) if parsed is None else self._sql_of(parsed), having, any_kind)

    def _sql_of(self, parsed: Where) -> Sql:
        return parsed.sql(self._terms(parsed))

    def _terms(self, where: Where | None) -> StoreTerms:
        beside, figures = self.form.has_beside, self.form.has_figures
        return FormerTerms(beside) if self.form.former else CatalogTerms(self.connection, where, beside, figures)

    def _condition(
        self, parsed: Where | None, sql: Sql, having: Sequence[str] = (), any_kind: bool = False
    ) -> Condition:
        bind = Bound(dict(sql.values))
        terms = self._terms(parsed) if having else None
        parts = [sql.text, *(terms.has(name, bind) for name in having if terms)]
        if not any_kind and (parsed is None or parsed.columns.isdisjoint(("kind", *OF_PREVIEWS))):
            parts.append("+kind = 'full'")  # nearly all are: no index over it helps
        elif parsed is not None and parsed.needs("kind") not in (None, "full"):
            parts.append("kind <> 'full'")  # in the words of the index over these
        return Condition(" AND ".join(parts), bind.values, parsed is not None and is_narrowed(parsed))

    def select(
        self,
        what: Sequence[str],
        condition: Condition,
        order_by: str = "",
        limit: int | None = None,
        last: int | None = None,
    ) -> Found:
        """The columns `what` of the episodes that match, up to the one entered as number `last`."""
        values: dict[str, Any] = dict(condition.values)
        text = f"SELECT {', '.join(what)} FROM {self.form.source} WHERE {condition.text}"
        if last is not None:
            text, values["last"] = f"{text} AND +id <= :last", last
        order = "".join(f"{self._order(term, Bound(values))}, " for term in order_terms(order_by))
        # To have them in their order SQLite would look at all, where to sort a few is less.
        by_id = "+episode" if self._are_few(condition, limit) else "episode"
        text += f" ORDER BY {order}{by_id}"
        if limit is not None:
            text, values["rows_wanted"] = f"{text} LIMIT :rows_wanted", rows_wanted(limit)
        return Found(text, values)

    def _order(self, term: OrderTerm, bind: Bind) -> str:
        """A term of an order as SQL: a column, or what `cells` may be."""
        if term.is_plain:
            return compile_order(term.said, self.form.columns)
        # As it stands a number would say which column is meant.
        return f"CASE WHEN true THEN {self.cells([term.expression], bind)[0]} END {term.direction}".strip()

    def _are_few(self, condition: Condition, limit: int | None) -> bool:
        if not condition.narrowed or limit is None:
            return condition.narrowed
        probe = f"SELECT count(*) FROM (SELECT 1 FROM {self.form.source} WHERE {condition.text} LIMIT {FEW + 1})"
        return int(self.connection.execute(probe, condition.values).fetchone()[0]) <= FEW

    def fetch(self, found: Found) -> Page:
        """All of it."""
        return self.connection.execute(found.text, found.values).fetchall()


class Finder:
    """Finds episodes in the catalog at `path`, which stays open between calls until `close` (`KeptCatalog`).

    Raises of every method:
        StoreError: there is no catalog, or it cannot be read.
        ConfigError: the condition or the order is not one (`sensorium.episode.where` has the grammar).
    """

    def __init__(self, path: Path) -> None:
        self._catalog = KeptCatalog(path)
        self._form: CatalogForm | None = None
        self._alike = AlikeConditions()

    def close(self) -> None:
        """Let go of the catalog until it is asked again."""
        self._catalog.close()

    @contextmanager
    def asking(self) -> Iterator[OpenCatalog]:
        """The catalog, as of one moment, now: an ingest of this release may have made another of it meanwhile."""
        with self._catalog.reading() as (connection, files):
            schema = files, connection.execute("PRAGMA schema_version").fetchone()[0]
            if self._form is None or self._form.schema != schema:
                self._form, self._alike = _form_of(connection, schema), AlikeConditions()
            yield OpenCatalog(connection, self._form, self._alike)

    def columns(self) -> dict[str, str]:
        """The columns that conditions may name, and what they hold."""
        with self.asking() as asked:
            return asked.form.columns | {"kind": TEXT, **OF_PREVIEWS}

    def rows(self, where: str, order_by: str, limit: int | None, columns: Sequence[str] | None) -> CatalogRows:
        """What matches, as it is read; `columns` are those asked for (None: all)."""
        with self.asking() as asked:
            known = asked.form.columns
            wanted = list(known) if columns is None else list(dict.fromkeys(names("columns", columns)))
            for name in wanted:
                known_column(name, known, "columns")
            asked.select(wanted, asked.condition(where), order_by)
        what = [f'"{name}"' for name in wanted]
        pages = functools.partial(self._pages, what, where, order_by, limit)
        return CatalogRows(pages, {name: known[name] for name in wanted})

    def pages(self, where: str, order_by: str, limit: int | None) -> Iterator[list[Row]]:
        """The rows of the episodes that match, with their documents, some at a time."""
        with self.asking() as asked:
            what, at = _whole(asked.form, True)
        for page in self._pages(what, where, order_by, limit):
            yield [Row(at, row) for row in page]

    def _pages(self, columns: Sequence[str], where: str, order_by: str, limit: int | None) -> Iterator[Page]:
        """Of many first the numbers alone are gathered, 8 bytes each; then each page is read by them."""
        want = sys.maxsize if limit is None else rows_wanted(limit)
        what = ["id", *columns]
        with self.asking() as asked:
            last = int(asked.connection.execute(f"SELECT coalesce(max(id), 0) FROM {asked.form.source}").fetchone()[0])
            parsed = asked.parsed(where)
            first = asked.fetch(asked.select(what, asked.sql(parsed), order_by, min(want, PAGE), last))
        if first:
            yield [row[1:] for row in first]
        if len(first) < PAGE or want <= PAGE:
            return
        come = {row[0] for row in first}
        with self.asking() as asked:
            every = asked.select(["id"], asked.sql(parsed), order_by, want, last)
            numbers = asked.connection.execute(every.text, every.values)
            left = array("q", (number for (number,) in numbers if number not in come))
        for start in range(0, len(left), PAGE):
            some = left[start : start + PAGE].tolist()
            with self.asking() as asked:
                text = f"SELECT {', '.join(what)} FROM {asked.form.source} WHERE id IN (SELECT value FROM json_each(?))"
                by_number = {row[0]: row[1:] for row in asked.connection.execute(text, (str(some),))}
            yield [by_number[number] for number in some if number in by_number]

    def episodes(self, where: str = "", order_by: str = "", limit: int | None = None) -> list[Row]:
        """The rows of the episodes that match."""
        with self.asking() as asked:
            what, at = _whole(asked.form, False)
            return [Row(at, row) for row in asked.fetch(asked.select(what, asked.condition(where), order_by, limit))]

    def by_id(self, prefix: str) -> list[Row]:
        """The one or two first rows of episodes whose id begins so."""
        begins = prefix.lower()
        with self.asking() as asked:
            what, at = _whole(asked.form, False)
            # All letters of an id stand before `g`.
            text = f"SELECT {', '.join(what)} FROM {asked.form.source} WHERE episode >= ? AND episode < ?"
            found = asked.connection.execute(f"{text} ORDER BY episode LIMIT 2", (begins, f"{begins}g")).fetchall()
        return [Row(at, row) for row in found]

    def by_ids(self, ids: Sequence[str]) -> list[Row]:
        """The rows of those of these episodes that are there, in the order of their ids."""
        with self.asking() as asked:
            what, at = _whole(asked.form, False)
            text = (
                f"SELECT {', '.join(what)} FROM {asked.form.source} WHERE episode IN (SELECT value FROM json_each(?))"
            )
            return [Row(at, row) for row in asked.connection.execute(f"{text} ORDER BY episode", (json.dumps([*ids]),))]

    def previewed(self, where: str) -> list[Previewed]:
        """What the previews that match tell of."""
        with self.asking() as asked:
            sql = asked.sql(asked.parsed(where), any_kind=True)
            return previewed(asked.connection, sql.text, sql.values, asked.form.source)

    def whereabouts(self, episodes: Sequence[str]) -> dict[str, dict[str, Any]]:
        """By episode where its bytes are, and what it is the preview of, or its preview."""
        with self.asking() as asked:
            return whereabouts(asked.connection, episodes)

    def stretches(self, event: str) -> dict[str, list[Note]]:
        """By episode the stretches that are labelled so beside it."""
        with self.asking() as asked:
            return stretches_of(asked.connection, event)

    def event_names(self, where: str, having: Sequence[str]) -> set[str]:
        """The kinds and names of the events of the episodes that match and have these streams, and of labelled
        stretches."""
        with self.asking() as asked:
            beside = stretch_names(asked.connection)
            if asked.form.former:
                return beside
            condition = asked.condition(where, having)
            those = f"SELECT id FROM episodes WHERE {condition.text}"
            text = f"SELECT DISTINCT kind, name FROM events WHERE id IN ({those})"
            return {each for row in asked.connection.execute(text, condition.values) for each in row} - {""} | beside

    def cells(self, expressions: Sequence[str], where: str) -> Page:
        """The different values of kind and SQL `expressions`; of all kinds, unless `where` says otherwise."""
        with self.asking() as asked:
            sql = asked.sql(asked.parsed(where), any_kind=True)
            bind = Bound(dict(sql.values))
            what = ", ".join(["kind", *asked.cells(expressions, bind)])
            text = f"SELECT DISTINCT {what} FROM {asked.form.source} WHERE {sql.text}"
            return asked.connection.execute(text, bind.values).fetchall()

    def totals(self, where: str = "") -> Page:
        """By kind, of what matches: episodes, seconds and bytes."""
        with self.asking() as asked:
            sql = asked.condition(where)
            what = f"SELECT kind, count(*), total(duration_s), sum(bytes) FROM {asked.form.source}"
            return asked.connection.execute(f"{what} WHERE {sql.text} GROUP BY 1 ORDER BY 1", sql.values).fetchall()

    def grouped(
        self, groups: Sequence[str], what: Sequence[str], where: str, order: Sequence[str], limit: int | None
    ) -> Page:
        """Of what matches the expressions `groups`, by which it is grouped, and `what`."""
        with self.asking() as asked:
            sql = asked.condition(where)
            bind = Bound(dict(sql.values))
            what = [*asked.cells(groups, bind), *what]
            text = f"SELECT {', '.join(what)} FROM {asked.form.source} WHERE {sql.text}"
            # By an index that lacks a column every row would be looked up, in another order than they lie.
            if not sql.narrowed and asked.form.source == "episodes" and not _covered(text):
                text = text.replace("FROM episodes WHERE", "FROM episodes NOT INDEXED WHERE", 1)
            if groups:
                text += f" GROUP BY {', '.join(str(place + 1) for place in range(len(groups)))}"
            if order:
                text += f" ORDER BY {', '.join(order)}"
            values: dict[str, Any] = dict(bind.values)
            if limit is not None:
                text, values["rows_wanted"] = f"{text} LIMIT :rows_wanted", rows_wanted(limit)
            return asked.connection.execute(text, values).fetchall()

    def plan(self, where: str = "", order_by: str = "", limit: int | None = None) -> list[str]:
        """How SQLite finds what matches, a line a step."""
        with self.asking() as asked:
            found = asked.select(_whole(asked.form, False)[0], asked.condition(where), order_by, limit)
            steps = asked.connection.execute(f"EXPLAIN QUERY PLAN {found.text}", found.values)
            return [str(step[3]) for step in steps]


def _covered(text: str) -> bool:
    """Whether an index has all columns that a SELECT names, or it finds episodes by something else than columns."""
    named = set(re.findall(r'"(\w+)"', text))
    return "SELECT" in text[1:] or any(named <= {first, *SUMMED} for first in ("device", "mission"))


@functools.lru_cache(256)
def _parsed(where: str, columns: tuple[tuple[str, str], ...]) -> Where:
    return parse_where(where, dict(columns), of_store=True)


def _whole(form: CatalogForm, documents: bool) -> tuple[list[str], Mapping[str, int]]:
    """What is read of an episode, and the place of each by its name."""
    names = [*COLUMNS, *(() if form.former else ("crc",)), *(("document",) if documents else ())]
    what = [form.document if name == "document" else f'"{name}"' for name in names]
    return what, {name: place for place, name in enumerate(names)}


def _form_of(connection: sqlite3.Connection, schema: tuple[FileState, int]) -> CatalogForm:
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    there = {row[1] for row in connection.execute("PRAGMA table_info(episodes)")}
    columns = {name: kind for name, kind in COLUMNS.items() if name in there}
    former = "documents" not in tables
    # Of a name that is no column SQLite makes a text, which equals nothing.
    lacks = [f"{_LACKS.get(name, 'NULL')} AS {name}" for name in COLUMNS if name not in there]
    also = [*(["rowid AS id"] if former else []), *lacks]
    source = f"(SELECT *, {', '.join(also)} FROM episodes) AS episodes" if also else "episodes"
    return CatalogForm(schema, columns, source, former, "beside" in tables, "stream_figures" in tables)


_LACKS = {"kind": "'full'", "interval_s": "duration_s"}
