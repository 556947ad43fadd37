"""EuRoC tables: whole numbers of nanoseconds, then what a row holds, with titles or without, as people write them."""

import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import chain, islice
from pathlib import Path

import numpy as np

from sensorium.drivers.replay.table import EXACT, BadRows, decimal_ns, encoding_of, read_rows, split_line
from sensorium.drivers.replay.units import TIME_NS
from sensorium.drivers.stream import Samples, Stamps

log = logging.getLogger(__name__)

_LOOKED_AT = 20


@dataclass(frozen=True, slots=True)
class TableHead:
    """What a table says before its first row: the titles behind the stamp's, and how long one unit of the stamps is."""

    titles: tuple[str, ...]
    unit_ns: int
    rows: int
    """How many rows, that are no comments, hold titles."""
    delimiter: str = ","

    def stamp_ns(self, text: str) -> int:
        """The stamp in `text`; `ValueError` if it is none.

        In nanoseconds it is a whole number: a float holds 53 bits, and a POSIX time in ns needs 61.
        """
        if self.unit_ns > 1:
            return decimal_ns(text, self.unit_ns)
        if not text.isdigit():
            stamp = decimal_ns(text, 1)
            if Decimal(text) != stamp:
                raise ValueError(f"stamp {text} is no whole number of ns; a title like `timestamp [s]` says its unit")
            return stamp
        if (stamp := int(text)) >= 2**63:
            raise ValueError(f"stamp {stamp} is beyond 64 bits")
        return stamp


@dataclass(frozen=True, slots=True)
class Numbers:
    """The good rows: stamps int64 [n], values float64 [n, columns]; titles and units of the columns, if it has them."""

    captured_ns: Stamps
    data: Samples
    titles: tuple[str, ...]
    units: tuple[str, ...]


def head_of(table: Path) -> TableHead:
    """The titles of a table: those of the longest comment before its first row, else of a row without a stamp. A first
    row without any comma says that something else is between its cells."""
    with table.open(encoding=encoding_of(table), errors="replace") as file:
        comments, data = _until_data(file)
    delimiter = next((sign for sign in ",;\t " if sign in data), ",")
    _, first = next(read_rows(table, delimiter), (0, [""]))
    is_title = bool(first[0]) and not _is_number(first[0])
    titles = first if is_title else max((_titles(each, delimiter) for each in comments), key=len, default=[])
    if len(titles) < 2 or (delimiter == " " and len(titles) != len(first)):
        titles = []
    while titles and not titles[-1]:
        titles.pop()
    return TableHead(tuple(titles[1:]), _unit_ns(titles[0]) if titles else 1, int(is_title), delimiter)


def rows_of(table: Path, head: TableHead) -> Iterator[tuple[int, list[str]]]:
    """(line number, cells) of every row below the titles."""
    return islice(read_rows(table, head.delimiter), head.rows, None)


def _titles(comment: str, delimiter: str) -> list[str]:
    """Titles with units have spaces, so they may have commas where rows have none."""
    parts = split_line(comment.strip().removeprefix("#"), "," if delimiter == " " and "," in comment else delimiter)
    return [part.strip() for part in parts]


def _unit_ns(title: str) -> int:
    """How long one unit of the stamps is, by their title: nanoseconds, if it says nothing.

    >>> _unit_ns("timestamp [s]"), _unit_ns("time (us)"), _unit_ns("t_ms"), _unit_ns("timestamp")
    (1000000000, 1000, 1000000, 1)
    """
    match = re.search(r"[\[( _]\s*(s|ms|us|µs|μs|ns|\w*sec(?:ond)?s?)\s*[\])]?$", title.lower())
    if match is None:
        return 1
    said = re.sub(r"sec(ond)?s?$", "s", match[1].replace("µ", "u").replace("μ", "u"))
    return TIME_NS.get({"millis": "ms", "micros": "us", "nanos": "ns"}.get(said, said), 1)


def read_numbers(table: Path, head: TableHead, bad: BadRows) -> Numbers | None:
    """All rows of numbers, None if there is none. What cannot be read goes to `bad`; the log says which columns hold no
    numbers."""
    rows = rows_of(table, head)
    first = list(islice(rows, _LOOKED_AT))
    width = len(head.titles) or max((len(_stripped(cells)) for _, cells in first), default=1) - 1
    columns = [at for at in range(1, width + 1) if _holds_numbers(at, first)]
    named = [head.titles[at - 1] if head.titles else f"column {at}" for at in range(1, width + 1)]
    if untaken := [name for at, name in enumerate(named, 1) if at not in columns and name]:
        log.warning("%s: not taken, for want of numbers: %s", table, ", ".join(untaken))
    stamps: list[int] = []
    values: list[list[float]] = []
    for line, cells in chain(first, rows):
        stamp: int | None = None
        try:
            stamp = head.stamp_ns(cells[0]) if len(cells) > 1 else None  # what is cut short may end in the stamp itself
            if len(cells) <= width or any(cells[width + 1 :]):  # a comma at the end of rows is common
                raise ValueError(f"got {len(_stripped(cells)) - 1} values, expected {width}")
            row = [float(cells[at]) for at in columns]
            stamps.append(head.stamp_ns(cells[0]))
        except ValueError as error:
            bad.lose(line, error, len(stamps), stamp)
            continue
        values.append(row)
    if not values or not columns:
        return None
    data = np.array(values, np.float64)
    for at, numbers in zip(columns, data.T, strict=True):
        if bool((np.abs(numbers[np.isfinite(numbers)]) >= EXACT).any()):
            log.warning("%s: %s: whole numbers beyond 2^53 are not exact as float64", table, named[at - 1])
    titles = [head.titles[at - 1] for at in columns] if head.titles else []
    units = tuple(match[1] if (match := re.search(r"\[(.*?)\]", title)) else "" for title in titles)
    names = tuple(re.sub(r"\s*\[.*", "", title) for title in titles)
    return Numbers(np.array(stamps, np.int64), data, _apart(names), units)


def _until_data(file: Iterator[str]) -> tuple[list[str], str]:
    """The comments before the first row, and that row."""
    comments = []
    for line in file:
        if line.startswith("#"):
            comments.append(line)
        elif line.strip():
            return comments, line.strip()
    return comments, ""


def _apart(names: Sequence[str]) -> tuple[str, ...]:
    """
    >>> _apart(["x", "y", "x", ""])
    ('x', 'y', 'x_3', '')
    """
    return tuple(name + f"_{at}" * (name != "" and name in names[: at - 1]) for at, name in enumerate(names, 1))


def _holds_numbers(at: int, rows: Sequence[tuple[int, list[str]]]) -> bool:
    """Whether any row has a number there, or none says what it has."""
    cells = [cells[at] for _, cells in rows if at < len(cells)]
    return any(map(_is_number, cells)) or not rows


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _stripped(cells: list[str]) -> list[str]:
    """Without the empty cells at its end.

    >>> _stripped(["1", "", "2", "", ""])
    ['1', '', '2']
    """
    stop = len(cells)
    while stop and not cells[stop - 1]:
        stop -= 1
    return cells[:stop]
