"""UTC of samples, with its uncertainty, from the probes between a device's clock and the server's; and back."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sensorium.drivers.clock import Clock
from sensorium.drivers.stream import Stamps

DRIFT = 50e-6
"""The most that a device's clock is taken to gain or lose against UTC, as a share of the time since the probe."""
_MOST_NS = 1 << 62

Probes = npt.NDArray[np.int64]


def utc_of(captured_ns: Stamps, clock: Clock, probes: Probes) -> tuple[Stamps | None, Stamps | None]:
    """UTC nanoseconds since 1970 and their uncertainty, int64 [n] each; None where not known.

    `probes` is int64 [m, 3]: device_ns, server_ns, round_trip_ns, at the same instant but for at most half the round
    trip. Between two probes the offset is interpolated. Its error is at most the same mean of each probe's: half its
    round trip, and 50 ppm of the distance to it. Where their offsets differ by more than that allows, a clock was set
    in between, nobody knows when: there the uncertainty is that step. Outside them the nearest stands alone.
    A recording that states UTC has it without an uncertainty, or with its own.
    """
    if not is_known(clock, probes):
        return None, None
    if clock.states_utc:
        within_ns = clock.utc_within_ns
        return captured_ns.copy(), None if within_ns is None else np.full_like(captured_ns, within_ns)
    probes = probes[np.argsort(probes[:, 0], kind="stable")]
    device, offset, round_trip = probes[:, 0], probes[:, 1] - probes[:, 0], probes[:, 2]
    after = np.searchsorted(device, captured_ns, side="left")
    first, last = np.clip(after - 1, 0, len(probes) - 1), np.clip(after, 0, len(probes) - 1)
    to_first, to_last = np.abs(captured_ns - device[first]), np.abs(device[last] - captured_ns)
    share = to_last / np.maximum(to_first + to_last, 1)
    moved = np.rint((1 - share) * (offset[last] - offset[first]).astype(np.float64)).astype(np.int64)
    bound = share * (round_trip[first] / 2 + DRIFT * to_first) + (1 - share) * (round_trip[last] / 2 + DRIFT * to_last)
    step = np.abs(offset[last] - offset[first])
    allowed = (round_trip[first] + round_trip[last]) / 2 + DRIFT * (device[last] - device[first])
    bound = np.where((step > allowed) & (to_first > 0) & (to_last > 0), step + bound, bound)
    # Of a device that says nonsense of its clock it may be more than there are numbers for: then it is the largest.
    most = np.ceil(np.minimum(bound, float(_MOST_NS))).astype(np.int64)
    uncertainty = np.maximum(most + 1, -(-int(round_trip.min()) // 2))
    return captured_ns + offset[first] + moved, uncertainty


def is_known(clock: Clock, probes: Probes) -> bool:
    """Whether there is any UTC of such a clock: `utc_of` would say what.

    >>> is_known(Clock(kind="simulated"), np.zeros((0, 3), np.int64))
    False
    """
    return clock.states_utc or (clock.kind == "boottime" and len(probes) > 0)


class UtcMapping(NamedTuple):
    """How a device's clock stands to UTC at the first and the last moment of a window, int64 [2] each, in nanoseconds.

    `uncertainty_ns` is None where a recording states UTC without one.
    """

    device_ns: Stamps
    utc_ns: Stamps
    uncertainty_ns: Stamps | None


def device_of(utc_ns: Stamps, clock: Clock, probes: Probes) -> Stamps | None:
    """The stamps whose UTC, by `utc_of`, is `utc_ns`, int64 [n], to a nanosecond; None where no UTC is known.

    Where a clock was set back there is more than one, of which the latest is taken: the clock is right by then.

    >>> probes = np.array([(10**9, 10**18, 2000), (6 * 10**9, 10**18 + 5 * 10**9 + 50_000, 2000)], np.int64)
    >>> stamps = device_of(np.array([10**18 + 10**9], np.int64), Clock(kind="boottime", boot_id="b"), probes)
    >>> int(stamps[0]), int(utc_of(stamps, Clock(kind="boottime", boot_id="b"), probes)[0][0]) - 10**18
    (1999990000, 1000000000)
    """
    if not is_known(clock, probes):
        return None
    if clock.states_utc:
        return utc_ns.copy()
    probes = probes[np.argsort(probes[:, 0], kind="stable")]
    device, server = probes[:, 0], probes[:, 1]
    least_from = np.minimum.accumulate(server[::-1])[::-1]
    first = np.searchsorted(least_from, utc_ns, side="right") - 1
    last = np.clip(first + 1, 0, len(probes) - 1)
    first = np.clip(first, 0, None)
    # Between two probes UTC is a straight line; before the first and after the last it has the device's own pace.
    device_apart, server_apart = device[last] - device[first], server[last] - server[first]
    is_between = (utc_ns >= server[first]) & (last > first)
    pace = np.where(is_between, device_apart, 1) / np.where(is_between, server_apart, 1)
    past = utc_ns - server[first]
    # The whole part by integers: a float does not hold the nanoseconds of years.
    return device[first] + past + np.rint((pace - 1) * past.astype(np.float64)).astype(np.int64)
