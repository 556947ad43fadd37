"""Conditions that differ in their values alone: what was kept gives what parsing would have given, or nothing."""

from datetime import datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.corpus.alike_conditions import AlikeConditions
from sensorium.corpus.catalog_tables import COLUMNS
from sensorium.corpus.catalog_terms import FormerTerms
from sensorium.episode.where import Where, parse_where
from sensorium.episode.where_sql import Sql

WORDS = ["x", "it's", "a' or 'b", "2026-01-01T00:10:00.000000Z", "=", "\0t", "--", "kind", "= '", "/*", "9"]
numbers = st.integers(0, 9).map(str) | st.sampled_from(["0.5", "2.25", "1e3", "-4", "123456789012345678"])
words = (st.sampled_from(WORDS) | st.text("ab' =<0", max_size=5)).map(lambda said: said.replace("'", "''"))
moments = st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)).map(datetime.isoformat) | st.just("2026-11")
SAID = {
    "device": words.map("'{}'".format),
    "mission": words.map("'{}'".format),
    "start_utc": moments.map("'{}'".format),
    "bytes": numbers,
    "duration_s": numbers,
}
OPERATORS = st.sampled_from(["=", "<", ">=", "<>", " = "])
PARTS = st.lists(st.tuples(st.sampled_from([*SAID]), OPERATORS), min_size=1, max_size=3)


def parsed(where: str) -> tuple[Where, Sql]:
    found = parse_where(where, COLUMNS, of_store=True)
    return found, found.sql(FormerTerms(False))


@settings(deadline=None, max_examples=100)
@given(
    PARTS.flatmap(
        lambda parts: st.lists(
            st.tuples(*(SAID[column].map(f"{column} {operator} {{}}".format) for column, operator in parts)),
            min_size=2,
            max_size=4,
        )
    )
)
def test_it_is_as_if_parsed(texts: list[tuple[str, ...]]) -> None:
    alike = AlikeConditions()
    for parts in texts:
        where = " and ".join(parts)
        condition, sql = parsed(where)
        if (known := alike.find(where)) is not None:
            assert known[1] == sql
            assert known[0].needed == condition.needed
        alike.keep(where, condition, sql, COLUMNS)


def test_what_is_kept() -> None:
    alike = AlikeConditions()

    def is_known(first: str, then: str) -> bool:
        alike.keep(first, *parsed(first), COLUMNS)
        return alike.find(then) is not None

    time = "device = '{}' and start_utc >= '{}' and bytes < {}"
    assert is_known(time.format("a", "2026-01-01", 5), time.format("b''c", "2027-01-01T01:00+02:00", 6))
    assert alike.find(time.format("a", "yesterday", 5)) is None, "who parses it says what is wrong"
    assert not is_known("kind = 'full'", "kind = 'trace'"), "what is read depends on it"
    assert not is_known("start_utc < now()", "start_utc < now()")
    assert not is_known("has('a') and bytes > 1", "has('a') and bytes > 2")
    assert not is_known("device in ('a') and bytes > 1", "device in ('a') and bytes > 2")
    assert not is_known("device = 'a' and mission = 'a'", "device = 'a' and mission = 'b'"), "which is which?"
    for number in range(300):
        assert is_known(f"bytes > 1{' ' * number}", f"bytes > 2{' ' * number}")
    assert alike.find("bytes > 2") is None, "the oldest are let go"
