"""Times of rows: exact however they are written, and refused where they are none."""

from typing import Any

import pytest
from pydantic import ValidationError

from sensorium.drivers.replay.row_times import TimeColumn, hms_ns, iso_ns

NOON_NS = 1_709_208_000_000_000_000


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("2024-02-29T12:00:00Z", 0),
        ("2024-02-29 12:00:00", 0),
        ("2024-02-29t12:00:00z", 0),
        ("2024/02/29 12:00", 0),
        ("2024-2-29  12:00:00.5 UTC", 500_000_000),
        ("2024-02-29T14:30:00,000000001+0230", 1),
        ("2024-02-29T11:00:00-01", 0),
        ("2024-02-29 13:00:00.25 +01:00", 250_000_000),
        ("20240229T120000Z", 0),
        ("20240229T120000.123Z", 123_000_000),
        ("2024-02-29", -12 * 3600 * 10**9),
    ],
)
def test_dates(text: str, ns: int) -> None:
    assert iso_ns(text) - NOON_NS == ns


@pytest.mark.parametrize(
    "text", ["29/02/2024 12:00", "2024-02-30", "2024-02/29", "12:00", "2024-02-29T12:00:00+1", "-"]
)
def test_what_is_no_date(text: str) -> None:
    with pytest.raises(ValueError):
        iso_ns(text)


def test_times_since_the_start() -> None:
    assert (hms_ns("100:00:00,000000001"), hms_ns("0:09.5")) == (360_000_000_000_001, 9_500_000_000)
    with pytest.raises(ValueError, match="is not a time"):
        hms_ns("9.5")


@pytest.mark.parametrize(
    ("time", "cells", "ns"),
    [
        ({"column": "t"}, ["1709208000.000000001"], NOON_NS + 1),
        ({"column": "t", "unit": "ms"}, ["1709208000000.000001"], NOON_NS + 1),
        ({"column": "t", "unit": "us"}, ["1709208000000000.001"], NOON_NS + 1),
        ({"column": "t", "unit": "ns"}, ["1709208000000000001"], NOON_NS + 1),
        ({"column": ["sec", "nanosec"]}, ["1709208000", "1"], NOON_NS + 1),
        ({"column": ["date", "time"], "unit": "iso"}, ["2024/02/29", "12:00:00.000000001"], NOON_NS + 1),
        ({"column": "n", "rate_hz": 204.8}, ["2048"], 10**10),
        ({"rate_hz": 3}, [], 7 * 10**9 // 3),
    ],
)
def test_ways_to_say_when(time: dict[str, Any], cells: list[str], ns: int) -> None:
    assert TimeColumn.model_validate(time).reader(cells, 7) == ns


@pytest.mark.parametrize(
    "time", [{}, {"column": "n", "rate_hz": 1, "unit": "ms"}, {"column": ["a", "b"], "unit": "ns"}, {"rate_hz": 0}]
)
def test_ways_that_are_none(time: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TimeColumn.model_validate(time)


@pytest.mark.parametrize("cell", ["", "x", "inf", "1e300"])
def test_a_count_that_is_none(cell: str) -> None:
    time = TimeColumn(column="n", rate_hz=10)
    with pytest.raises(ValueError):
        time.reader([cell], 0)
    assert time.skipped("4", cell) == 0 or cell == "1e300"
