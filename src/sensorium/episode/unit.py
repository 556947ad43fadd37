"""A unit and what was decided of it: all that a decision was made from, and all that it says."""

import msgspec


class Unit(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of captured time that is judged as one, and what was found in it.

    `novelty` of a stream is one minus the greatest cosine to what is kept; `change` the same against the unit before,
    absent where there is none. `scores` are numbers by STREAM.SCORE. `gate` is what no rule opens, or "". A NaN counts
    as absent. `gates` tells, and decides nothing: of every judged stream with a sample in it the gate that closes on
    all of these, or "". `estimate_bytes` is what keeping it will cost; `booked_bytes` how much more (or less) than
    estimated the units cost that were sealed since the unit before.
    """

    start_ns: int
    end_ns: int
    boot: str = ""
    novelty: dict[str, float] = {}
    change: dict[str, float] = {}
    scores: dict[str, float] = {}
    gate: str = ""
    gates: dict[str, str] = {}
    estimate_bytes: int = 0
    booked_bytes: int = 0

    @property
    def length_ns(self) -> int:
        """Captured time that it keeps."""
        return max(self.end_ns - self.start_ns, 0)


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one unit, and why.

    `reason` of what is kept is `always`, `novelty`, `floor` or `roll`; of what is not `never`, `dull` or `budget`.
    `by` is the gate, the condition, or the stream whose novelty counted. `p` is the probability with which chance could
    have kept it, fixed before `draw`, a number in [0, 1), was looked at: whatever else was decided, it is in the sample
    (`drawn`) if `draw < p`. `tie` is the draw that decided where `score` was just `threshold`, else -1. `policy` is the
    version of the policy, and the costs are the estimates that were spent.
    """

    start_ns: int
    end_ns: int
    boot: str
    kept: bool
    reason: str
    by: str
    score: float
    threshold: float
    p: float
    draw: float
    drawn: bool
    tie: float
    policy: str
    cost_ns: int
    cost_bytes: int


def encoded(decision: Decision) -> bytes:
    """As bytes: two decisions are the same if these are."""
    return msgspec.msgpack.encode(decision)


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """What one stream looked like in a unit: one descriptor for those of its samples that no gate closed.

    `by` names the maker, whose vectors alone are compared with each other. `vector` is int8 [d], `hashes` the dHash in
    both directions of the sample that the descriptor is nearest to, or empty of what is no picture.
    """

    by: str
    vector: bytes
    hashes: tuple[int, ...] = ()


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """A unit with its final decision: what the trace remembers, and all that deciding again needs.

    `looks` are by stream. `saved` says that behind this unit what selection knows was made durable, `begun` that it is
    the first since selection was started, with what was known behind the last that was saved before.
    """

    unit: Unit
    decision: Decision
    looks: dict[str, Look] = {}
    saved: bool = False
    begun: bool = False
