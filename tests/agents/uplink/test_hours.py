"""Hours of the day: when it is open, and when it will be."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensorium.agents.uplink.hours import Hours, HoursOfDay

times = st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1))
stretches = st.tuples(st.integers(0, 1439), st.integers(0, 1440)).filter(lambda pair: pair[0] != pair[1])


def text(begin: int, end: int) -> str:
    return f"{begin // 60:02}:{begin % 60:02}-{end // 60:02}:{end % 60:02}"


@given(st.lists(stretches, max_size=4), times)
def test_it_opens_at_the_first_open_minute_and_not_before(pairs: list[tuple[int, int]], at: datetime) -> None:
    hours = Hours([text(*pair) for pair in pairs])
    minute = at.hour * 60 + at.minute
    inside = [begin <= minute < end if begin < end else minute >= begin or minute < end for begin, end in pairs]
    assert hours.is_open(at) == (any(inside) or not pairs)
    again = hours.next_open(at)
    assert hours.is_open(again)
    assert at <= again or again == at
    while at < again:
        assert not hours.is_open(at)
        at += timedelta(minutes=1 if (again - at) < timedelta(hours=1) else 7)


@pytest.mark.parametrize(
    "wrong", ["22-06", "22:00", "24:00-06:00", "22:60-06:00", "25:00-01:00", "08:00-08:00", "", "x"]
)
def test_what_is_no_stretch_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match=r"expected HH:MM-HH:MM|no time at all"):
        HoursOfDay.of(wrong)


@pytest.mark.parametrize("right", ["22:00-06:00", "8:00 - 9:30", "00:00-24:00", "23:59-0:00"])
def test_what_is_one_is_taken(right: str) -> None:
    begin, end = HoursOfDay.of(right)
    assert 0 <= begin < end <= begin + 1440
