"""Replay of any table of numbers: its columns, their units and its time are mapped in the device file."""

import contextlib
import logging
import math
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import islice
from pathlib import Path
from typing import Annotated, Literal, Self

import msgspec
import numpy as np
from pydantic import Field, model_validator

from sensorium.drivers import pacing
from sensorium.drivers.batching import to_the_end
from sensorium.drivers.clock import Clock
from sensorium.drivers.driver import DriverConfig
from sensorium.drivers.ordering import Ordered
from sensorium.drivers.pacing import Pace, Paced, Pacer
from sensorium.drivers.registry import nearest
from sensorium.drivers.replay.epoch import check_epoch
from sensorium.drivers.replay.mapping import FieldName, MappedStream, rate_of
from sensorium.drivers.replay.row_times import TimeColumn
from sensorium.drivers.replay.table import EXACT, BadRows, read_rows
from sensorium.drivers.stream import StreamSpec
from sensorium.errors import ConfigError

log = logging.getLogger(__name__)

_LOOKED_AT = 2000


class ReplayCsvConfig(DriverConfig):
    """`streams` maps stream names to columns, as `name.stream`; with `stream` alone there is one, called `name`.

    Every stream is float64 [n, channels]. `header` says how many rows of titles there are (true: one); those of
    several are joined, as in `left.acc_x`, and where one of the upper is empty the one to its left holds on. The first
    `skip_rows` lines, and rows that begin with `comment`, are passed over; `decimal` is the decimal sign. `utc` says
    that the stamps count from 1970 UTC. A row in which all cells of a stream are empty holds no sample of it. The rate
    is estimated from the stamps unless it is stated. What is out of order by up to a second is put in order. A quote
    that is nowhere closed costs its line.
    """

    kind: Literal["replay-csv"] = "replay-csv"
    path: Path
    time: TimeColumn
    stream: MappedStream | None = None
    streams: dict[str, MappedStream] = Field(default_factory=dict)
    delimiter: str = Field(default=",", min_length=1, max_length=1)
    decimal: Literal[".", ","] = "."
    header: Annotated[int, Field(ge=0, le=10)] = 1
    skip_rows: Annotated[int, Field(ge=0)] = 0
    comment: str = ""
    utc: bool = False
    pace: Pace = 1.0

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.stream is None) == (not self.streams):
            raise ValueError("expected either `stream` (one, named as the sensor) or `streams` (several, by name)")
        if self.decimal == self.delimiter:
            raise ValueError(f"decimal and delimiter are both {self.decimal!r}; expected two different signs")
        return self

    def open(self, name: str, base: Path) -> Paced:
        """Read the titles and the first rows; the rest is read as it is due.

        Raises:
            ConfigError: no such file, no row with a time, or a column that is not there or is there twice.
        """
        path = base / self.path
        mapped = {name: self.stream} if self.stream else {f"{name}.{part}": one for part, one in self.streams.items()}
        with closing(read_rows(path, self.delimiter, self.comment, self.skip_rows)) as rows:
            heads = [cells for _, cells in islice(rows, max(1, self.header))]
        if not heads:
            raise ConfigError(f"{path}: no row in it; expected a table")
        table = _Table(path, self, heads)
        streams = [table.stream(stream, one) for stream, one in mapped.items()]
        with closing(table.rows()) as rows:
            first = list(islice(rows, _LOOKED_AT))
        first_ns = table.first_ns(first)
        table.say_untaken(streams)
        streams = [replace(one, spec=_rated(path, one, table, first)) for one in streams]
        clock = Clock(kind="recording", states_utc=self.utc or self.time.unit == "iso")
        if clock.states_utc:
            check_epoch(str(path), first_ns, self.time.unit)
        return Paced([one.spec for one in streams], clock, table.play(streams), Pacer(self.pace))


