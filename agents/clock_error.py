"""The error of a device's clock: by how much its time of day is ahead of the server's, as the last probe tells it."""

import time
from collections.abc import Callable

from sensorium.agents.spool.spool import Spool
from sensorium.drivers.clock import boot_id, boottime_ns
from sensorium.errors import SpoolError

DRIFT = 50e-6
"""So much a crystal may run wrong: what is known of it grows older than its probe."""


def clock_error(spool: Spool, utc_ns: Callable[[], int] = time.time_ns) -> dict[str, float]:
    """`offset_s`: this machine's time of day less the server's; `uncertainty_s`: half of the round trip of the probe
    that says so, and what the clock may have drifted since; `round_trip_s` of that probe, and `probed_s`, when the
    server was probed, by its own clock, in seconds since 1970. Empty where nothing was probed since this machine
    started, or a disk in trouble does not say.
    """
    now_ns, here_ns = boottime_ns(), utc_ns()
    try:
        probes = spool.probes_around(boot_id(), now_ns, now_ns)
    except SpoolError:
        return {}
    if not probes:
        return {}
    device_ns, server_ns, round_trip_ns = probes[-1]
    age_ns = max(0, now_ns - device_ns)
    return {
        "offset_s": (here_ns - server_ns - age_ns) / 1e9,
        "uncertainty_s": (round_trip_ns / 2 + age_ns * DRIFT) / 1e9,
        "round_trip_s": round_trip_ns / 1e9,
        "probed_s": server_ns / 1e9,
    }
