"""Replay of any table of numbers: its columns, their units and its time are mapped in the device file."""

import contextlib
import logging
import re
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Literal, Self

import msgspec
import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from sensorium.drivers import pacing
from sensorium.drivers.batching import Batcher, estimate_rate_hz, to_the_end
from sensorium.drivers.clock import Clock
from sensorium.drivers.driver import DriverConfig
from sensorium.drivers.pacing import Pace, Paced, Pacer
from sensorium.drivers.registry import nearest
from sensorium.drivers.replay.mapping import FieldName, MappedStream
from sensorium.drivers.replay.table import BadRows, decimal_ns, read_rows
from sensorium.drivers.replay.units import TIME_NS
from sensorium.drivers.stream import StreamSpec
from sensorium.errors import ConfigError

log = logging.getLogger(__name__)

_LOOKED_AT = 2000


class TimeColumn(BaseModel):
    """Where the stamps are: numbers in `unit`, or date and time (`iso`, UTC unless the text says another zone)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    column: FieldName
    unit: Literal["s", "ms", "us", "ns", "iso"] = "s"


class ReplayCsvConfig(DriverConfig):
    """`streams` maps stream names to columns, as `name.stream`; with `stream` alone there is one, called `name`.

    Every stream is float64 [n, channels]. `header` says whether the first row holds titles; rows that begin with
    `comment` are passed over; `decimal` is the decimal sign. `utc` says that the stamps count from 1970 UTC. A row in
    which all cells of a stream are empty holds no sample of it. The rate is estimated from the stamps unless it is
    stated.
    """

    kind: Literal["replay-csv"] = "replay-csv"
    path: Path
    time: TimeColumn
    stream: MappedStream | None = None
    streams: dict[str, MappedStream] = Field(default_factory=dict)
    delimiter: str = Field(default=",", min_length=1, max_length=1)
    decimal: Literal[".", ","] = "."
    header: bool = True
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
        with closing(read_rows(path, self.delimiter, self.comment)) as rows:
            _, titles = next(rows, (0, None))
        if titles is None:
            raise ConfigError(f"{path}: no row in it; expected a table")
        table = _Table(path, self, titles)
        streams = [table.stream(stream, one) for stream, one in mapped.items()]
        with closing(table.rows()) as rows:
            first = list(islice(rows, _LOOKED_AT))
        table.check_times(first)
        streams = [replace(one, spec=_rated(one, table, first)) for one in streams]
        clock = Clock(kind="recording", states_utc=self.utc or self.time.unit == "iso")
        return Paced([one.spec for one in streams], clock, table.play(streams), Pacer(self.pace))


@dataclass(frozen=True, slots=True)
class _ColumnStream:
    """One stream's columns: their places in a row, and the factors to SI."""

    spec: StreamSpec
    places: list[int]
    factors: list[float]

    def sample(self, cells: list[str]) -> list[float] | None:
        """SI values, or None where the row holds no sample of this stream.

        Raises:
            ValueError: a cell is no number.
        """
        texts = [cells[place] for place in self.places]
        if not any(texts):
            return None
        return [float(text) * factor for text, factor in zip(texts, self.factors, strict=True)]


