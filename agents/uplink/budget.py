"""The uplink's budget: how many bytes may be sent now and, if none, until when. No socket, no clock of its own.

A bucket that fills at `bytes_per_s`, up to ten seconds of it; `bytes_per_day` for each day of the device's local time;
`hours` of that time outside of which nothing goes. What is sent is noted ahead, some seconds' worth at a time, so that
a restart, whatever it came of, spends nothing twice.
"""

import math
import threading
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta, tzinfo
from typing import NamedTuple

import msgspec

from sensorium.agents.uplink.hours import Hours
from sensorium.drivers.clock import SECOND_NS
from sensorium.link.wire import MIN_DATA_BYTES

DAY_NS = 86_400 * SECOND_NS
BURST_S = 10.0
LEASE_BYTES = (64 << 10, 16 << 20)
"""So much, at least and at most, is noted ahead."""
HEADER_BYTES = 128
"""More than the frame takes that goes with the bytes of a DATA."""
LEAST_BYTES = MIN_DATA_BYTES + HEADER_BYTES
LOOK_NS = SECOND_NS
ACTIVE_NS = 2 * SECOND_NS
FREE_BYTES = 1 << 62


class Spent(msgspec.Struct, kw_only=True):
    """What is durable of a budget: how full the bucket was, when, and what was spent on which day.

    `at_ns` is of the clock of the boot `boot_id`, `utc_ns` the same moment by the time of day.
    """

    version: int = 1
    level: float
    boot_id: str
    at_ns: int
    utc_ns: int
    day: str
    day_bytes: int


class Closed(NamedTuple):
    """Why nothing may be sent, in words, and until when (UTC, ns)."""

    why: str
    until_ns: int


class Budget:
    """What several uplinks of a device may send together; any thread may ask.

    Args:
        bytes_per_s: The rate, None: any.
        bytes_per_day: For each local day, None: any.
        hours: When something may be sent; none: always.
        boot_id: Which boot `now_ns` counts from.
        utc_ns: The time of day; it may be set at any time.
        zone: That of the device; None: as its system says.
        before: What was noted before, None: nothing.
        keep: Makes durable what it is given; an error is for it to tell.
    """

    def __init__(
        self,
        bytes_per_s: int | None,
        bytes_per_day: int | None,
        hours: Sequence[str] | None,
        *,
        now_ns: int,
        boot_id: str,
        utc_ns: Callable[[], int],
        zone: tzinfo | None = None,
        before: Spent | None = None,
        keep: Callable[[Spent], None] = lambda _: None,
    ) -> None:
        self._rate, self._per_day, self._hours = bytes_per_s, bytes_per_day, Hours(hours)
        self._boot_id, self._utc_ns, self._zone, self._keep = boot_id, utc_ns, zone, keep
        self._lock = threading.Lock()
        self._bucket = _Bucket(bytes_per_s, now_ns)
        today = self._local().date()
        self._day = _Day(bytes_per_day, today, now_ns)
        self._leased = 0
        self._hold: tuple[int, Closed | None] = (0, None)
        self._turns: dict[object, tuple[int, int]] = {}
        if before is not None:
            same_boot = boot_id == before.boot_id
            passed_ns = now_ns - before.at_ns if same_boot else utc_ns() - before.utc_ns
            self._bucket.take_over(before.level, max(0, passed_ns))
            self._day.take_over(before.day, before.day_bytes)

    def held(self, now_ns: int) -> Closed | None:
        """Why nothing may be sent for a while: it is not the hour, or the day's bytes are spent."""
        with self._lock:
            return self._held(now_ns)

    def allows(self, who: object, now_ns: int) -> int:
        """How many bytes of an episode `who`, who has some to send, may send at once: at least a smallest DATA, or 0.

        Who has sent last leaves room for others that wait.
        """
        with self._lock:
            if self._held(now_ns) is not None:
                return 0
            turn = self._turns.get(who, (now_ns, now_ns))
            self._turns[who] = (turn[0], now_ns)
            others_first = any(
                asked_ns > now_ns - ACTIVE_NS and sent_ns < turn[0]
                for other, (sent_ns, asked_ns) in self._turns.items()
                if other is not who
            )
            most = min(self._bucket.level(now_ns), self._day.left) - others_first * LEAST_BYTES
            if most < LEAST_BYTES:
                return 0
            if self._bounded and self._leased < LEAST_BYTES:
                self._lease(now_ns)
            return int(min(most, self._leased if self._bounded else FREE_BYTES)) - HEADER_BYTES

    def spend(self, who: object, size: int, now_ns: int) -> None:
        """`who` has sent a DATA with so many bytes of an episode."""
        with self._lock:
            self._turns[who] = (now_ns, now_ns)
            self._bucket.take(size + HEADER_BYTES, now_ns)
            self._day.used += size + HEADER_BYTES
            self._leased -= size + HEADER_BYTES
            if self._day.is_spent:
                self._hold = (0, None)

    def wait_ns(self, now_ns: int) -> int:
        """How long until something may be sent, if nothing holds it; a little longer, so that it is worth it."""
        with self._lock:
            return self._bucket.wait_ns(now_ns)

    def said(self, now_ns: int) -> str:
        """For people: what holds the uplink, or slows it down; empty if nothing does."""
        with self._lock:
            hold = self._held(now_ns)
            if hold is not None:
                return hold.why
            slowed = self._rate is not None and self._bucket.level(now_ns) < self._bucket.full / 2
            return f"at its budget of {amount(self._rate)}/s" if slowed and self._rate is not None else ""

    def close(self, now_ns: int) -> None:
        """Note what was really spent."""
        with self._lock:
            if self._bounded:
                self._leased = 0
                self._note(now_ns, 0)

    @property
    def _bounded(self) -> bool:
        return self._rate is not None or self._per_day is not None

    def _local(self) -> datetime:
        """The time of day there, without its zone."""
        return datetime.fromtimestamp(self._utc_ns() / SECOND_NS, self._zone).replace(tzinfo=None)

    def _hold_until(self, why: str, local: datetime) -> Closed:
        again = local.astimezone() if self._zone is None else local.replace(tzinfo=self._zone)
        return Closed(f"{why}, on again at {again:%H:%M} {again.tzname()}", int(again.timestamp()) * SECOND_NS)

    def _held(self, now_ns: int) -> Closed | None:
        due_ns, hold = self._hold
        if now_ns < due_ns:
            return hold
        now = self._local()
        if self._day.turns(now.date(), now_ns):
            self._leased = 0  # that was of the day before
        found = None
        if self._per_day is not None and self._day.is_spent:
            midnight = datetime.combine(now.date() + timedelta(days=1), datetime.min.time())
            again = self._hours.next_open(midnight)
            found = self._hold_until(f"budget of {amount(self._per_day)} a day is spent", again)
        elif not self._hours.is_open(now):
            found = self._hold_until(f"outside of its hours ({self._hours})", self._hours.next_open(now))
        self._hold = (now_ns + LOOK_NS, found)
        return found

    def _lease(self, now_ns: int) -> None:
        least, most = LEASE_BYTES
        wanted = most if self._rate is None else self._rate * BURST_S
        if self._per_day is not None:
            wanted = min(wanted, self._per_day / 100)
        more = int(min(max(wanted, least), most, self._day.left - self._leased))
        self._leased += more
        self._note(now_ns, self._leased)

    def _note(self, now_ns: int, ahead: int) -> None:
        self._keep(
            Spent(
                level=self._bucket.level(now_ns) - ahead if self._rate is not None else 0.0,
                boot_id=self._boot_id,
                at_ns=now_ns,
                utc_ns=self._utc_ns(),
                day=self._day.date.isoformat(),
                day_bytes=self._day.used + ahead,
            )
        )


