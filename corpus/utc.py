"""UTC of samples, with its uncertainty, from the probes between a device's clock and the server's."""

import numpy as np
import numpy.typing as npt

from sensorium.drivers.clock import Clock
from sensorium.drivers.stream import Stamps

DRIFT = 50e-6
"""The most that a device's clock is taken to gain or lose against UTC, as a share of the time since the probe."""

Probes = npt.NDArray[np.int64]


def utc_of(captured_ns: Stamps, clock: Clock, probes: Probes) -> tuple[Stamps | None, Stamps | None]:
    """UTC nanoseconds since 1970 and their uncertainty, int64 [n] each; None where not known.

    `probes` is int64 [m, 3]: device_ns, server_ns, round_trip_ns, at the same instant but for at most half the round
    trip. Between two probes the offset is interpolated. Its error is at most the same mean of each probe's: half its
    round trip, and 50 ppm of the distance to it. Outside them the nearest stands alone.
    A recording that states UTC has it without an uncertainty.
    """
    if clock.states_utc:
        return captured_ns.copy(), None
    if not len(probes) or clock.kind != "boottime":
        return None, None
    probes = probes[np.argsort(probes[:, 0], kind="stable")]
    device, offset, round_trip = probes[:, 0], probes[:, 1] - probes[:, 0], probes[:, 2]
    after = np.searchsorted(device, captured_ns, side="left")
    first, last = np.clip(after - 1, 0, len(probes) - 1), np.clip(after, 0, len(probes) - 1)
    to_first, to_last = np.abs(captured_ns - device[first]), np.abs(device[last] - captured_ns)
    share = to_last / np.maximum(to_first + to_last, 1)
    moved = np.rint((1 - share) * (offset[last] - offset[first]).astype(np.float64)).astype(np.int64)
    bound = share * (round_trip[first] / 2 + DRIFT * to_first) + (1 - share) * (round_trip[last] / 2 + DRIFT * to_last)
    uncertainty = np.maximum(np.ceil(bound).astype(np.int64) + 1, -(-int(round_trip.min()) // 2))
    return captured_ns + offset[first] + moved, uncertainty
