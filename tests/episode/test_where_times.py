"""Times in conditions mean the moments that they say, in whatever way and zone they are said."""

import sqlite3
import time
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensorium.episode.utc_text import utc_text
from sensorium.episode.where import parse_where
from sensorium.errors import ConfigError
from tests.episode.test_where import TERMS

KINDS = {"committed_utc": "time", "start_utc": "time", "device": "text", "rows": "number"}


def true_of(condition: str, **row: str | None) -> bool:
    columns = {"committed_utc": None, "start_utc": None, "device": "d", "rows": 3, **row}
    sql = parse_where(condition, KINDS).sql(TERMS)
    with sqlite3.connect(":memory:") as connection:
        connection.execute("CREATE TABLE t (committed_utc, start_utc, device, rows)")
        connection.execute("INSERT INTO t VALUES (?, ?, ?, ?)", tuple(columns.values()))
        return bool(connection.execute(f"SELECT count(*) FROM t WHERE {sql.text}", sql.values).fetchone()[0])


moments = st.datetimes(datetime(1971, 1, 1), datetime(2999, 1, 1)).map(lambda moment: moment.replace(tzinfo=UTC))
zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(moments, moments, zones, st.sampled_from(["<", "<=", "=", "<>", ">", ">="]))
def test_times_compare_as_moments_in_any_zone(stored: datetime, asked: datetime, zone: timezone, sign: str) -> None:
    text = utc_text((stored - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000)
    expected = {
        "<": stored < asked,
        "<=": stored <= asked,
        "=": stored == asked,
        "<>": stored != asked,
        ">": stored > asked,
        ">=": stored >= asked,
    }[sign]
    assert true_of(f"committed_utc {sign} '{asked.astimezone(zone).isoformat()}'", committed_utc=text) == expected


@pytest.mark.parametrize(
    "said",
    [
        "'2026-11-25'",
        "'2026-11-25T00:00'",
        "'2026-11-25 00:00:00'",
        "'2026-11-25T00:00:00Z'",
        "'2026-11-25T02:00+02:00'",
        "'2026-11-24T19:30-04:30'",
        "('2026-11-25T01:00Z' - interval '1 hour')",
        "'2026-11-24T12:00Z' + interval '0.5 days'",
        "'2026-12-02' - interval '1 week'",
    ],
)
def test_every_way_to_say_a_moment(said: str) -> None:
    day = "2026-11-25T00:00:00.000000Z"
    assert true_of(f"start_utc = {said}", start_utc=day)
    assert true_of(f"start_utc in ('2001-01-01', {said})", start_utc=day)
    assert true_of(f"start_utc between {said} and now() + interval '9999 weeks'", start_utc=day)
    assert true_of(f"{said} <= start_utc and not ({said} < (start_utc))", start_utc=day)
    assert not true_of(f"start_utc = {said}", start_utc=None)


def test_now_is_now() -> None:
    now_ns = time.time_ns()
    an_hour = 3_600_000_000_000
    for age_ns, within in ((an_hour // 2, True), (2 * an_hour, False)):
        text = utc_text(now_ns - age_ns)
        assert true_of("committed_utc > now() - interval '1 hour'", committed_utc=text) == within
        assert true_of("committed_utc > NOW() - INTERVAL '60' MINUTES", committed_utc=text) == within
        assert true_of("committed_utc < now()", committed_utc=text)


def test_columns_of_times_meet_and_are_looked_at_as_text() -> None:
    row = {"start_utc": "2026-11-25T00:00:00.000000Z", "committed_utc": "2026-11-25T00:00:01.000000Z"}
    assert true_of("start_utc < committed_utc", **row)
    assert true_of("start_utc like '2026-11-%' and start_utc is not null", **row)
    assert true_of("committed_utc = null is null", **row)


@pytest.mark.parametrize(
    "condition",
    [
        "committed_utc > 'yesterday'",
        "committed_utc > '25.11.2026'",
        "committed_utc > '2026-13-01'",
        "committed_utc > 1764025200",
        "committed_utc = device",
        "committed_utc in ('2026-11-25', 'soon')",
        "committed_utc between '2026-11-25' and 'x'",
        "committed_utc > now(3)",
        "committed_utc > now() - '1 hour'",
        "committed_utc > now() - interval '99999999 weeks'",
        "committed_utc > '0001-01-01T00:00+14:00'",
    ],
)
def test_what_is_no_time_is_refused(condition: str) -> None:
    with pytest.raises(ConfigError, match="expected a time: '2026-11-25'") as caught:
        parse_where(condition, KINDS)
    assert "\n" not in str(caught.value)


def test_what_is_no_length_is_refused_and_times_stay_with_times() -> None:
    for interval in ("'1 month'", "'x hours'", "'1'", "'-1 hours'"):
        with pytest.raises(
            ConfigError, match=r"expected e\.g\. interval '1 hour', of second, minute, hour, day, week|expected a"
        ):
            parse_where(f"committed_utc > now() - interval {interval}", KINDS)
    for elsewhere in ("device = now()", "rows > now()", "now()", "device > 'a' - interval '1 hour'"):
        with pytest.raises(ConfigError, match="not allowed"):
            parse_where(elsewhere, KINDS)
    assert parse_where("device > '2026-11-25'", KINDS).sql(TERMS).values == {"p0": "2026-11-25"}