class _Bucket:
    """Full at `full` bytes."""

    def __init__(self, rate: int | None, now_ns: int) -> None:
        self._rate = rate
        self.full = math.inf if rate is None else max(rate * BURST_S, 2.0 * LEAST_BYTES)
        self._level, self._at_ns = self.full, now_ns

    def take_over(self, level: float, passed_ns: int) -> None:
        """What was noted ahead may be far below nothing, of a rate that was larger; what was sent never was."""
        if self._rate is not None:
            self._level = min(max(level + passed_ns * self._rate / SECOND_NS, 0.0), self.full)

    def level(self, now_ns: int) -> float:
        if self._rate is not None and now_ns > self._at_ns:
            self._level = min(self._level + (now_ns - self._at_ns) * self._rate / SECOND_NS, self.full)
            self._at_ns = now_ns
        return self._level

    def take(self, size: int, now_ns: int) -> None:
        self._level = self.level(now_ns) - size

    def wait_ns(self, now_ns: int) -> int:
        """Until there is enough for the smallest DATA, or for a quarter of a second if that is more."""
        if self._rate is None:
            return 0
        enough = min(max(LEAST_BYTES, self._rate // 4), self.full)
        return max(0, math.ceil((enough - self.level(now_ns)) * SECOND_NS / self._rate))


class _Day:
    """What was sent on a day. One ends when a later one begins, or, as a clock may be set back, after 24 hours."""

    def __init__(self, most: int | None, today: date, now_ns: int) -> None:
        self._most = most
        self.date, self.used, self._since_ns = today, 0, now_ns

    def take_over(self, day: str, used: int) -> None:
        """It goes on, unless that was an earlier one."""
        if day >= self.date.isoformat():
            self.date, self.used = date.fromisoformat(day), used

    def turns(self, today: date, now_ns: int) -> bool:
        """Whether another one has begun."""
        if today <= self.date and now_ns - self._since_ns < DAY_NS:
            return False
        self.date, self.used, self._since_ns = today, 0, now_ns
        return True

    @property
    def left(self) -> float:
        return math.inf if self._most is None else self._most - self.used

    @property
    def is_spent(self) -> bool:
        return self.left < LEAST_BYTES


def amount(size: int) -> str:
    """
    >>> amount(1_000_000_000), amount(2_500_000), amount(300)
    ('1 GB', '2.5 MB', '300 B')
    """
    for unit, one in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= one:
            return f"{size / one:.6g} {unit}"
    return f"{size} B"
