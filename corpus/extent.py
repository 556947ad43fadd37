"""What an episode is of: the half-open interval that it was cut as, and how much of that its data covers."""

from collections.abc import Sequence
from typing import NamedTuple

from sensorium.episode.documents import Open, Seal

LACKING = 1.5
"""Periods without a sample from which on one is missing, as pictures have it."""


class Extent(NamedTuple):
    """The interval of an episode in its device's clock, and the seconds of it that are covered."""

    start_ns: int
    end_ns: int
    covered_s: float


class Span(NamedTuple):
    """Where the samples of a stream lie, of which it has one at least.

    >>> Span(0, 990, 100, rate_hz=None).period_ns, Span(5, 5, 1, rate_hz=30).period_ns, Span(5, 5, 1, None).period_ns
    (10, 33333333, 1)
    """

    first_ns: int
    last_ns: int
    rows: int
    rate_hz: float | None

    @property
    def period_ns(self) -> int:
        """The time that a sample stands for: as they came, which may be more slowly than the stream's rate says."""
        if self.rows > 1:
            return max(1, round((self.last_ns - self.first_ns) / (self.rows - 1)))
        return max(1, round(1e9 / self.rate_hz)) if self.rate_hz else 1


def covered(spans: Sequence[Span], start_ns: int, end_ns: int) -> tuple[int, int]:
    """Of an interval what lies between the first and the last sample of all `spans`, with the time that the last one
    stands for; to the interval's own ends where a stream lacks no sample there.

    >>> covered([Span(5, 45, 5, None), Span(30, 70, 3, None)], 0, 110), covered([Span(20, 40, 3, None)], 0, 100)
    ((0, 90), (20, 50))
    """
    if not spans:
        return start_ns, start_ns
    from_ns, until_ns = [], []
    for span in set(spans):  # streams that are sampled together have the same
        period_ns = span.period_ns
        from_ns.append(start_ns if span.first_ns - start_ns <= LACKING * period_ns else span.first_ns)
        until_ns.append(end_ns if end_ns - span.last_ns <= LACKING * period_ns else span.last_ns + period_ns)
    return (first_ns := min(from_ns)), max(first_ns, *until_ns)


def extent_of(manifest: Open, seal: Seal, spans: Sequence[Span]) -> Extent:
    """The interval of an episode, as SEAL says, else OPEN if complete, else to its last sample; and what of it the
    `spans` of its streams cover. A trace has judged all of it."""
    after_last = max((s.last_ns + 1 for s in spans), default=manifest.start_ns)
    stated = seal.end_ns if seal.end_ns is not None else manifest.end_ns if seal.reason == "complete" else after_last
    start_ns = manifest.start_ns
    end_ns = max(start_ns, stated, after_last)
    from_ns, until_ns = (start_ns, end_ns) if manifest.kind == "trace" else covered(spans, start_ns, end_ns)
    return Extent(start_ns, end_ns, (until_ns - from_ns) / 1e9)