@dataclass(frozen=True, slots=True)
class _ColumnStream:
    """One stream's columns: their places in a row, and the factors to SI. `inexact` hears of whole numbers that float64
    does not hold."""

    spec: StreamSpec
    places: list[int]
    factors: list[float]
    inexact: Callable[[str], object]

    def sample(self, cells: list[str]) -> list[float] | None:
        """SI values, or None where the row holds no sample of this stream.

        Raises:
            ValueError: a cell is no number.
        """
        texts = [cells[place] for place in self.places]
        if not any(texts):
            return None
        row = [float(text) * factor for text, factor in zip(texts, self.factors, strict=True)]
        if math.hypot(*row) >= EXACT:  # in one call, as this is done for every row
            for channel, text in zip(self.spec.channels, texts, strict=True):
                if text.lstrip("+-").isdecimal() and int(text) != float(text):
                    self.inexact(channel)
        return row


class _Table:
    def __init__(self, path: Path, config: ReplayCsvConfig, heads: list[list[str]]) -> None:
        self._path, self._config = path, config
        self._titles = _joined(heads) if config.header else None
        while self._titles and not self._titles[-1]:  # a delimiter at the end of rows is common
            self._titles.pop()
        self._width = len(heads[0] if self._titles is None else self._titles)
        self._times = [self._place(column) for column in config.time.columns]
        self._only = self._times[0] if len(self._times) == 1 else None
        self._read_ns = config.time.reader

    def rows(self) -> Generator[tuple[int, int, list[str]], None, None]:
        """(line number, row number, cells) of every row under the titles, decimals with a point."""
        config = self._config
        with closing(read_rows(self._path, config.delimiter, config.comment, config.skip_rows)) as rows:
            for row, (line, cells) in enumerate(islice(rows, config.header, None)):
                yield line, row, cells if config.decimal == "." else [cell.replace(",", ".") for cell in cells]

    def say_untaken(self, streams: "list[_ColumnStream]") -> None:
        """Log which columns no stream takes."""
        taken = {*self._times, *(place for one in streams for place in one.places)}
        untaken = [title for place, title in enumerate(self._titles or []) if place not in taken and title]
        if untaken:
            log.warning("%s: not taken: column%s %s", self._path, "s" * (len(untaken) > 1), ", ".join(untaken))

    def first_ns(self, rows: list[tuple[int, int, list[str]]]) -> int:
        """The first stamp; `ConfigError` unless one of the first `rows` has a time: then the mapping is wrong, not the
        rows."""
        why = ""
        for line, row, cells in rows:
            try:
                return self.stamp_ns(cells, row)
            except ValueError as error:
                why = why or f"line {line}: {error}"
        why = why or "there is none but the first"
        raise ConfigError(
            f"{self._path}: no row with a time in column {self._config.time.column!r} ({why}); expected numbers, or"
            " dates where its unit is iso; see also `delimiter`, `decimal` and `header`"
        )

    def stream(self, name: str, mapped: MappedStream) -> _ColumnStream:
        """The stream called `name`; its rate is not known yet unless it was stated."""
        places = [self._place(field) for field in mapped.fields]
        spec = mapped.spec(name, stamps_from=self._config.time.stamps_from)
        return _ColumnStream(spec, places, mapped.factors, cache(partial(_say_inexact, self._path, name)))

    def stamp_ns(self, cells: list[str], row: int) -> int:
        """The row's stamp; `ValueError` where it has none, or too few cells."""
        if len(cells) < self._width or any(cells[self._width :]):
            raise ValueError(f"got {len(cells)} cells, expected {self._width}")
        if self._only is not None:  # this is done for every row
            return self._read_ns((cells[self._only],), row)
        return self._read_ns([cells[place] for place in self._times], row)

    def told_ns(self, cells: list[str], row: int) -> int | None:
        """The stamp of a bad row, where it can be read; the last cell of one that was cut short may be cut too."""
        if any(place >= len(cells) - (len(cells) < self._width) for place in self._times):
            return None
        try:
            return self._read_ns([cells[place] for place in self._times], row)
        except ValueError:
            return None

    def play(self, streams: list[_ColumnStream]) -> pacing.Source:
        """All rows of the file, from its beginning."""
        batcher = Ordered(one.spec for one in streams)
        return to_the_end(self._read(streams, batcher), batcher.end)

    def _read(self, streams: list[_ColumnStream], batcher: Ordered) -> Iterator[pacing.Due]:
        bad, before_ns, before, unread = BadRows(self._path), -(2**63), "", 0
        counts = self._times[0] if self._config.time.stamps_from == "index" else None
        with closing(self.rows()) as rows:
            for line, row, cells in rows:
                try:
                    stamp_ns = self.stamp_ns(cells, row)
                except ValueError as error:
                    bad.say(line, error)
                    unread += 1
                    for one in streams:
                        batcher.lose(one.spec.name, at_ns=self.told_ns(cells, row))
                    continue
                if stamp_ns < before_ns:
                    bad.note(f"{self._path}:{line}: time steps back by {before_ns - stamp_ns} ns")
                before_ns = stamp_ns
                if counts is not None:
                    skipped = self._config.time.skipped(before or cells[counts], cells[counts]) - unread
                    for one in streams if skipped > 0 else ():
                        batcher.lose(one.spec.name, skipped)
                    before, unread = cells[counts], 0
                for one in streams:
                    try:
                        sample = one.sample(cells)
                    except ValueError as error:
                        bad.say(line, f"{one.spec.name}: {error}")
                        batcher.lose(one.spec.name, at_ns=stamp_ns)
                    else:
                        if sample is not None:
                            yield from batcher.add(one.spec.name, stamp_ns, sample)

    def _place(self, column: FieldName) -> int:
        if isinstance(column, int):
            if 0 <= column < self._width:
                return column
            raise ConfigError(f"{self._path}: no column {column}; expected 0 to {self._width - 1}")
        if self._titles is None:
            raise ConfigError(f"{self._path}: column {column!r}: without a header columns are numbers from 0")
        if column not in self._titles:
            known = ", ".join(map(repr, self._titles))
            between = next((sign for sign in ";\t,| " if len(self._titles) == 1 and sign in self._titles[0]), "")
            hint = f", is `delimiter` {between!r}?" if between else nearest(column, self._titles)
            raise ConfigError(f"{self._path}: no column {column!r}{hint}; found {known}")
        if self._titles.count(column) > 1:
            places = ", ".join(str(place) for place, title in enumerate(self._titles) if title == column)
            raise ConfigError(f"{self._path}: column {column!r} is there twice; give the number of one ({places})")
        return self._titles.index(column)


