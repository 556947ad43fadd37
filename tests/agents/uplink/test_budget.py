"""The budget is never overrun beyond its burst, whatever is asked, whenever it restarts, and it is never stuck."""

import logging
import math
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.agents.uplink.budget import BURST_S, HEADER_BYTES, LEASE_BYTES, LEAST_BYTES, Budget, Spent
from sensorium.agents.uplink.budget_file import open_budget
from sensorium.drivers.clock import SECOND_NS
from sensorium.link.wire import MAX_DATA_BYTES, MIN_DATA_BYTES

NOON = int(datetime(2026, 3, 2, 12, tzinfo=UTC).timestamp()) * SECOND_NS
HOUR = 3600 * SECOND_NS


class Clock:
    """Time since the boot, and the time of day, which agree unless somebody sets it."""

    def __init__(self, utc_ns: int = NOON) -> None:
        self.now_ns = 1000 * SECOND_NS
        self.offset_ns = utc_ns - self.now_ns
        self.boot = "a"
        self.kept: Spent | None = None

    def utc_ns(self) -> int:
        return self.now_ns + self.offset_ns

    def budget(self, rate: int | None = None, per_day: int | None = None, hours: tuple[str, ...] = ()) -> Budget:
        def keep(spent: Spent) -> None:
            self.kept = spent

        return Budget(
            rate,
            per_day,
            hours,
            now_ns=self.now_ns,
            boot_id=self.boot,
            utc_ns=self.utc_ns,
            zone=UTC,
            before=self.kept,
            keep=keep,
        )

    def send(self, budget: Budget, most: int = MAX_DATA_BYTES, who: str = "main") -> int:
        size = min(budget.allows(who, self.now_ns), most)
        if size:
            budget.spend(who, size, self.now_ns)
        return size + HEADER_BYTES if size else 0


@settings(max_examples=150, deadline=None)
@given(
    rate=st.sampled_from([256, 5_000, 1_000_000]),
    steps=st.lists(
        st.tuples(st.sampled_from(["send", "send", "wait", "stop", "kill", "reboot"]), st.integers(1, 100_000)),
        max_size=80,
    ),
)
def test_no_stretch_of_time_has_more_than_rate_and_burst(rate: int, steps: list[tuple[str, int]]) -> None:
    clock = Clock()
    budget = clock.budget(rate)
    full = max(rate * BURST_S, 2 * LEAST_BYTES)
    excess, last_ns = 0.0, clock.now_ns
    for what, n in steps:
        if what == "send":
            excess += clock.send(budget, n)
        elif what == "wait":
            clock.now_ns += n * 1_000_000
        else:
            if what == "stop":
                budget.close(clock.now_ns)
            if what == "reboot":
                clock.boot, clock.offset_ns, clock.now_ns = clock.boot + "a", clock.utc_ns() + SECOND_NS, 0
                last_ns = -SECOND_NS
            budget = clock.budget(rate)
        excess = max(0.0, excess - (clock.now_ns - last_ns) * rate / SECOND_NS)
        last_ns = clock.now_ns
        assert excess <= full + 1


@settings(max_examples=80, deadline=None)
@given(
    per_day=st.sampled_from([100_000, 3_000_000]),
    steps=st.lists(
        st.tuples(st.sampled_from(["send", "send", "send", "wait", "stop", "kill"]), st.integers(1, 600_000)),
        max_size=80,
    ),
)
def test_no_day_has_more_than_its_bytes_whatever_restarts(per_day: int, steps: list[tuple[str, int]]) -> None:
    clock = Clock()
    budget = clock.budget(per_day=per_day)
    sent: dict[int, int] = {}
    for what, n in steps:
        day = clock.utc_ns() // (24 * HOUR)
        if what == "send":
            sent[day] = sent.get(day, 0) + clock.send(budget, n)
        elif what == "wait":
            clock.now_ns += n * 100_000_000
        else:
            if what == "stop":
                budget.close(clock.now_ns)
            budget = clock.budget(per_day=per_day)
        assert max(sent.values(), default=0) <= per_day


