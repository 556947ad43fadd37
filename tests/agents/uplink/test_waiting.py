"""How long an uplink waits before it tries again: longer each time, and no two devices alike."""

from functools import partial
from pathlib import Path

import pytest

from sensorium.agents.device_file import check_device
from sensorium.agents.directives.obeying import Obeying
from sensorium.agents.spool.spool import Spool
from sensorium.agents.uplink import uplink as module
from sensorium.agents.uplink.uplink import Uplink
from sensorium.drivers.clock import boottime_ns
from sensorium.link.device.protocol import FIRST_WAIT_S, MAX_WAIT_S, DeviceLink
from tests.spine.commands import wait_for

SECOND = 10**9


def waits(link: DeviceLink, attempts: int) -> list[float]:
    """Seconds from each failure to the next attempt."""
    now_ns, found = boottime_ns(), []
    for _ in range(attempts):
        link.poll(now_ns)
        link.lost("nobody there", now_ns)
        found.append((link.next_timer_ns(now_ns) - now_ns) / SECOND)
        now_ns = link.next_timer_ns(now_ns)
    return found


def test_waits_double_up_to_half_a_minute_and_are_spread_over_their_upper_half() -> None:
    def link(random: float) -> DeviceLink:
        return DeviceLink("rig", "spool", "boot", lambda: (0, 0), lambda _: [], lambda: random)

    shortest, middle, longest = (waits(link(random), 10) for random in (0.0, 0.5, 1.0))
    whole = [min(FIRST_WAIT_S * 2**n, MAX_WAIT_S) for n in range(10)]
    assert longest == whole
    assert shortest == [wait / 2 for wait in whole]
    assert middle == [wait * 3 / 4 for wait in whole]


def test_a_fleet_that_lost_its_ingest_at_one_moment_does_not_come_back_at_one(spool: Spool) -> None:
    uplinks = [Uplink(spool, "tcp://127.0.0.1:9") for _ in range(32)]
    try:
        for attempt in zip(*(waits(uplink._link, 3) for uplink in uplinks), strict=True):
            assert len({round(wait, 6) for wait in attempt}) > 24
            assert max(attempt) > 1.3 * min(attempt)
    finally:
        for uplink in uplinks:
            uplink.stop()


class NotesTime(Obeying):
    """Who obeys, and notes what time it is told."""

    told_ns = 0

    def pass_time(self) -> None:
        self.told_ns = boottime_ns()
        super().pass_time()

    def is_told(self, after_ns: int) -> bool:
        return self.told_ns > after_ns


def test_who_obeys_is_told_that_time_passes_while_nobody_is_there(
    spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PASS_NS", 1000)
    sensors = {"sim": {"kind": "sim-planar"}}
    trigger = {"kind": "interval", "length_s": 10}
    device = check_device({"device": "rig", "sensors": sensors, "trigger": trigger}, tmp_path)
    obeying = NotesTime(tmp_path / "directives", device, clock=None, doing={}, change=lambda *_: None)
    uplink = Uplink(spool, "tcp://127.0.0.1:9", obeys=obeying)
    uplink.start()
    try:
        for _ in range(2):
            wait_for(partial(obeying.is_told, boottime_ns()), "the time")
    finally:
        uplink.stop()
