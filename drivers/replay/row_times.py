"""Row times: every way that people write when a row of a table was captured, as whole nanoseconds."""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from sensorium.drivers.replay.mapping import FieldName
from sensorium.drivers.replay.table import decimal_ns
from sensorium.drivers.replay.units import TIME_NS

_ISO = re.compile(
    r"(\d{4})([-/])(\d{1,2})\2(\d{1,2})"
    r"(?:[Tt ]+(\d{1,2}):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?)?\s*(Z|[+-]\d\d(?::?\d\d)?)?"
)
_HMS = re.compile(r"(?:(\d+):)?(\d{1,2}):(\d{1,2})(?:[.,](\d{1,9}))?")

ReadTime = Callable[[Sequence[str], int], int]
"""The stamp of a row, by its time cells and its number from 0; `ValueError` where they are no time."""


class TimeColumn(BaseModel):
    """Where the stamps are: numbers in `unit`; date and time (`iso`, UTC unless the text says another zone); a time
    since the start as hours, minutes and seconds (`hms`).

    Two columns are date and time of day, or (`s`) whole seconds and nanoseconds. With `rate_hz` the column counts
    samples at that rate, and where it skips some they are lost; without a `column` the rows are counted.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    column: FieldName | tuple[FieldName, FieldName] | None = None
    unit: Literal["s", "ms", "us", "ns", "iso", "hms"] = "s"
    rate_hz: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.column is None and self.rate_hz is None:
            raise ValueError("expected `column`, or `rate_hz` for rows that are evenly spaced")
        if self.rate_hz is not None and ("unit" in self.model_fields_set or isinstance(self.column, tuple)):
            raise ValueError("with `rate_hz` there is one column, which counts samples, and no `unit`")
        if isinstance(self.column, tuple) and self.unit not in ("iso", "s"):
            raise ValueError(f"two columns are date and time (unit iso), or seconds and ns (unit s), not {self.unit}")
        return self

    @property
    def columns(self) -> list[FieldName]:
        """Where the time cells are."""
        if self.column is None:
            return []
        return list(self.column) if isinstance(self.column, tuple) else [self.column]

    @property
    def stamps_from(self) -> str:
        """What a stream's spec says of its stamps."""
        return "source" if self.rate_hz is None else "row" if self.column is None else "index"

    @property
    def reader(self) -> ReadTime:
        """What reads a row's time."""
        if self.rate_hz is not None:
            rate = Fraction(str(self.rate_hz))
            counted = self.column is not None
            return lambda cells, row: at_rate_ns(_index(cells[0]) if counted else row, rate)
        if self.unit == "iso":
            return lambda cells, _: iso_ns(" ".join(cells))
        if self.unit == "hms":
            return lambda cells, _: hms_ns(cells[0])
        if isinstance(self.column, tuple):
            return lambda cells, _: decimal_ns(cells[0], TIME_NS["s"]) + decimal_ns(cells[1], 1)
        unit_ns = TIME_NS[self.unit]
        return lambda cells, _: decimal_ns(cells[0], unit_ns)

    def skipped(self, before: str, cell: str) -> int:
        """How many samples the column of a count has skipped between two of its cells."""
        if self.rate_hz is None or self.column is None:
            return 0
        try:
            return max(0, int(_index(cell) - _index(before)) - 1)
        except ValueError:
            return 0


def at_rate_ns(number: int | Fraction, rate_hz: Fraction) -> int:
    """When sample `number` of evenly spaced ones was captured, to a nanosecond; `ValueError` beyond int64.

    >>> at_rate_ns(2048, Fraction("204.8"))
    10000000000
    """
    ns = round(number * 1_000_000_000 / rate_hz)
    if not -(2**63) <= ns < 2**63:
        raise ValueError(f"sample {number} is beyond 64 bits of nanoseconds")
    return ns


def _index(text: str) -> Fraction:
    try:
        return Fraction(Decimal(text))
    except (ArithmeticError, ValueError) as error:
        raise ValueError(f"{text!r} is no count of samples") from error


def iso_ns(text: str) -> int:
    """Nanoseconds since 1970 of a date and time, to the last digit written; UTC where no zone is given.

    >>> iso_ns("2024-02-29T12:00:00.123456789+01:00")
    1709204400123456789
    >>> iso_ns("2024/2/29 11:00:00,5 UTC")
    1709204400500000000

    Raises:
        ValueError: it is none.
    """
    plain = re.sub(r"(?:UTC|GMT|[zZ])$", "Z", text.strip())
    match = _ISO.fullmatch(plain)
    if match is not None:
        year, _, month, day, hour, minute, second, fraction, zone = match.groups(default="")
        plain = f"{year}-{month:0>2}-{day:0>2}T{hour:0>2}:{minute or '00'}:{second or '00'}{zone}"
    else:  # the other forms of the norm: without separators, by week
        compact = re.fullmatch(r"([^.,]*\d)(?:[.,](\d{1,9}))?(Z|[+-]\d\d(?::?\d\d)?)?", plain)
        if compact is None:
            raise ValueError(f"{text!r} is not a time")
        whole, fraction, zone = compact.groups(default="")
        plain = whole + zone
    moment = datetime.fromisoformat(plain)
    since = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - datetime.fromtimestamp(0, UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000_000 + int(fraction.ljust(9, "0"))


def hms_ns(text: str) -> int:
    """Nanoseconds of a time since the start.

    >>> hms_ns("1:02:03.5"), hms_ns("02:03")
    (3723500000000, 123000000000)

    Raises:
        ValueError: it is none.
    """
    match = _HMS.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a time of hours, minutes and seconds")
    hours, minutes, seconds, fraction = match.groups(default="")
    whole = (int(hours or 0) * 60 + int(minutes)) * 60 + int(seconds)
    return whole * 1_000_000_000 + int(fraction.ljust(9, "0"))