def test_a_kill_costs_no_more_than_what_was_noted_ahead_and_a_stop_nothing() -> None:
    for closes, most in ((True, 0), (False, LEASE_BYTES[0])):
        clock = Clock()
        budget = clock.budget(per_day=2_000_000)
        sent = sum(clock.send(budget, 50_000) for _ in range(10))
        if closes:
            budget.close(clock.now_ns)
        budget = clock.budget(per_day=2_000_000)
        while more := clock.send(budget):
            sent += more
        assert 2_000_000 - LEAST_BYTES - most <= sent <= 2_000_000


def test_what_was_noted_ahead_of_one_day_is_not_of_the_next() -> None:
    clock = Clock()
    budget = clock.budget(per_day=10_000_000)
    clock.send(budget, MIN_DATA_BYTES)
    clock.now_ns += 12 * HOUR
    sent = clock.send(budget, 60_000)
    assert sent
    budget = clock.budget(per_day=10_000_000)  # killed
    while more := clock.send(budget):
        sent += more
    assert sent <= 10_000_000


def test_the_smallest_rate_is_never_stuck() -> None:
    clock = Clock()
    budget = clock.budget(256)
    while clock.send(budget):
        pass
    wait_ns = budget.wait_ns(clock.now_ns)
    assert 0 < wait_ns < 20 * SECOND_NS  # less than a link waits for progress
    clock.now_ns += wait_ns
    assert clock.send(budget) >= MIN_DATA_BYTES


def test_what_a_larger_rate_has_noted_ahead_does_not_hold_a_smaller_one() -> None:
    """A kill of 10 MB/s leaves a note of far less than nothing; 256 B/s would take half a day to make up for that."""
    clock = Clock()
    budget = clock.budget(10_000_000)
    for _ in range(2):
        while clock.send(budget):
            pass
        clock.now_ns += SECOND_NS // 5
    assert clock.kept is not None
    assert clock.kept.level < -(8 << 20)
    budget = clock.budget(256)
    assert clock.send(budget) == 0, "there is no burst either"
    wait_ns = budget.wait_ns(clock.now_ns)
    assert wait_ns <= 2 * LEAST_BYTES * SECOND_NS // 256
    clock.now_ns += wait_ns
    assert clock.send(budget)


def test_noting_is_rare() -> None:
    clock = Clock()
    kept: list[Spent] = []
    budget = Budget(
        1_000_000, None, (), now_ns=clock.now_ns, boot_id="a", utc_ns=clock.utc_ns, zone=UTC, keep=kept.append
    )
    sent = 0
    for _ in range(1000):
        clock.now_ns += SECOND_NS // 10
        sent += clock.send(budget)
    assert sent > 90_000_000
    assert len(kept) <= sent / 9_000_000 + 1


def test_of_two_that_have_something_to_send_none_is_kept_from_it() -> None:
    clock = Clock()
    budget = clock.budget(1_000)
    sent = {"one": 0, "other": 0}
    for step in range(4000):
        clock.now_ns += SECOND_NS // 20
        sent["one"] += clock.send(budget, who="one")
        if step % 10 == 0:  # it asks less often
            sent["other"] += clock.send(budget, MIN_DATA_BYTES, who="other")
    assert sum(sent.values()) <= 1_000 * (200 + BURST_S)
    assert sent["other"] > sum(sent.values()) / 4


def test_outside_of_its_hours_nothing_goes_and_it_says_until_when() -> None:
    clock = Clock()
    budget = clock.budget(hours=("22:00-06:00",))
    hold = budget.held(clock.now_ns)
    assert hold is not None
    assert hold.why == budget.said(clock.now_ns) == "outside of its hours (22:00-06:00), on again at 22:00 UTC"
    assert hold.until_ns == NOON + 10 * HOUR
    assert clock.send(budget) == 0
    clock.now_ns += 10 * HOUR
    assert budget.held(clock.now_ns) is None
    assert clock.send(budget)
    clock.now_ns += 8 * HOUR
    assert budget.held(clock.now_ns) is not None


