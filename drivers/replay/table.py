"""Tables of text: rows of a CSV file with the line each stands on, decimal times read exactly, bad rows told apart."""

import codecs
import contextlib
import csv
import io
import logging
from collections import deque
from collections.abc import Generator, Iterator
from decimal import Decimal
from itertools import islice
from pathlib import Path

import numpy as np

from sensorium.errors import ConfigError

log = logging.getLogger(__name__)

_HEAD_BYTES, _HEAD_TOLD = 4096, 64
_PACKED = {
    b"\x1f\x8b": "packed by gzip",
    b"PK\x03\x04": "a ZIP or a workbook",
    b"\xd0\xcf\x11\xe0": "a workbook",
    b"\x28\xb5\x2f\xfd": "packed by zstd",
    b"\xfd7zXZ": "packed by xz",
    b"BZh": "packed by bzip2",
    b"PAR1": "a Parquet file",
}
EXACT = 2**53
"""Whole numbers beyond this are not exact as float64."""
_LOGGED = 5
_MOST_LINES = 20


def read_rows(
    path: Path, delimiter: str = ",", comment: str = "#", skip: int = 0
) -> Generator[tuple[int, list[str]], None, None]:
    """(line number, stripped cells) of every row; comments, blank lines, the first `skip` lines, CRLF and a byte order
    mark are passed over. Of spaces as `delimiter` any number is one.

    What is quoted may go on over several lines, as far as none of those that follow has by itself as many cells as the
    first row: a stray quote costs its own line. Cells of a line that is quoted wrongly keep their quotes, and so are no
    numbers.

    Raises:
        ConfigError: the file cannot be read, or is no text.
    """
    try:
        with path.open(encoding=encoding_of(path), errors="replace", newline="") as file:
            for _ in range(skip):
                next(file, "")
            yield from _rows(file, delimiter, comment, skip)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}: expected a table; check the path") from error


def encoding_of(path: Path) -> str:
    """How the text of a table is encoded: by its mark, the zeros of UTF-16 without one, or what can be UTF-8.

    Raises:
        ConfigError: it is no text but packed, or a workbook.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if packed := next((name for magic, name in _PACKED.items() if head.startswith(magic)), ""):
        raise ConfigError(f"{path}: is {packed} and no text; unpack it, or save it as CSV")
    if head.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        return "utf-32"
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):  # which spreadsheets call Unicode text
        return "utf-16"
    for first, encoding in ((0, "utf-16-be"), (1, "utf-16-le")):
        if len(head) > 2 and not any(head[first:_HEAD_TOLD:2]):
            return encoding
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:  # of older programs: a degree sign in a title
        return "cp1252"
    return "utf-8-sig"


def split_line(line: str, delimiter: str) -> list[str]:
    """The cells of a line in which nothing is quoted.

    >>> split_line("1,,2", ","), split_line(" 1   2", " ")
    (['1', '', '2'], ['1', '2'])
    """
    return line.split(None if delimiter == " " else delimiter)


def _rows(
    file: Iterator[str], delimiter: str, comment: str, number: int
) -> Generator[tuple[int, list[str]], None, None]:
    ahead: deque[str] = deque()
    feed: list[str] = []  # to make a reader takes longer than to read a line
    reader = csv.reader(iter(feed.pop, None), delimiter=delimiter, skipinitialspace=True, strict=True)
    width = 0
    between = None if delimiter == " " else delimiter
    while line := ahead.popleft() if ahead else next(file, ""):
        number += 1
        if (comment and line.startswith(comment)) or line.isspace():
            continue
        cells, more = line.split(between), 0
        if '"' in line:
            feed.append(line)
            try:
                cells = next(reader)
            except IndexError:  # it asked for another line
                longer, more = _continued(line, delimiter, width, ahead, file)
                cells = longer or cells
            except csv.Error:
                pass
        cells = [cell.strip() for cell in cells]
        if any(cells):
            width = width or len(cells)
            yield number, cells
        for _ in range(more):
            ahead.popleft()
        number += more


def _continued(
    line: str, delimiter: str, width: int, ahead: deque[str], file: Iterator[str]
) -> tuple[list[str] | None, int]:
    """The cells of a row whose last quote is closed in one of the lines `ahead`, which are read from `file`, and how
    many of those it goes on in; None where there is no such row."""
    whole = line
    for more in range(1, _MOST_LINES):
        if len(ahead) < more:
            ahead.extend(islice(file, 1))
        if len(ahead) < more or len(split_line(ahead[more - 1], delimiter)) >= max(width, 2):
            break
        whole += ahead[more - 1]
        with contextlib.suppress(csv.Error):  # it may go on in the next line
            lines = io.StringIO(whole, newline="")
            return next(csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True)), more
    return None, 0


def decimal_ns(text: str, unit_ns: int) -> int:
    """The decimal number `text`, in units of `unit_ns`, as whole nanoseconds, exact to half of one.

    >>> decimal_ns("0.010078907", 1_000_000_000)
    10078907

    Raises:
        ValueError: not a finite decimal number within int64.
    """
    try:
        ns = Decimal(text) * unit_ns
        if not -(2**63) <= ns < 2**63:
            raise ValueError(f"time {text} is beyond 64 bits of nanoseconds")
        return int(ns.to_integral_value())
    except ArithmeticError as error:
        raise ValueError(f"{text!r} is not a time") from error


class BadRows:
    """Counts rows that cannot be used, per place between good rows, with their stamps where those can be read; logs the
    first few by file and line."""

    def __init__(self, path: Path, joint: str = ":") -> None:
        """`joint` stands in the log between path and place: ":" before a line, "/" before a file of a folder."""
        self._path = path
        self._joint = joint
        self._said = self._noted = 0
        self._at: list[int] = []
        self.lost_at: list[tuple[int, int]] = []
        """(number of the good row that follows, stamp) of those that have a stamp."""

    def say(self, place: object, why: object) -> None:
        """Log that the row at `place` (a line) is lost, if not too much was said already."""
        self._said += 1
        if self._said <= _LOGGED:
            log.warning("%s%s%s: %s: counted lost", self._path, self._joint, place, why)
        elif self._said == _LOGGED + 1:
            log.warning("%s: more is lost; not listed", self._path)

    def note(self, what: str) -> None:
        """Log something of rows that are good, if not too much was said already."""
        self._noted += 1
        if self._noted <= _LOGGED:
            log.warning("%s", what)

    def lose(self, line: int, why: object, before_row: int, at_ns: int | None = None) -> None:
        """The row on `line` is lost; it stood just before the good row number `before_row`, with the stamp `at_ns`."""
        if at_ns is None:
            self._at.append(before_row)
        else:
            self.lost_at.append((before_row, at_ns))
        self.say(line, why)

    def lost_before(self, rows: int) -> np.typing.NDArray[np.int64]:
        """int64 [rows + 1]: how many without a stamp were lost before each good row, and after the last."""
        return np.bincount(np.asarray(self._at, np.int64), minlength=rows + 1).astype(np.int64)
