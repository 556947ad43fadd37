"""Judged units for tests: any that could be, and plain ones."""

import struct
from typing import Any

import msgspec
from hypothesis import strategies as st

from sensorium.episode.unit import Decision, Judged, Look, Unit

SECOND_NS = 1_000_000_000
STREAMS = ("front", "rear", "imu.0")
INT64 = st.integers(-(2**63), 2**63 - 1)
SIZES = st.integers(-(2**40), 2**40)


def judged(
    start_ns: int,
    *,
    length_ns: int = SECOND_NS,
    boot: str = "boot-a",
    reason: str = "dull",
    score: float = 1.0,
    policy: str = "policy-1",
    **more: Any,
) -> Judged:
    """A unit of which little was found."""
    kept = reason in ("always", "novelty", "floor", "roll")
    unit = Unit(
        start_ns=start_ns,
        end_ns=start_ns + length_ns,
        boot=boot,
        novelty=more.pop("novelty", {"front": score / 10}),
        change=more.pop("change", {}),
        scores=more.pop("scores", {}),
        gate=more.pop("gate", ""),
        gates=more.pop("gates", {}),
        estimate_bytes=more.pop("estimate_bytes", 1000),
        booked_bytes=more.pop("booked_bytes", 0),
    )
    decision = Decision(
        start_ns=unit.start_ns,
        end_ns=unit.end_ns,
        boot=boot,
        kept=kept,
        reason=reason,
        by=more.pop("by", "front"),
        score=score,
        threshold=3.0,
        p=0.01,
        draw=0.5,
        drawn=False,
        tie=-1.0,
        policy=policy,
        cost_ns=length_ns,
        cost_bytes=1000,
    )
    return Judged(unit=unit, decision=decision, **more)


def bits(number: float) -> bytes:
    """A NaN is another than one of other bits."""
    return struct.pack("<d", number)


def same(one: Any, other: Any) -> bool:
    """Alike, floats by their bits, mappings whatever their order."""
    if isinstance(one, float) and isinstance(other, float):
        return bits(one) == bits(other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, msgspec.Struct):
        names = one.__struct_fields__
        return type(one) is type(other) and all(same(getattr(one, name), getattr(other, name)) for name in names)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other) and type(one) is type(other)


@st.composite
def looks(draw: st.DrawFn, dimensions: int) -> Look:
    return Look(
        by=draw(st.sampled_from(("", "thumbnail 1", "model 2"))),
        vector=draw(st.binary(min_size=dimensions, max_size=dimensions)),
        hashes=tuple(draw(st.lists(st.integers(0, 2**64 - 1), max_size=2))),
    )


@st.composite
def any_judged(draw: st.DrawFn, start_ns: int, boot: str, policy: str) -> Judged:
    """Any that the trace can be asked to hold, of streams whose descriptors have a size of their own."""
    numbers = st.floats()  # NaN and infinities too
    named = st.dictionaries(st.sampled_from(STREAMS), numbers)
    words = st.sampled_from(("", "front", "noise", "front.blur > 3", "of a plug-in"))
    unit = Unit(
        start_ns=start_ns,
        end_ns=start_ns + draw(st.integers(0, 10**12)),
        boot=boot,
        novelty=draw(named),
        change=draw(named),
        scores=draw(st.dictionaries(st.sampled_from(("front.blur", "rear.noise", "a/b")), numbers)),
        gate=draw(words),
        gates=draw(st.dictionaries(st.sampled_from(STREAMS), words)),
        estimate_bytes=draw(SIZES),
        booked_bytes=draw(SIZES),
    )
    decision = Decision(
        start_ns=unit.start_ns,
        end_ns=unit.end_ns,
        boot=boot,
        kept=draw(st.booleans()),
        reason=draw(st.sampled_from(("always", "novelty", "floor", "roll", "never", "dull", "budget", "whim"))),
        by=draw(words),
        score=draw(numbers),
        threshold=draw(numbers),
        p=draw(numbers),
        draw=draw(numbers),
        drawn=draw(st.booleans()),
        tie=draw(numbers),
        policy=policy,
        cost_ns=draw(INT64),
        cost_bytes=draw(INT64),
    )
    seen = draw(st.sets(st.sampled_from(STREAMS)))
    return Judged(
        unit=unit,
        decision=decision,
        looks={name: draw(looks(STREAMS.index(name) * 3)) for name in sorted(seen)},
        saved=draw(st.booleans()),
        begun=draw(st.booleans()),
    )
