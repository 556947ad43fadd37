"""Cutting: where units begin and end in captured time, whatever order streams come in."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from sensorium.agents.selection.seen import StreamSeen


class Bounds(NamedTuple):
    """A unit, [start_ns, end_ns)."""

    start_ns: int
    end_ns: int


Cut = Callable[[int, int], Bounds | None]
"""The unit of the first sample that waits, given its stamp and where the unit before ended; None: not known yet."""


def by_time(length_ns: int) -> Cut:
    """Units between the multiples of a length; one begins late where time before was decided already.

    >>> by_time(10)(27, -99), by_time(10)(27, 24)
    (Bounds(start_ns=20, end_ns=30), Bounds(start_ns=24, end_ns=30))
    """

    def cut(first_ns: int, cursor_ns: int) -> Bounds:
        start_ns = first_ns // length_ns * length_ns
        return Bounds(max(start_ns, cursor_ns), start_ns + length_ns)

    return cut


def by_frame(frames: StreamSeen, most_ns: int) -> Cut:
    """Units from each frame to the next, or `most_ns` long: where frames are missing others are judged without."""

    def cut(first_ns: int, cursor_ns: int) -> Bounds | None:
        start_ns = cursor_ns if first_ns - most_ns < cursor_ns else first_ns
        next_ns = frames.next_ns(start_ns)
        if next_ns is not None:
            return Bounds(start_ns, min(next_ns, start_ns + most_ns))
        if not frames.here or frames.passed_ns >= start_ns + most_ns:
            return Bounds(start_ns, start_ns + most_ns)
        return None

    return cut


def horizon_ns(streams: Sequence[StreamSeen], seen_ns: int, silent_ns: int) -> int | None:
    """How far all streams that are here have come; None if none is. One that others are so far ahead of is not
    waited for."""
    here = [stream for stream in streams if stream.here]
    if not here:
        return None
    return min([each.passed_ns for each in here if seen_ns - each.heard_ns <= silent_ns], default=seen_ns)
