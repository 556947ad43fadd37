"""A condition means in a mapping what it means in SQLite, and nothing beyond the grammar gets through."""

import doctest
import math
import sqlite3
from contextlib import closing
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.episode import where_mistakes
from sensorium.episode.store_terms import Bind, StoreTerm
from sensorium.episode.where import compile_order, evaluate, parse_where
from sensorium.errors import ConfigError

KINDS = {"device": "text", "mission": "text", "rows": "number", "duration_s": "number", "imu.motion": "number"}
HAS = "EXISTS (SELECT 1 FROM streams WHERE streams.name = {})"


class Terms:
    """Of a store that knows of streams alone."""

    def has(self, stream: str, bind: Bind) -> str:
        return HAS.format(bind(stream))

    def column(self, name: str) -> str:
        return f'"{name}"'

    def value(self, term: StoreTerm, bind: Bind) -> str:
        return f"TERM_{term.function}"

    def among(self, term: StoreTerm, test: str, bind: Bind) -> str | None:
        return f"AMONG_{term.function}({test})" if term.function == "score" else None


TERMS = Terms()

numbers = st.one_of(st.integers(-3, 3), st.sampled_from([0.5, -1.5, 2.0, 1e300, 2**62]))
texts = st.text("aAbB%_'é\n ", max_size=3)


def quoted(value: Any) -> str:
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else str(value)


@st.composite
def conditions(draw: st.DrawFn, depth: int = 3) -> str:
    if depth and draw(st.booleans()):
        first = draw(conditions(depth - 1))
        kind = draw(
            st.sampled_from(
                ["({} and {})", "{} or ({})", "not ({})", "({}) is true", "({}) is not false", "({}) = ({})"]
            )
        )
        return kind.format(first, *([draw(conditions(depth - 1))] if kind.count("{}") == 2 else []))
    column, values = draw(
        st.sampled_from(
            [
                ("device", texts),
                ("mission", texts),
                ("rows", numbers),
                ("duration_s", numbers),
                ('"imu.motion"', numbers),
            ]
        )
    )
    column = column.replace('"imu.motion"', "imu.motion")
    value = values.map(quoted) | st.just("null")
    negated = draw(st.sampled_from(["", "not "]))
    form = draw(st.sampled_from(["compare", "in", "between", "null", "like", "has"]))
    if form == "compare":
        return f"{column} {draw(st.sampled_from(['=', '==', '<>', '!=', '<', '<=', '>', '>=']))} {draw(value)}"
    if form == "in":
        return f"{column} {negated}in ({', '.join(draw(st.lists(value, min_size=1, max_size=3)))})"
    if form == "between":
        return f"{column} {negated}between {draw(value)} and {draw(value)}"
    if form == "like":
        return f"mission {negated}like {quoted(draw(texts))}"
    if form == "has":
        return f"{negated}has({quoted(draw(st.sampled_from(['front', 'imu', 'x'])))})"
    return f"{column} is {negated}null"


ROWS = st.fixed_dictionaries(
    {
        "device": texts,
        "mission": st.none() | texts,
        "rows": st.none() | st.integers(-3, 3) | st.just(2**62),
        "duration_s": st.none() | st.floats(-2, 2) | st.sampled_from([math.nan, math.inf, 1e300]),
        "imu.motion": st.none() | st.floats(-2, 2),
    }
)