def test_a_spent_day_is_on_again_at_midnight_or_when_its_hours_begin() -> None:
    for hours, again, until in (((), "00:00", 12), (("08:00-18:00",), "08:00", 20), (("10:00-01:00",), "00:00", 12)):
        clock = Clock()
        budget = clock.budget(per_day=1_000_000, hours=hours)
        while clock.send(budget):
            pass
        hold = budget.held(clock.now_ns)
        assert hold == (f"budget of 1 MB a day is spent, on again at {again} UTC", NOON + until * HOUR)
        clock.now_ns += until * HOUR
        assert budget.held(clock.now_ns) is None
        assert clock.send(budget)


def test_a_clock_that_is_set_back_gives_no_second_day_and_does_not_hold_for_ever() -> None:
    clock = Clock()
    budget = clock.budget(per_day=1_000_000)
    while clock.send(budget):
        pass
    clock.offset_ns -= 40 * 24 * HOUR
    clock.now_ns += 2 * SECOND_NS
    assert clock.send(budget) == 0
    budget.close(clock.now_ns)
    budget = clock.budget(per_day=1_000_000)
    assert clock.send(budget) == 0
    clock.offset_ns += 40 * 24 * HOUR
    clock.now_ns += 2 * SECOND_NS
    assert clock.send(budget) == 0  # the same day as before
    clock.offset_ns -= 40 * 24 * HOUR
    clock.now_ns += 24 * HOUR
    assert clock.send(budget)


def test_hours_are_those_of_the_zone_also_when_it_changes() -> None:
    zone = ZoneInfo("Europe/Zurich")
    for day, utc_hour in (("2026-03-28", 21), ("2026-03-29", 20)):  # summer time begins on the 29th
        midnight = datetime.fromisoformat(f"{day}T00:00:00+00:00").timestamp()
        utc_ns = int(midnight + 18 * 3600) * SECOND_NS
        budget = Budget(None, None, ("22:00-06:00",), now_ns=0, boot_id="", utc_ns=lambda u=utc_ns: u, zone=zone)  # type: ignore[misc]
        hold = budget.held(0)
        assert hold is not None
        assert hold.until_ns == int(midnight + utc_hour * 3600) * SECOND_NS
        assert hold.why.endswith("22:00 CET" if utc_hour == 21 else "22:00 CEST")


def test_it_says_when_it_slows_down() -> None:
    clock = Clock()
    budget = clock.budget(100_000)
    assert budget.said(clock.now_ns) == ""
    while clock.send(budget):
        pass
    assert budget.said(clock.now_ns) == "at its budget of 100 kB/s"


# -- its file -----------------------------------------------------------------------------------------------------


def noted(level: float = 1e9, day_bytes: int = 0) -> bytes:
    spent = Spent(level=level, boot_id="", at_ns=0, utc_ns=0, day="2026-03-02", day_bytes=day_bytes)
    return msgspec.msgpack.encode(spent)


def all_of(budget: Budget) -> int:
    sent = 0
    while size := budget.allows("main", 0):
        budget.spend("main", size, 0)
        sent += size + HEADER_BYTES
    return sent


def test_the_file_is_what_a_restart_goes_by(tmp_path: Path) -> None:
    file = tmp_path / "uplink.budget"
    assert all_of(open_budget(file, None, 1_000_000, ())) > 990_000
    assert all_of(open_budget(file, None, 1_000_000, ())) == 0
    assert all_of(open_budget(file, None, 2_000_000, ())) > 990_000  # it was raised


@pytest.mark.parametrize(
    "content",
    [b"", b"\xc1", b"\x80", b"rubbish", noted(level=math.nan), noted(level=-math.inf), noted(day_bytes=-(10**12))],
)
def test_a_file_that_cannot_be_read_is_said_and_gives_no_burst(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "uplink.budget"
    file.write_bytes(content)
    budget = open_budget(file, 1_000_000, None, ())
    assert "counted anew" in caplog.text
    assert budget.said(0) == "at its budget of 1 MB/s"


def test_a_disk_that_takes_nothing_does_not_keep_what_is_there_from_being_delivered(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "gone" / "uplink.budget"
    with caplog.at_level(logging.WARNING):
        assert all_of(open_budget(file, None, 10_000_000, ())) > 9_000_000
    assert len(caplog.records) == 1
    assert "cannot be noted" in caplog.text
