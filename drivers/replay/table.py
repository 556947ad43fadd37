"""Tables of text: rows of a CSV file with the line each stands on, decimal times read exactly, bad rows told apart."""

import csv
import logging
from collections.abc import Generator
from decimal import Decimal
from pathlib import Path

import numpy as np

from sensorium.errors import ConfigError

log = logging.getLogger(__name__)

_LOGGED = 5


def read_rows(path: Path, delimiter: str = ",", comment: str = "#") -> Generator[tuple[int, list[str]], None, None]:
    """(line number, stripped cells) of every row; comments, blank lines, CRLF and a byte order mark are passed over.

    Raises:
        ConfigError: the file cannot be read, or is no table.
    """
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            reader = csv.reader(file, delimiter=delimiter, skipinitialspace=True)
            for cells in reader:
                if cells and not (comment and cells[0].startswith(comment)) and any(cell.strip() for cell in cells):
                    yield reader.line_num, [cell.strip() for cell in cells]
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}: expected a table; check the path") from error
    except csv.Error as error:
        raise ConfigError(f"{path}: {error}: expected a table with delimiter {delimiter!r}") from error


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
        self._said = 0
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
