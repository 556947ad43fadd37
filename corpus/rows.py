"""Rows that a store was asked for, as they are read, a page at a time: light, or as tables of other libraries."""

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sensorium.corpus.catalog_tables import INTEGERS
from sensorium.episode.where_times import NUMBER, TIME
from sensorium.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

Page = list[tuple[Any, ...]]
Table = Any
"""What numpy makes of a column: an array, or one with a mask."""


class Row(Mapping[str, Any]):
    """A row, by the names of its columns; thousands share the names."""

    __slots__ = ("_at", "_values")

    def __init__(self, at: Mapping[str, int], values: tuple[Any, ...]) -> None:
        self._at, self._values = at, values

    def __getitem__(self, name: str) -> Any:
        return self._values[self._at[name]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._at)

    def __len__(self) -> int:
        return len(self._at)

    def __repr__(self) -> str:
        return f"Row({dict(self)})"


class CatalogRows:
    """What matched, each time anew that it is gone through, and never more of it in memory than a page.

    What is committed after a pass began is not in that pass, and no row comes twice or is missed; of one that changes
    meanwhile, as when it is packed, what it is then comes.
    """

    def __init__(self, pages: Callable[[], Iterator[Page]], columns: Mapping[str, str]) -> None:
        self._pages, self._columns = pages, columns

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns."""
        return tuple(self._columns)

    def __iter__(self) -> Iterator[Row]:
        at = {name: place for place, name in enumerate(self._columns)}
        for page in self._pages():
            for values in page:
                yield Row(at, values)

    def dicts(self) -> Iterator[dict[str, Any]]:
        """Each as a dictionary of its own."""
        for page in self._pages():
            for values in page:
                yield dict(zip(self._columns, values, strict=True))

    def arrow(self) -> "pa.Table":
        """As a table of pyarrow; times are timestamps in UTC, microseconds."""
        arrow = _library("pyarrow")
        kinds = {name: self._arrow_type(arrow, name) for name in self._columns}
        schema = arrow.schema(list(kinds.items()))
        batches = []
        for page in self._pages():
            columns = zip(self._columns, zip(*page, strict=True), strict=True)
            arrays = [
                arrow.array(_moments(values) if self._columns[name] == TIME else values, kinds[name])
                for name, values in columns
            ]
            batches.append(arrow.record_batch(arrays, schema=schema))
        return arrow.Table.from_batches(batches, schema)

    def pandas(self) -> "pd.DataFrame":
        """As a frame of pandas; times are in UTC."""
        frames = _library("pandas")
        text = frames.Series(["text"]).dtype
        made = {}
        for name, values in self._lists().items():
            if self._columns[name] == TIME:
                made[name] = frames.Series(_moments(values)).dt.tz_localize("UTC")
            elif self._columns[name] == NUMBER:
                whole = name in INTEGERS and None not in values
                made[name] = frames.Series(values, dtype="int64" if whole else "float64")
            else:
                made[name] = frames.Series(values, dtype=text)
        frame: pd.DataFrame = frames.DataFrame(made)
        return frame

    def polars(self) -> "pl.DataFrame":
        """As a frame of polars; times are in UTC."""
        frames = _library("polars")
        of = {True: frames.Int64, False: frames.Float64}
        made = []
        for name, values in self._lists().items():
            holds = self._columns[name]
            if holds == TIME:
                made.append(frames.Series(name, _moments(values)).dt.replace_time_zone("UTC"))
            else:
                kind = of[name in INTEGERS] if holds == NUMBER else frames.String
                made.append(frames.Series(name, values, dtype=kind))
        return frames.DataFrame(made)

    def _lists(self) -> dict[str, list[Any]]:
        lists: dict[str, list[Any]] = {name: [] for name in self._columns}
        for page in self._pages():
            for into, values in zip(lists.values(), zip(*page, strict=True), strict=True):
                into += values
        return lists

    def _arrow_type(self, arrow: Any, name: str) -> Any:
        if self._columns[name] == TIME:
            return arrow.timestamp("us", "UTC")
        if self._columns[name] == NUMBER:
            return arrow.int64() if name in INTEGERS else arrow.float64()
        return arrow.string()


def _moments(texts: Sequence[str | None]) -> Table:
    """Texts of UTC as numpy's moments."""
    return np.array(["NaT" if text is None else text[:-1] for text in texts], "datetime64[us]")


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConfigError(f"{name} is not installed: run `pip install {name}`, or take rows or dicts") from error
