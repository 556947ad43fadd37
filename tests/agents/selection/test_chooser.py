"""The chooser: what is kept is known at once, a restart goes on from what was saved, makers never mix."""

import itertools
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.agents.selection.chooser import Chooser
from sensorium.agents.selection.knowledge import difference
from sensorium.drivers.clock import SECOND_NS
from sensorium.episode.unit import Judged, Look, Unit, encoded
from sensorium.errors import Corrupt
from tests.agents.selection.test_selector import policy

Step = tuple[Unit, dict[str, Look]]


def look(*numbers: int, by: str = "maker/1") -> Look:
    return Look(by=by, vector=np.array(numbers, np.int8).tobytes())


def steps(count: int, seed: int = 0, boot: str = "a", from_: int = 0) -> list[Step]:
    """Seconds of two streams that now and then show something else; `imu` says nothing of some."""
    rng = np.random.default_rng(seed)
    places = rng.integers(-90, 91, (6, 12))
    found: list[Step] = []
    at = 0
    for number in range(from_, from_ + count):
        at = int(rng.integers(6)) if rng.random() < 0.2 else at
        looks = {"cam": look(*np.clip(places[at] + rng.integers(-4, 5, 12), -127, 127))}
        if rng.random() < 0.7:
            looks["imu"] = look(*rng.integers(1, 100, 3), by="bands/1")
        unit = Unit(start_ns=number * SECOND_NS, end_ns=(number + 1) * SECOND_NS, boot=boot, estimate_bytes=1000)
        if rng.random() < 0.1:
            unit, looks = msgspec.structs.replace(unit, gate="noise"), {}
        found.append((unit, looks))
    return found


def chosen(chooser: Chooser, given_: Sequence[Step]) -> list[Judged]:
    return [*itertools.chain.from_iterable(chooser.step(*each) for each in given_), *chooser.finish()]


def decisions(judged: Sequence[Judged]) -> list[bytes]:
    return [encoded(each.decision) for each in judged]


ROLLS: list[dict[str, Any]] = [{}, {"pre_roll_s": 3.0, "post_roll_s": 2.0}]


@pytest.mark.parametrize("rolls", ROLLS)
def test_every_unit_comes_out_once_in_order_with_what_it_looked_like(rolls: dict[str, Any]) -> None:
    given_ = steps(200)
    found = chosen(Chooser(policy(share=0.3, **rolls), "spool"), given_)
    assert [(each.unit.start_ns, each.looks) for each in found] == [(unit.start_ns, looks) for unit, looks in given_]
    assert all(each.decision.start_ns == each.unit.start_ns for each in found)
    assert [each.begun for each in found] == [True, *[False] * 199]
    assert {each.decision.reason for each in found} >= {"novelty", "dull", "never"}
    assert set(found[50].unit.novelty) == set(found[50].looks)


@pytest.mark.parametrize("rolls", ROLLS)
def test_what_was_kept_is_not_new_again_even_while_its_decision_waits(rolls: dict[str, Any]) -> None:
    """One look, again and again: only the first is new."""
    shown = {"cam": look(90, 0, 0)}
    units = [Unit(start_ns=n * SECOND_NS, end_ns=(n + 1) * SECOND_NS) for n in range(10)]
    found = chosen(Chooser(policy(share=1.0, floor=0.0, **rolls), "spool"), [(unit, shown) for unit in units])
    assert [each.unit.novelty["cam"] for each in found] == [1.0, *[0.0] * 9]


def test_what_a_roll_kept_is_known_too() -> None:
    """Three dull looks, the last of which an always claims: its pre-roll is kept, and none of it is new again."""
    dull = [{"cam": look(100, n, 0)} for n in range(4)]
    rule = policy(share=1.0, floor=0.0, burst_s=600.0, pre_roll_s=3.0, always=("cam.wish = 1",))
    chooser = Chooser(rule, "spool")
    units = [Unit(start_ns=n * SECOND_NS, end_ns=(n + 1) * SECOND_NS) for n in range(8)]
    units[3] = msgspec.structs.replace(units[3], scores={"cam.wish": 1.0})
    found = chosen(chooser, list(zip(units, [*dull, *dull], strict=True)))
    assert [each.decision.reason for each in found[:4]] == ["novelty", "roll", "roll", "always"]
    assert [each.unit.novelty["cam"] for each in found[4:]] == [0.0] * 4


