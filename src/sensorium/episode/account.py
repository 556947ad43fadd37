"""The account: every sample is counted once where it enters, and leaves to exactly one fate, in exactly one place.

A place is an episode, or *between*: the samples that are in none. A sample on its way to its place, or to its fate
there, is held. So for each stream, at any time, captured = held + stored + filtered + lost over all places. Nobody else
adds such numbers up: what drops, loses or writes samples says so here, or to the `DeviceAccount`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sensorium.episode.documents import Account, Chunk, Items, Open

RULES = frozenset({"trigger", "stop", "discarded"})
"""The rules, besides the kinds of filters and what begins with `SELECTION`, by which a sample is left out on purpose;
all other fates are losses."""

SELECTION = "selection."
"""Behind it stands why a unit was not kept, in the word of the policy."""

MAX_COUNT = 1 << 53
"""Counts are below this, as JSON's numbers are, so that the sum over all streams of an episode fits SQL."""


Running = tuple[int, dict[str, int], dict[str, int]]
"""How many samples of a stream were captured so far, filtered by rule and lost by cause."""


@dataclass(slots=True)
class Tally:
    """A growing account: of one stream in one place, or of counts that are on their way to one."""

    held: int = 0
    stored: int = 0
    filtered: dict[str, int] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)
    estimated: bool = False
    lost_interval_ns: tuple[int, int] | None = None

    @classmethod
    def of(cls, account: Account) -> "Tally":
        """As a document says it."""
        filtered, lost = dict(account.filtered), dict(account.lost)
        held = account.captured - account.stored - sum(filtered.values()) - sum(lost.values())
        return cls(held, account.stored, filtered, lost, account.estimated, account.lost_interval_ns)

    @property
    def captured(self) -> int:
        """All of it."""
        captured = self.held + self.stored
        if self.filtered:
            captured += sum(self.filtered.values())
        if self.lost:
            captured += sum(self.lost.values())
        return captured

    def hold(self, n: int) -> None:
        """`n` samples have come; their fate is open."""
        self.held += n

    def store(self, n: int) -> None:
        """`n` of those held are written."""
        self.held -= n
        self.stored += n

    def leave(self, fate: str, n: int) -> None:
        """`n` of those held are left out by a rule, or lost by a cause."""
        self.held -= n
        self.count(fate, n)

    def count(self, fate: str, n: int) -> None:
        """`n` samples, held nowhere, are left out by a rule of `RULES`, or lost by a cause."""
        by_rule = fate in RULES or fate.startswith(SELECTION)
        self._add(self.filtered if by_rule else self.lost, fate, n)

    def miss(self, n: int, interval_ns: tuple[int, int] | None, *, is_guess: bool) -> None:
        """Their sensor says that `n` samples are missing, or guesses it, between the stamps of those around them."""
        self.count("sensor", n)
        if is_guess and n:
            self._estimate(interval_ns)

    def filter(self, kind: str, n: int) -> None:
        """`n` samples were dropped by a filter of this kind."""
        self._add(self.filtered, kind, n)

    def absent(self, rate_hz: float | None, start_ns: int, end_ns: int) -> int:
        """The sensor was away from `start_ns` to `end_ns`: how many samples it missed, as its rate tells."""
        if end_ns <= start_ns:
            return 0
        n = int((end_ns - start_ns) * (rate_hz or 0.0) / 1e9)
        self.count("away", n)
        self._estimate((start_ns, end_ns))
        return n

    def add(self, other: "Tally") -> None:
        """Take over all that another has."""
        self.held += other.held
        self.stored += other.stored
        for mine, theirs in ((self.filtered, other.filtered), (self.lost, other.lost)):
            for fate, n in theirs.items():
                self._add(mine, fate, n)
        if other.estimated:
            self._estimate(other.lost_interval_ns)

    def remove(self, other: "Tally") -> None:
        """Give back what was taken over from another; that it was an estimate stays true."""
        self.held -= other.held
        self.stored -= other.stored
        for mine, theirs in ((self.filtered, other.filtered), (self.lost, other.lost)):
            for fate, n in theirs.items():
                self._add(mine, fate, -n)

    def running(self) -> Running:
        """What the header of a record says of it."""
        return self.captured, dict(self.filtered), dict(self.lost)

    def copy(self) -> "Tally":
        """As it is now."""
        filtered, lost = dict(self.filtered), dict(self.lost)
        return Tally(self.held, self.stored, filtered, lost, self.estimated, self.lost_interval_ns)

    def account(self) -> Account:
        """As a document; what is held is captured, and has no fate yet."""
        return Account(
            captured=self.captured,
            stored=self.stored,
            filtered=dict(self.filtered),
            lost=dict(self.lost),
            estimated=self.estimated,
            lost_interval_ns=self.lost_interval_ns,
        )

    def __bool__(self) -> bool:
        return bool(self.captured) or self.estimated

    @staticmethod
    def _add(counts: dict[str, int], fate: str, n: int) -> None:
        if n:
            counts[fate] = counts.get(fate, 0) + n
            if not counts[fate]:
                del counts[fate]

    def _estimate(self, interval_ns: tuple[int, int] | None) -> None:
        before = self.lost_interval_ns
        self.estimated = True
        if before is None or interval_ns is None:
            self.lost_interval_ns = before or interval_ns
        else:
            self.lost_interval_ns = (min(before[0], interval_ns[0]), max(before[1], interval_ns[1]))


