"""What a query cannot be is said of the query, and never of the catalog, which is whole."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sensorium
from sensorium.errors import ConfigError


def test_a_limit_is_a_whole_number_of_any_kind(folders_path: Path) -> None:
    corpus: Any = sensorium.open(folders_path)
    assert len(corpus.query(limit=np.int64(3))) == len(list(corpus.rows(limit=np.int64(3)))) == 3
    assert len(corpus.aggregate("mission", limit=np.int64(1))) == 1
    assert len(corpus.query(limit=10**30)) == 5
    wrong: Any
    for wrong in (2.5, "3"):
        for ask in (
            corpus.query,
            lambda limit: list(corpus.rows(limit=limit)),
            lambda limit: corpus.aggregate(limit=limit),
        ):
            with pytest.raises(ConfigError, match="expected a whole number"):
                ask(limit=wrong)


@pytest.mark.parametrize(
    "cell",
    [
        *("label(task)", "has(front)", "stream('front').rat", "nope(bytes)", "substr()"),
        # what says something else each time, or takes longer than its text
        *("random()", "printf('%.*c', 300000000, 'x')", "hex(zeroblob(300000000))", "current_timestamp"),
        *("replace(mission, 'a', 'bb')", "abs(bytes)", "max(bytes, 2)", "mission -> 'a'", "lower()"),
        *("+".join(["1"] * 3000), "(" * 900 + "1" + ")" * 900),
    ],
)
def test_a_cell_that_is_none_is_the_askers(folders_path: Path, cell: str) -> None:
    corpus = sensorium.open(folders_path)
    with pytest.raises(ConfigError, match="expected one expression over the catalog's columns"):
        corpus.aggregate(cell)
    with pytest.raises(ConfigError, match="expected one expression over the catalog's columns"):
        corpus.cells([cell])


@pytest.mark.parametrize(
    ("where", "why"),
    [
        ("DEVICE = 'rig-1'", "unknown column 'DEVICE'; did you mean 'device'"),
        ('mission = "hall"', "unknown column 'hall'; .*; text stands in single quotes, as 'hall'"),
        ("mission in ('a', hall)", "unknown column 'hall'; .*; text stands in single quotes, as 'hall'"),
        ("hall = mission", "unknown column 'hall'; known are [a-z0-9_, ]*$"),
        ("device = '\udcff'", "is not all UTF-8"),
        ("has(front)", r"expected has\('STREAM'\)"),
        ("has()", r"expected has\('STREAM'\)"),
    ],
)
def test_what_is_no_condition_says_what_would_be(folders_path: Path, where: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        sensorium.open(folders_path).query(where)


@pytest.mark.parametrize("columns", [["bytes desc"], "bytes", [], [5], None, ["bytes", "episode, device"]])
def test_columns_are_names_of_columns(folders_path: Path, columns: Any) -> None:
    corpus = sensorium.open(folders_path)
    if columns is None:
        assert len(corpus.rows(columns=None).columns) > 20
        return
    with pytest.raises(ConfigError, match=r"unknown column|expected a list of names"):
        corpus.rows(columns=columns)


@pytest.mark.parametrize(("name", "value"), [("where", None), ("where", 5), ("order_by", ["bytes"])])
def test_what_is_no_text_is_said(folders_path: Path, name: str, value: Any) -> None:
    corpus: Any = sensorium.open(folders_path)
    for ask in (corpus.query, corpus.rows, corpus.aggregate):
        with pytest.raises(ConfigError, match=f"{name.replace('_', '.')} .*expected text"):
            ask(**{name: value})


def test_a_column_that_is_asked_for_twice_comes_once(folders_path: Path) -> None:
    rows = list(sensorium.open(folders_path).rows(columns=["device", "mission", "device"]).dicts())
    assert len(rows) == 5
    assert all(list(row) == ["device", "mission"] for row in rows)


def test_a_text_that_is_no_unicode_is_the_askers(folders_path: Path) -> None:
    corpus = sensorium.open(folders_path)
    assert corpus.query("device = 'none'") == []
    for ask in (
        lambda: corpus.query("device = '\udcff'"),  # in the words of the one before, which is remembered
        lambda: corpus.aggregate("length('\udcff')"),
        lambda: corpus.episode("\udcff"),
        lambda: corpus.windows(around="\udcff", after_s=1.0, streams=["front"]),
    ):
        with pytest.raises(ConfigError, match="is not all UTF-8"):
            ask()


def test_what_is_nested_too_deep_for_sqlite_is_the_askers(folders_path: Path) -> None:
    corpus = sensorium.open(folders_path)
    assert len(corpus.query(f"{'not ' * 20} bytes > 0")) == 5
    with pytest.raises(ConfigError, match="nested too deep"):
        corpus.query(f"{'not ' * 55} bytes > 0")


def test_a_truth_of_a_truth_is_looked_at_once(folders_path: Path) -> None:
    """Looked at twice on each level, these would take longer than anybody waits."""
    assert len(sensorium.open(folders_path).query("(" * 28 + "bytes > 0" + ") is true" * 28)) == 5


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("start_utc > '2023-11-15T00:13:19+02:00'", 1),  # as text it would be before
        ("start_utc between '2023' and '2023-11-14T23:13:21+01:00'", 1),
        ("case when start_utc < '2023-11-14T22:13:20Z' then 'early' else 'late' end", "late"),
        ("substr(start_utc, 1, 4) = '2023'", 1),
        ("stream('front').shape = '[8, 8]'", 1),
        ("stream('front').shape in ('8 x 8', null)", 1),
    ],
)
def test_cells_compare_times_and_shapes_as_conditions_do(folders_path: Path, cell: str, value: Any) -> None:
    assert sensorium.open(folders_path).aggregate(cell) == [{cell: value, "count": 5}]


def test_rows_may_be_sent_to_another_process(folders_path: Path) -> None:
    rows = sensorium.open(folders_path).rows("bytes > 0", order_by="episode desc", limit=3, columns=["episode"])
    sent = pickle.loads(pickle.dumps(rows))
    assert [*sent.dicts()] == [*rows.dicts()] != []


@pytest.mark.parametrize(
    ("order_by", "expected"),
    [
        ("has('wheel') desc, ordinal desc", [4, 3, 2, 1, 0]),
        ("stream('wheel').rows, ordinal", [0, 1, 2, 3, 4]),
        ("substr(mission, 1, 1) desc, ordinal", [1, 3, 0, 2, 4]),
        ("-ordinal", [4, 3, 2, 1, 0]),
        ("case when mission = 'a, b' then 1 end, ordinal DESC", [4, 3, 2, 1, 0]),
        ("-1, (99), ordinal desc", [4, 3, 2, 1, 0]),  # numbers, and not the columns of those places
    ],
)
def test_an_order_may_be_of_what_cells_are(folders_path: Path, order_by: str, expected: list[int]) -> None:
    corpus = sensorium.open(folders_path)
    assert [row["ordinal"] for row in corpus.rows(order_by=order_by)] == expected
    assert [each.row["ordinal"] for each in corpus.query("bytes > 0", order_by, limit=3)] == expected[:3]
    assert [each["ordinal"] for each in corpus.records(order_by=order_by)] == expected


@pytest.mark.parametrize(
    ("order_by", "why"),
    [
        ("random()", "no such function"),
        ("stream('wheel').row", "did you mean .rows"),
        ("has('weel')", "did you mean 'wheel'"),
        ("label('task') dsc", "expected one expression"),
        ("bytes desc nulls last", "expected a column, then asc or desc"),
        ("ordinal, (select 1)", "expected one expression"),
        ("byte desc", "did you mean 'bytes'"),
    ],
)
def test_what_is_no_order_is_the_askers(folders_path: Path, order_by: str, why: str) -> None:
    corpus = sensorium.open(folders_path)
    for ask in (corpus.query, corpus.rows, corpus.records):
        with pytest.raises(ConfigError, match=why):
            ask(order_by=order_by)
