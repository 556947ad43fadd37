"""Alignment: which samples of a stream stand for given moments, and where none does; nothing is made up over a gap."""

from typing import Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from sensorium.drivers.registry import nearest as nearest_name
from sensorium.drivers.stream import Stamps, StreamSpec
from sensorium.errors import ConfigError

Method = Literal["nearest", "previous", "linear"]
METHODS: tuple[str, ...] = get_args(Method)
GAP_PERIODS = 1.5
"""Two samples of a steady stream that are further apart have a gap between them."""
MOST_MOMENTS = 10_000_000

Rows = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
RateHz = float | npt.NDArray[np.float64] | None
"""Nominal, of all samples of a stream or float64 [m] of each; None, or 0, where there is none."""


class StandIns(NamedTuple):
    """For each of n moments the rows `before` and `after` int64 [n] of the samples that stand for it (the same but for
    `linear`), the `weight` float64 [n] of the latter, and whether any does, `present` bool [n]; where not, rows are 0.
    """

    before: Rows
    after: Rows
    weight: npt.NDArray[np.float64]
    present: Mask


def check_word(method: str, stream: str = "") -> None:
    """Raise `ConfigError` for a word that is no way to align anything; `stream` is what it was said of."""
    if method not in METHODS:
        of, hint = f" of {stream!r}" if stream else "", nearest_name(method, METHODS)
        raise ConfigError(f"align {method!r}{of}{hint}: expected one of {', '.join(METHODS)}")


def check_method(method: str, spec: StreamSpec, is_encoded: bool) -> None:
    """Raise `ConfigError` unless a stream can be aligned so."""
    check_word(method, spec.name)
    if method != "linear":
        return
    if is_encoded or spec.is_frames or spec.dtype == "bool":
        what = "encoded media" if is_encoded else "pictures" if spec.is_frames else spec.dtype
        raise ConfigError(f"align 'linear' of {spec.name!r}: between {what} there is nothing; take nearest or previous")
    if spec.rate_hz is None:
        raise ConfigError(
            f"align 'linear' of {spec.name!r}: it has no rate, so nothing tells what is a gap; take nearest or previous"
        )


def stand_ins(captured_ns: Stamps, at_ns: Stamps, method: str, rate_hz: RateHz) -> StandIns:
    """Which samples, with stamps int64 [m] that never step back, stand for the moments `at_ns`, int64 [n].

    `nearest` is the sample next to a moment, the earlier of two that are as near; `previous` the last one at or before
    it; `linear` lies between the last one at or before it and the next, where these have no gap between them. Of a
    stream with a rate a sample stands for no moment across a gap: `previous` within 1.5 periods behind it, `nearest`
    within half of that on either side. Of one without a rate, whose values hold until the next, it may be any distance.
    Where the rate changes, a sample has its own, and between two the longer period counts.

    >>> stamps = np.array([0, 10, 20, 50], np.int64)  # ns, at 100 MHz; 30 and 40 are missing
    >>> stand_ins(stamps, np.array([4, 14, 24, 34]), "linear", 1e8).present.tolist()
    [True, True, False, False]
    >>> stand_ins(stamps, np.array([4, 6, 27, 34]), "nearest", 1e8)[0::3]
    (array([0, 1, 2, 0]), array([ True,  True,  True, False]))
    """
    count = len(captured_ns)
    if not count:
        none = np.zeros(len(at_ns), np.int64)
        return StandIns(none, none, np.zeros(len(at_ns)), np.zeros(len(at_ns), np.bool_))
    with np.errstate(divide="ignore"):
        gaps_ns = np.broadcast_to(GAP_PERIODS * 1e9 / np.asarray(0.0 if rate_hz is None else rate_hz), count)
    # Of equal stamps the last is the newest word on that moment.
    before = np.searchsorted(captured_ns, at_ns, "right") - 1
    has_before = before >= 0
    low = np.maximum(before, 0)
    high = np.minimum(before + 1, count - 1)
    pair_ns = np.maximum(gaps_ns[low], gaps_ns[high])
    since, until = at_ns - captured_ns[low], captured_ns[high] - at_ns
    weight = np.zeros(len(at_ns))
    match method:
        case "previous":
            rows, present = low, has_before & (since < gaps_ns[low])
        case "nearest":
            later = ~has_before | ((before + 1 < count) & (until < since))
            rows = np.where(later, high, low)
            present = np.abs(captured_ns[rows] - at_ns) < pair_ns / 2
        case _:
            span = captured_ns[high] - captured_ns[low]
            exact = has_before & (since == 0)
            inside = has_before & (before + 1 < count) & (span < pair_ns)
            weight = np.where(inside & ~exact, since / np.maximum(span, 1), 0.0)
            present = exact | inside
            rows, high = low, np.where(inside & ~exact, high, low)
            return StandIns(np.where(present, rows, 0), np.where(present, high, 0), weight, present)
    rows = np.where(present, rows, 0)
    return StandIns(rows, rows, weight, present)


def most_moments(length_ns: int, rate_hz: float) -> int:
    """How many moments a length can have at a rate; `ConfigError` of what is no rate, or of more than are given."""
    if not 0 < rate_hz <= 1e9:
        raise ConfigError(f"grid {rate_hz}: expected a rate in Hz above 0, or the name of a stream")
    count = int(length_ns * rate_hz / 1e9) + 2
    if count > MOST_MOMENTS:
        raise ConfigError(f"grid {rate_hz:g}: {count} moments, at most {MOST_MOMENTS} are given: take a shorter window")
    return count


def grid(start_ns: int, end_ns: int, rate_hz: float) -> Stamps:
    """The moments start + floor(k / rate) of [start_ns, end_ns), exactly, however long.

    >>> grid(1_000_000_000, 1_100_000_000, 30.0).tolist()
    [1000000000, 1033333333, 1066666666]
    """
    count = most_moments(end_ns - start_ns, rate_hz)
    steps = np.arange(max(0, count), dtype=np.longdouble) * 1e9 / np.longdouble(rate_hz)
    found: Stamps = start_ns + np.floor(steps).astype(np.int64)
    kept: Stamps = found[found < end_ns]
    return kept