class _Table:
    def __init__(self, path: Path, config: ReplayCsvConfig, titles: list[str]) -> None:
        self._path, self._config = path, config
        self._titles = titles if config.header else None
        self._width = len(titles)
        unit = config.time.unit
        self._time = self._place(config.time.column)
        self._read_ns = _iso_ns if unit == "iso" else partial(decimal_ns, unit_ns=TIME_NS[unit])

    def rows(self) -> Generator[tuple[int, list[str]], None, None]:
        """(line number, cells) of every row under the titles, decimals with a point."""
        with closing(read_rows(self._path, self._config.delimiter, self._config.comment)) as rows:
            for line, cells in islice(rows, int(self._config.header), None):
                yield line, cells if self._config.decimal == "." else [cell.replace(",", ".") for cell in cells]

    def check_times(self, rows: list[tuple[int, list[str]]]) -> None:
        """Raise `ConfigError` unless one of the first `rows` has a time: else the mapping is wrong, not the rows."""
        why = ""
        for line, cells in rows:
            try:
                self.stamp_ns(cells)
            except ValueError as error:
                why = why or f"line {line}: {error}"
            else:
                return
        why = why or "there is none but the first"
        raise ConfigError(
            f"{self._path}: no row with a time in column {self._config.time.column!r} ({why}); expected numbers, or"
            " dates where its unit is iso; see also `delimiter`, `decimal` and `header`"
        )

    def stream(self, name: str, mapped: MappedStream) -> _ColumnStream:
        """The stream called `name`; its rate is not known yet unless it was stated."""
        places = [self._place(field) for field in mapped.fields]
        return _ColumnStream(mapped.spec(name), places, mapped.factors)

    def stamp_ns(self, cells: list[str]) -> int:
        """The row's stamp; `ValueError` where it has none, or too few cells."""
        if len(cells) < self._width or any(cells[self._width :]):  # a delimiter at the end of rows is common
            raise ValueError(f"got {len(cells)} cells, expected {self._width}")
        return self._read_ns(cells[self._time])

    def told_ns(self, cells: list[str]) -> int | None:
        """The stamp of a bad row, where it can be read; the last cell of one that was cut short may be cut too."""
        if self._time >= len(cells) - (len(cells) < self._width):
            return None
        try:
            return self._read_ns(cells[self._time])
        except ValueError:
            return None

    def play(self, streams: list[_ColumnStream]) -> pacing.Source:
        """All rows of the file, from its beginning."""
        batcher = Batcher(one.spec for one in streams)
        return to_the_end(self._read(streams, batcher), batcher.end)

    def _read(self, streams: list[_ColumnStream], batcher: Batcher) -> Iterator[pacing.Due]:
        bad = BadRows(self._path)
        before_ns = -(2**63)
        with closing(self.rows()) as rows:
            for line, cells in rows:
                try:
                    stamp_ns = self.stamp_ns(cells)
                except ValueError as error:
                    bad.say(line, error)
                    for one in streams:
                        batcher.lose(one.spec.name, at_ns=self.told_ns(cells))
                    continue
                if stamp_ns < before_ns:
                    log.warning("%s:%d: time steps back by %d ns", self._path, line, before_ns - stamp_ns)
                before_ns = stamp_ns
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
            raise ConfigError(f"{self._path}: no column {column!r}{nearest(column, self._titles)}; found {known}")
        if self._titles.count(column) > 1:
            places = ", ".join(str(place) for place, title in enumerate(self._titles) if title == column)
            raise ConfigError(f"{self._path}: column {column!r} is there twice; give the number of one ({places})")
        return self._titles.index(column)


def _rated(stream: _ColumnStream, table: _Table, rows: list[tuple[int, list[str]]]) -> StreamSpec:
    """The stream's spec with the rate that its first rows show, unless one was stated."""
    if stream.spec.rate_hz is not None:
        return stream.spec
    stamps = []
    for _, cells in rows:
        with contextlib.suppress(ValueError):
            stamp_ns = table.stamp_ns(cells)
            if stream.sample(cells) is not None:
                stamps.append(stamp_ns)
    return msgspec.structs.replace(stream.spec, rate_hz=estimate_rate_hz(np.array(stamps, np.int64)))


def _iso_ns(text: str) -> int:
    """Nanoseconds since 1970 of a date and time, to the last digit written; UTC where no zone is given.

    >>> _iso_ns("2024-02-29T12:00:00.123456789+01:00")
    1709204400123456789
    """
    match = re.fullmatch(r"([^.,]*\d)(?:[.,](\d{1,9}))?(Z|[+-]\d\d:?\d\d)?", text)
    if match is None:
        raise ValueError(f"{text!r} is not a time")
    whole, fraction, zone = match.groups(default="")
    moment = datetime.fromisoformat(whole + zone)
    since = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - datetime.fromtimestamp(0, UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000_000 + int(fraction.ljust(9, "0"))
