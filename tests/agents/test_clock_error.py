"""By how much a device's clock is off: known from the probes of this boot, the less surely the older they are."""

import time

from sensorium.agents.clock_error import clock_error
from sensorium.agents.spool.spool import Spool
from sensorium.drivers.clock import boot_id, boottime_ns

SECOND = 1_000_000_000


def test_a_clock_that_is_years_ahead_is_known_by_that(spool: Spool) -> None:
    assert clock_error(spool) == {}
    then_ns, server_ns = boottime_ns() - 100 * SECOND, 1_800_000_000 * SECOND
    spool.add_probe("another-boot", then_ns, 5, 2_000_000, 0, True)
    assert clock_error(spool) == {}
    spool.add_probe(boot_id(), then_ns, server_ns, 2_000_000, time.time_ns(), True)
    found = clock_error(spool, lambda: server_ns + (100 + 86_400 * 730) * SECOND)
    assert abs(found["offset_s"] - 86_400 * 730) < 60
    assert 0.006 <= found["uncertainty_s"] < 0.01


def test_a_spool_that_is_closed_says_nothing(spool: Spool) -> None:
    spool.close()
    assert clock_error(spool) == {}
