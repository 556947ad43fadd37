"""A store open for reading: episodes found through its catalog by a condition, by an id, as windows."""

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from sensorium.corpus.aggregates import Names, aggregated
from sensorium.corpus.asked_for import names, said
from sensorium.corpus.beside_catalog import judged, newest
from sensorium.corpus.catalog_reading import CATALOG, read_engine
from sensorium.corpus.commits import check_store_version
from sensorium.corpus.deletions import tombstoned
from sensorium.corpus.episode import Episode
from sensorium.corpus.finding import Finder
from sensorium.corpus.labelled import Labelled
from sensorium.corpus.loaders.snapshot import CorpusSnapshot
from sensorium.corpus.looks_alike import LooksAlike
from sensorium.corpus.placing import placed
from sensorium.corpus.rows import CatalogRows
from sensorium.corpus.spool_ledgers import SpoolLedger, spool_ledgers, waiting_ordinals
from sensorium.corpus.stream import Samples
from sensorium.corpus.windowed import Windowed
from sensorium.errors import ConfigError, StoreError

if TYPE_CHECKING:
    from sensorium.corpus.estimate import Estimated
    from sensorium.corpus.previewed import Previewed
    from sensorium.corpus.stats import Stats
    from sensorium.corpus.traces import TracedUnit