def _joined(heads: list[list[str]]) -> list[str]:
    """One title a column, from rows of titles.

    >>> _joined([["left", "", "right"], ["t", "x", "x"]])
    ['left.t', 'left.x', 'right.x']
    """
    width = max(map(len, heads))
    rows = [row + [""] * (width - len(row)) for row in heads]
    for level, upper in enumerate(rows[:-1]):
        for place in range(1, width):
            if not upper[place] and any(lower[place] for lower in rows[level + 1 :]):
                upper[place] = upper[place - 1]
    return [".".join(filter(None, column)) for column in zip(*rows, strict=True)]


def _say_inexact(path: Path, stream: str, channel: str) -> None:
    log.warning("%s: %s.%s: whole numbers beyond 2^53 are not exact as float64", path, stream, channel)


def _rated(path: Path, stream: _ColumnStream, table: _Table, rows: list[tuple[int, int, list[str]]]) -> StreamSpec:
    """The stream's spec with the rate that was stated, or that its first rows show; `ConfigError` where those show that
    its columns are no numbers."""
    stamps, why = [], ""
    for line, row, cells in rows:
        with contextlib.suppress(ValueError):
            stamp_ns = table.stamp_ns(cells, row)
            try:
                if stream.sample(cells) is not None:
                    stamps.append(stamp_ns)
            except ValueError as error:
                why = why or f"line {line}: {error}"
    if why and not stamps:
        raise ConfigError(
            f"{path}: {stream.spec.name}: no row with numbers in all of its columns ({why}); expected numbers;"
            " see also `decimal` and `header`"
        )
    rate_hz = rate_of(f"{path}: {stream.spec.name}", stream.spec.rate_hz, np.array(stamps, np.int64))
    return msgspec.structs.replace(stream.spec, rate_hz=rate_hz)
