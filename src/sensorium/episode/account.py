"""The account of a stream: what became of every sample, as it grows and as a document."""

from dataclasses import dataclass, field, replace

from sensorium.episode.documents import Account


@dataclass(slots=True)
class Tally:
    """A growing account of one stream."""

    captured: int = 0
    stored: int = 0
    filtered: dict[str, int] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)
    away_ns: tuple[int, int] | None = None

    def filter(self, counts: dict[str, int]) -> None:
        """Samples that filters dropped, by rule."""
        for rule, n in counts.items():
            self.captured += n
            self.filtered[rule] = self.filtered.get(rule, 0) + n

    def lose(self, cause: str, n: int, *, captured: bool = False) -> None:
        """`n` samples lost; `captured` if they were counted as captured before."""
        if n:
            self.captured += 0 if captured else n
            self.lost[cause] = self.lost.get(cause, 0) + n

    def absent(self, rate_hz: float | None, start_ns: int, end_ns: int) -> None:
        """A sensor was away from `start_ns` to `end_ns`: what it missed is estimated from its rate."""
        if end_ns > start_ns:
            self.lose("away", int((end_ns - start_ns) * (rate_hz or 0.0) / 1e9))
            before = self.away_ns or (start_ns, end_ns)
            self.away_ns = (min(start_ns, before[0]), max(end_ns, before[1]))

    def copy(self) -> "Tally":
        """As it is now."""
        return replace(self, filtered=dict(self.filtered), lost=dict(self.lost))

    def account(self) -> Account:
        """As a document."""
        return Account(
            captured=self.captured,
            stored=self.stored,
            filtered=dict(self.filtered),
            lost=dict(self.lost),
            estimated=self.away_ns is not None,
            lost_interval_ns=self.away_ns,
        )