class Corpus(Windowed, LooksAlike, Labelled):
    """A store, open for reading, while another process may write it.

    Between questions it keeps the catalog open, without a transaction, until `close` or its end, or that of a `with`;
    no file of an episode.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._version = check_store_version(path)
        self._engine = read_engine(path / CATALOG)
        self._finder = Finder(path / CATALOG)
        self._finder.columns()

    def __reduce__(self) -> tuple[Any, ...]:
        return open_store, (self.path,)

    def __enter__(self) -> "Corpus":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the catalog, as before its disk is taken away; who asks afterwards opens it again."""
        self._finder.close()

    def __repr__(self) -> str:
        return f"<Corpus {self.path}>"

    def _repr_html_(self) -> str:
        from sensorium.corpus.notebook import corpus_html

        newest = functools.partial(self.query, order_by="episode desc")
        return corpus_html(self.path, self.totals, lambda limit: [each.row for each in newest(limit=limit)])

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        try:
            with self._engine.connect() as connection:
                yield connection
        except sa.exc.DBAPIError as error:
            raise StoreError(f"{self.path / CATALOG}: {error.orig}; run `sensorium rebuild-catalog`") from error

    def query(self, where: str = "", order_by: str = "", limit: int | None = None) -> list[Episode]:
        """The committed episodes for which `where` is true, in the order that they were begun unless `order_by` says.

        Unless `where` names the column `kind` they are `full` ones: neither traces nor previews.

        Raises:
            ConfigError: the condition or the order is not one (`sensorium.episode.where` has the grammar).
        """
        rows = self._finder.episodes(where, order_by, limit)
        return [Episode(self.path, row, self._version) for row in rows]

    def rows(
        self, where: str = "", order_by: str = "", limit: int | None = None, columns: Sequence[str] | None = None
    ) -> CatalogRows:
        """`query`, as rows of the catalog's `columns` (None: of all), that are read as they are asked for.

            for row in corpus.rows("device = 'rig-1'", columns=["episode", "duration_s"]): ...
            corpus.rows("has('front')").arrow()     # or .pandas(), .polars(), .dicts()

        However many they are, a page of them is in memory at a time.
        """
        return self._finder.rows(where, order_by, limit, columns)

    def aggregate(
        self,
        group_by: Names = "",
        agg: Names = "count",
        where: str = "",
        order_by: str = "",
        limit: int | None = None,
    ) -> list[dict[str, Any]]:
        """What the episodes for which `where` is true come to, by what `group_by` says: columns, what conditions ask
        for, or SQL of these.

            corpus.aggregate("mission, label('task')", "count, hours, bytes, mean(duration_s)")

        `agg` are count, hours, the sum of a column by its name, and sum, mean, min and max of one. In the order of
        `group_by`, unless `order_by` has another, of any of these.

        Raises:
            ConfigError: one of them is none.
        """
        return aggregated(self._finder, group_by, agg, where, order_by, limit)

    def records(self, where: str = "", order_by: str = "", limit: int | None = None) -> list[dict[str, Any]]:
        """`query`, as plain dictionaries, each with its `verdicts`."""
        return list(self.each_record(where, order_by, limit))

    def each_record(self, where: str = "", order_by: str = "", limit: int | None = None) -> Iterator[dict[str, Any]]:
        """`records` one by one, of which a page is in memory."""
        for page in self._finder.pages(where, order_by, limit):
            episodes = [Episode(self.path, row, self._version) for row in page]
            ids = [episode.id for episode in episodes]
            verdicts, whereabouts = self.verdicts(ids), self._finder.whereabouts(ids)
            for episode in episodes:
                yield episode.as_dict() | whereabouts.get(episode.id, {}) | {"verdicts": verdicts.get(episode.id, {})}

    def previewed(self, where: str = "") -> "list[Previewed]":
        """What the previews for which `where` is true tell of: full episodes, and where they are."""
        return self._finder.previewed(where)

    def verdicts(self, episodes: Sequence[str] | None = None) -> dict[str, dict[str, dict[str, Any]]]:
        """By episode and verifier the newest verdict's record: version, code, verdict (None where it failed), failed,
        utc, who; of these episodes (None: of all), without those that have none."""
        return self.beside("verdicts", episodes)

    def judged(self, name: str, version: str, code: str) -> set[str]:
        """The ids of the episodes that a verifier of this version and code has judged."""
        with self._reading() as connection:
            return judged(connection, name, version, code)

    def beside(self, kind: str, episodes: Sequence[str] | None = None) -> dict[str, dict[str, dict[str, Any]]]:
        """By episode and name the newest record of a kind that is beside the episodes: `verdicts`, `advantages`, ..."""
        found: dict[str, dict[str, dict[str, Any]]] = {}
        with self._reading() as connection:
            for episode, name, record in newest(connection, kind, episodes):
                found.setdefault(episode, {})[name] = record
        return found

    def episode(self, episode: str) -> Episode:
        """The episode whose id begins with `episode`; none or several raise `ConfigError`."""
        if not isinstance(episode, str):
            raise ConfigError(f"episode {said(episode)}: expected an id, or how it begins")
        rows = self._finder.by_id(episode)
        if len(rows) != 1 or not episode:
            which = "no episode begins" if not rows else "more than one episode begins"
            gone = [each for each in tombstoned(self.path) if each.startswith(episode)] if not rows else []
            if gone:
                raise ConfigError(
                    f"{self.path}: episode {gone[0]} was deleted; `sensorium query {self.path}` lists others"
                )
            raise ConfigError(f"{self.path}: {which} with {episode!r}; `sensorium query {self.path}` lists them")
        return Episode(self.path, rows[0], self._version)

    def episodes(self, ids: Sequence[str]) -> dict[str, Episode]:
        """Those of the episodes with these whole ids that are in the store, by id."""
        return {str(row["episode"]): Episode(self.path, row, self._version) for row in self._finder.by_ids(ids)}

    def spans(self, where: str, streams: Sequence[str]) -> CorpusSnapshot:
        """Which episodes `query` finds now that have all `streams`, and how long they are."""
        found, _ = placed(self._finder, where, streams)
        return CorpusSnapshot.of(found.ids.texts, found.ends_ns - found.starts_ns)

    def cells(self, expressions: Sequence[str], where: str = "") -> dict[str, set[tuple[Any, ...]]]:
        """By kind of episode, the different values that SQL `expressions` have together; none where one is NULL.

        Raises:
            ConfigError: the condition or an expression is none (`sensorium.corpus.cells`).
        """
        found: dict[str, set[tuple[Any, ...]]] = {}
        for of, *cell in self._finder.cells(names("cells", expressions), where):
            if None not in cell:
                found.setdefault(of, set()).add(tuple(cell))
        return found

    def totals(self, where: str = "") -> dict[str, tuple[int, float, int]]:
        """By kind, of the episodes for which `where` is true: episodes, seconds and bytes."""
        rows = self._finder.totals(where)
        return {of: (int(count), float(seconds), int(size or 0)) for of, count, seconds, size in rows}

    def stats(self, where: str = "", cells: Sequence[str] = (), clusters: int = 0) -> "Stats":
        """How much different there is: effective episodes, novelty and coverage. See `sensorium.corpus.stats.stats`."""
        from sensorium.corpus.stats import stats

        return stats(self, where, cells, clusters)

    def estimate(
        self,
        f: "Callable[[TracedUnit], float] | str",
        *,
        where: str = "",
        device: str | None = None,
        spool_id: str | None = None,
        start_ns: int | None = None,
        end_ns: int | None = None,
    ) -> "Estimated":
        """The total and the mean of `f` over all units that devices judged, from those that chance drew: novelty kept
        the others, and they are no sample of what was seen.

        `f` is asked of drawn units that are in the store; `unit_samples` are what was captured in one. Or it is a name
        of what traces say of every unit, `score`, `novelty.STREAM`, `STREAM.SCORE`, or a condition over such names, of
        which the mean is the share of units of which it is true. `where` is a condition over the traces, as episodes.

            print(corpus.estimate(lambda unit: people_in(corpus.unit_samples(unit, ["front"])["front"].data)))

        A trace that is damaged is said, and its time is outside.

        Raises:
            ValueError: `f` is not a finite number of a unit.
            ConfigError: it names what no unit has, or a condition is none.
        """
        from sensorium.corpus.estimate import estimate

        return estimate(self, f, where=where, device=device, spool_id=spool_id, start_ns=start_ns, end_ns=end_ns)

    def unit_samples(self, unit: "TracedUnit", streams: Sequence[str] | None = None) -> dict[str, Samples]:
        """What was captured in a traced unit, of these streams (None: of all); of one that was not kept, nothing."""
        at = f"start_ns <= {unit.start_ns} and end_ns > {unit.start_ns}"
        for episode in self.query(f"device = '{unit.device}' and spool_id = '{unit.spool_id}' and {at}"):
            if episode.clock.boot_id in (None, unit.judged.unit.boot.partition("#")[0]):
                return episode.samples(unit.start_ns, unit.end_ns, streams)
        return {}

    def ledger(self, device: str | None = None) -> list[SpoolLedger]:
        """What became of every ordinal of every spool, or of one device's spools."""
        with self._reading() as connection:
            return spool_ledgers(connection, device)

    def waiting_ordinals(self, of: SpoolLedger) -> list[int]:
        """The ordinals of a spool of which nothing is known but that they were begun, in order."""
        with self._reading() as connection:
            return waiting_ordinals(connection, of)


def open_store(path: str | Path) -> Corpus:
    """Open the store at `path` for reading; `StoreError` if it is none, of another version, or cannot be read."""
    return Corpus(Path(path))