@settings(max_examples=150, deadline=None)
@given(condition=conditions(), rows=st.lists(ROWS, min_size=1, max_size=4))
def test_both_twins_agree_with_sqlite(condition: str, rows: list[dict[str, Any]]) -> None:
    where = parse_where(condition, KINDS)
    text, values = where.sql(TERMS)
    columns = 'device TEXT, mission TEXT, rows INTEGER, duration_s REAL, "imu.motion" REAL'
    with sqlite3.connect(":memory:") as database:
        database.execute(f"create table episodes ({columns})")
        database.execute("create table streams (name TEXT)")
        database.executemany("insert into streams values (?)", [("front",), ("imu",)])
        database.executemany(
            "insert into episodes values (?, ?, ?, ?, ?)", [[row[name] for name in KINDS] for row in rows]
        )
        compiled = [n for (n,) in database.execute(f"select rowid from episodes where {text} order by rowid", values)]
        native = condition.replace("imu.motion", '"imu.motion"')
        for name in ("front", "imu", "x"):
            native = native.replace(f"has('{name}')", HAS.format(f"'{name}'"))
        direct = [n for (n,) in database.execute(f"select rowid from episodes where {native} order by rowid")]
    database.close()
    twin = [n for n, row in enumerate(rows, 1) if where.evaluate(row, {"front", "imu"})]
    assert compiled == direct == twin
    assert [n for n, row in enumerate(rows, 1) if evaluate(condition, row, {"front", "imu"})] == direct


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("devise = 'x'", "did you mean 'device'"),
        ("zzz = 1", "known are device"),
        ("device = 5", "compares text with a number"),
        ("rows in (1, 'a')", "compares text with a number"),
        ("rows like '1%'", "looks for text in a number"),
        ("device", "expected a condition"),
        ("not 'x'", "expected a condition"),
        ("rows = 1; drop table episodes", "expected one boolean expression"),
        ("rows = 1 union select 1", "expected one boolean expression"),
        ("rows from episodes", "expected one boolean expression"),
        ("rows = 1, 2", "expected one boolean expression"),
        ("rows = 1 order by rows", "expected one boolean expression"),
        ("rows in (select 1)", "is not allowed"),
        ("rows = (select 1)", "is not allowed"),
        ("load_extension('x')", "is not allowed"),
        ("has(rows)", "is not allowed"),
        ("rows = :p0", "is not allowed"),
        ("rows = ?", "is not allowed"),
        ("rows + 1 > 2", "is not allowed"),
        ("rows = 1 as x", "is not allowed"),
        ("*", "is not allowed"),
        ("case when rows then 1 end", "is not allowed"),
        ("rows is 1", "is not allowed"),
        ("rows in ()", "is not allowed"),
        ("rows between symmetric 3 and 1", "is not allowed"),
        ("rows in (1) over ()", "is not allowed|expected e.g."),
        ("mission like 'a' escape 'b'", "is not allowed"),
        ("mission glob 'a'", "is not allowed"),
        ("has(distinct 'a')", "is not allowed"),
        ("has('a', 'b')", "is not allowed"),
        ("rows = 1 collate nocase", "is not allowed"),
        ("rows = -rows", "is not a number"),
        ("rows = ", "expected e.g."),
        ("((", "expected e.g."),
        ("device = 'x", "expected e.g."),
        ("not " * 100 + "rows", "nested"),
        ("(" * 3000 + "rows" + ")" * 3000, "nested|expected e.g."),
        ("rows = 1 or " * 2000 + "rows = 1", "letters"),
    ],
)
def test_one_clear_line_for_all_else(condition: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        parse_where(condition, KINDS).sql(TERMS)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("word", ["or", "and"])
def test_a_chain_is_no_nesting(word: str) -> None:
    """As long as a condition may be; SQLite takes what is nested 1,000 deep, and Python less."""
    parts = ["rows=7"] + [
        f"rows{'=' if word == 'or' else '<>'}{number % 7}" for number in range(850 if word == "or" else 780)
    ]
    for said in (parts, parts[::-1], [f"({parts[0]} {word} {parts[1]})", *parts[1:]]):
        condition = f" {word} ".join(said)
        where = parse_where(condition, KINDS)
        text, values = where.sql(TERMS)
        with closing(sqlite3.connect(":memory:")) as database:
            asked = [database.execute(f"select {text} from (select {n} as rows)", values).fetchone()[0] for n in (7, 9)]
        assert asked == [1, 0]
        assert [where.evaluate({"rows": n}) for n in (7, 9)] == [True, False]
        assert not where.evaluate({"rows": None})
        assert where.columns == {"rows"}
    mixed = " or ".join(f"rows={n % 7} and rows<>{n % 5}" for n in range(400))
    assert parse_where(mixed, KINDS).evaluate({"rows": 6})
    with pytest.raises(ConfigError, match="nested"):
        parse_where("(rows=1 or " * 61 + "rows=1" + ")" * 61, KINDS)


def test_values_are_bound_and_never_spliced() -> None:
    text, values = parse_where("device = 'x''); drop table episodes; --' and rows > -2", KINDS).sql(TERMS)
    assert text == '(("device" = :p0) AND ("rows" > :p1))'
    assert values == {"p0": "x'); drop table episodes; --", "p1": -2}


def test_a_mapping_may_hold_what_it_likes() -> None:
    row = {"front.blur": 0.2, "state": "open", "unknown": None}
    assert evaluate("front.blur < 0.5 and state = 'open'", row)
    assert not evaluate("unknown > 0", row)
    assert not evaluate("not unknown > 0", row)
    assert evaluate("has('front')", row, ["front"])
    with pytest.raises(ConfigError, match="did you mean 'state'"):
        evaluate("stat = 'open'", row)
    with pytest.raises(ConfigError, match="compares text with a number"):
        evaluate("state > 5", row)


def test_order() -> None:
    assert compile_order("rows desc, device", KINDS) == '"rows" desc, "device"'
    for order in ("rows down", "rows desc desc", "rowz", "rows; drop table x", ""):
        with pytest.raises(ConfigError):
            compile_order(order, KINDS)


@pytest.mark.parametrize(
    ("condition", "text"),
    [
        ("score('a', 'b') > 2 and rows = 1", '(AMONG_score(> :p0) AND ("rows" = :p1))'),
        ("(2 < score('a', 'b')) and (rows = 1 and -1 >= score('a', 'b'))", "AMONG_score(> :p0)|AMONG_score(<= :p2)"),
        ("score('a', 'b') > 2 or rows = 1", '((TERM_score > :p0) OR ("rows" = :p1))'),
        ("not score('a', 'b') > 2", "(NOT (TERM_score > :p0))"),
        ("score('a', 'b') > score('a', 'c')", "(TERM_score > TERM_score)"),
        ("stream('a').rate_hz > 2 and event('x')", "((TERM_stream > :p1) AND TERM_event)"),
    ],
)
def test_only_where_a_term_must_be_true_may_it_find_the_episodes(condition: str, text: str) -> None:
    found = parse_where(condition, KINDS, of_store=True).sql(TERMS).text
    assert all(part in found for part in text.split("|")), found


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("stream('a').rat_hz > 2", "did you mean .rate_hz"),
        ("stream('a') > 2", "expected, of a store, stream\\('NAME'\\) with .modality"),
        ("strem('a').rate_hz > 2", "unknown function 'strem', did you mean 'stream'"),
        ("scores('a', 'b') > 2", "did you mean 'score'"),
        ("score('a') > 2", "expected, of a store, score"),
        ("label(a) = 'x'", "expected, of a store, label"),
        ("stream('a').dtype > 2", "compares text with a number"),
        ("health('a').gaps = 'x'", "compares text with a number"),
        ("stream('a').shape", "expected a condition"),
        ("verdict('a').utc > 'soon'", "expected a time"),
        ("event('a').n > 1", "expected, of a store, event"),
        ("event('a', 'b', 'c')", "expected, of a store, event"),
    ],
)
def test_what_a_store_does_not_know_is_said_with_what_is_near(condition: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        parse_where(condition, KINDS, of_store=True)
    assert "\n" not in str(caught.value)


def test_shapes_are_said_as_people_say_them_and_months_as_moments() -> None:
    kinds = KINDS | {"start_utc": "time"}
    for said in ("480x640x3", "[480, 640, 3]", "480 640 3"):
        found = parse_where(f"stream('a').shape in ('{said}', '6') and start_utc < '2026-11'", kinds, of_store=True)
        assert set(found.sql(TERMS).values.values()) == {"480x640x3", "6", "2026-11-01T00:00:00.000000Z"}


def test_of_a_device_nothing_is_asked_that_only_a_store_has() -> None:
    with pytest.raises(ConfigError, match="not allowed"):
        parse_where("label('task') = 'x'", KINDS)


@pytest.mark.parametrize(
    ("condition", "says"),
    [
        ("rows >", "at letter 6: something is missing at '>'"),
        ("rows > 3 and", "at letter 10: something is missing at 'and'"),
        ("(rows > 3", "at letter 9: ) is missing after '3'"),
        ("rows > 3 )", "at letter 10: did not expect ')'"),
        ("rows > 3 from", "at letter 10: did not expect 'from'"),
        ("device = 'a' and device = 'b", "at letter 27: ' is never closed"),
        ("rows > 3\n and (rows", "at letter 16: ) is missing after 'rows'"),
        ("/* rows", "at letter 1: /* is never closed"),
        ("mission = 'é' and and rows", "at letter 19: something is missing at 'and'"),
    ],
)
def test_what_does_not_parse_is_said_by_its_place(condition: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_where(condition, KINDS)
    assert f"does not parse {says}; expected e.g." in str(caught.value)


@given(st.text("ar0.'\"()<>= ,;[`/*-$%\n\\", max_size=20))
def test_nothing_of_the_parser_itself_is_said(condition: str) -> None:
    said = ""
    try:
        parse_where(condition, None)
    except ConfigError as error:
        said = str(error)
    assert not [word for word in ("sqlglot", "Token", "Line 1", "<class", "keyword") if word in said]


def test_the_examples_hold() -> None:
    assert doctest.testmod(where_mistakes).failed == 0