@given(at=st.integers(0, 120), kept_on=st.integers(0, 40), rolls=st.sampled_from(ROLLS), seed=st.integers(0, 5))
@settings(max_examples=25, deadline=None)
def test_after_a_restart_it_goes_on_from_what_was_saved(
    at: int, kept_on: int, rolls: dict[str, Any], seed: int
) -> None:
    """However long the first one ran on; without rolls nothing at all differs."""
    given_ = steps(160, seed)
    rule = policy(share=0.3, **rolls)
    first = Chooser(rule, "spool")
    before = [*itertools.chain.from_iterable(first.step(*each) for each in given_[:at])]
    state = first.state
    for each in given_[at : at + kept_on]:
        first.step(*each)
    after = chosen(Chooser(rule, "spool", state), given_[at:])
    assert Chooser(rule, "spool", state).state == Chooser(rule, "spool", Chooser(rule, "spool", state).state).state
    assert not after or after[0].begun
    if not rolls:
        assert decisions(before + after) == decisions(chosen(Chooser(rule, "spool"), given_))


def test_a_policy_may_change_over_a_restart() -> None:
    given_ = steps(100)
    first = Chooser(policy(share=0.3), "spool")
    chosen(first, given_[:50])
    found = chosen(Chooser(policy(share=0.0), "spool", first.state), given_[50:])
    assert not any(each.decision.kept for each in found)
    assert found[0].unit.change, "what it was like before is known"


@pytest.mark.parametrize("rolls", ROLLS)
def test_the_unit_behind_which_it_was_saved_says_so(rolls: dict[str, Any]) -> None:
    chooser = Chooser(policy(share=0.3, **rolls), "spool")
    found: list[Judged] = []
    for number, each in enumerate(steps(60)):
        final = chooser.step(*each)
        found += chooser.mark_saved(final) if number in (20, 59) else final
    found += chooser.finish()
    assert [number for number, each in enumerate(found) if each.saved] == [20, 59]


def test_makers_never_mix(caplog: pytest.LogCaptureFixture) -> None:
    chooser = Chooser(policy(share=1.0, floor=0.0), "spool")
    units = [Unit(start_ns=n * SECOND_NS, end_ns=(n + 1) * SECOND_NS) for n in range(4)]
    looks = [look(90, 0, 0), look(90, 0, 0, by="maker/2"), look(90, 0, 0, by="maker/2"), look(90, 0, by="maker/2")]
    found = chosen(chooser, [(unit, {"cam": each}) for unit, each in zip(units, looks, strict=True)])
    assert [each.unit.novelty["cam"] for each in found] == [1.0, 1.0, 0.0, 1.0]
    assert ["cam" in each.unit.change for each in found] == [False, False, True, False]
    assert caplog.text.count("'cam': what is known of it was described by maker/1, now it is by maker/2") == 1


def test_another_time_has_no_change() -> None:
    chooser = Chooser(policy(share=1.0), "spool")
    given_ = [*steps(3, 1), *steps(3, 1, boot="b", from_=9), *steps(3, 1, boot="b")]
    found = [each for each in chosen(chooser, given_) if "cam" in each.looks]
    starts = {number for number, each in enumerate(found) if "cam" not in each.unit.change}
    assert len(starts) == 3


def state_with(dimensions: int, vectors: bytes) -> bytes:
    stream = {"by": "maker/1", "dimensions": dimensions, "vectors": vectors}
    whole = msgspec.msgpack.decode(Chooser(policy(), "spool").state)
    return msgspec.msgpack.encode(whole | {"knowledge": {"streams": {"cam": stream}}})


@pytest.mark.parametrize("state", [b"", b"\x80", b"nonsense", state_with(3, b"1234"), state_with(0, b"")])
def test_a_state_that_is_none_is_said(state: bytes) -> None:
    with pytest.raises(Corrupt, match="state of selection"):
        Chooser(policy(), "spool", state)


def test_a_difference_is_one_minus_the_cosine() -> None:
    a, b = np.array([[3, 4], [0, 0]], np.int8)
    assert difference(a, a) == 0.0
    assert difference(a, b) == 1.0
    assert difference(b, b) == 0.0