Place = dict[str, Tally]
"""What became of the samples of one place, by stream."""


def accounts(place: Mapping[str, Tally]) -> dict[str, Account]:
    """As documents, by stream; streams of which there is nothing to say are left out."""
    return {stream: tally.account() for stream, tally in place.items() if tally}


def summed(said: Iterable[Account]) -> Account:
    """One account for several."""
    accounts = list(said)
    if not any(account.filtered or account.lost or account.estimated for account in accounts):  # as most are
        captured = sum([account.captured for account in accounts])
        return Account(captured=captured, stored=sum([account.stored for account in accounts]))
    whole = Tally()
    for account in accounts:
        whole.add(Tally.of(account))
    return whole.account()


def merge(into: Place, place: Mapping[str, Tally]) -> None:
    """Add the counts of a place to those of another."""
    for stream, tally in place.items():
        into.setdefault(stream, Tally()).add(tally)


def withdraw(out_of: Place, place: Mapping[str, Tally]) -> None:
    """Take the counts of a place out of those of another, into which they were merged."""
    for stream, tally in place.items():
        out_of.setdefault(stream, Tally()).remove(tally)


def copied(place: Mapping[str, Tally]) -> Place:
    """As it is now."""
    return {stream: tally.copy() for stream, tally in place.items()}


def given_up(episode: Mapping[str, Account], fate: str) -> Place:
    """What becomes of an episode's samples if it is not delivered: those that it stored, or held, leave to `fate`."""
    place = {stream: Tally.of(account) for stream, account in episode.items()}
    for tally in place.values():
        kept = tally.held + tally.stored
        tally.held = tally.stored = 0
        tally.count(fate, kept)
    return place


def unreadable_place(manifest: Open) -> Place:
    """Of an episode of which nothing can be read, and nothing was noted: how much was lost is not known. Of a preview,
    which has no samples of its own, nothing was."""
    if manifest.kind == "preview":
        return {}
    interval_ns = (manifest.start_ns, manifest.start_ns)
    return {entry.spec.name: Tally(estimated=True, lost_interval_ns=interval_ns) for entry in manifest.streams}


def problem(account: Account, limit_ns: int) -> str:
    """What is wrong with an account that came from somewhere; empty if it holds. Its interval is within `limit_ns`."""
    counts = [account.captured, account.stored, *account.filtered.values(), *account.lost.values()]
    interval = account.lost_interval_ns or ()
    if not all(0 <= count < MAX_COUNT for count in counts) or not all(-limit_ns <= ns <= limit_ns for ns in interval):
        return "a number is out of range"
    if interval and interval[0] > interval[1]:
        return f"the interval in which samples were lost runs back, from {interval[0]} to {interval[1]} ns"
    if not account.balances:
        return (
            f"captured {account.captured} is not stored {account.stored}"
            f" + filtered {sum(account.filtered.values())} + lost {sum(account.lost.values())}"
        )
    return ""


# -- after a crash -----------------------------------------------------------------------------------------------------


def corrected(before: Account, rows: int) -> Account:
    """The account of a sealed stream of which only `rows` can still be read: the others are lost, `corrupt`."""
    tally = Tally.of(before)
    tally.stored = rows
    tally.count("corrupt", before.stored - rows)
    return tally.account()


def estimated(
    last: Chunk | Items | None, rows: int, corrupt: int, rate_hz: float | None, interval_ns: tuple[int, int]
) -> Account:
    """The account of a stream whose file was never sealed: captured but not stored is what its last header counted,
    and what its rate says fell after it.

    Args:
        last: The stream's last readable header, with its running counts.
        rows: How many rows can be read.
        corrupt: How many rows are missing among those.
        interval_ns: From the stream's last stamp (or the episode's start) to the last stamp of any stream.
    """
    tally = Tally(stored=rows, estimated=True, lost_interval_ns=interval_ns)
    if last is not None:
        tally.filtered, tally.lost = dict(last.filtered), dict(last.lost)
    tally.count("corrupt", corrupt)
    counted = (0 if last is None else last.captured) - tally.captured
    expected = int((interval_ns[1] - interval_ns[0]) * (rate_hz or 0.0) / 1e9)
    tally.count("interrupted", max(0, counted, expected))
    return tally.account()
