"""Replay: from the log the same decisions, byte for byte, over restarts; another policy knows what it kept itself."""

import itertools
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.agents.selection.chooser import Chooser
from sensorium.agents.selection.fleet_part import AMONG, MET, NEARLY
from sensorium.agents.selection.policy import SelectionPolicy
from sensorium.agents.selection.replay import SpoolLog, decided_again, differing
from sensorium.episode.unit import Judged, Look, Unit
from tests.agents.selection.test_chooser import Step, steps
from tests.agents.selection.test_selector import policy


def lived(given_: list[Step], runs: list[tuple[SelectionPolicy, int, int | None]], spool_id: str = "spool") -> SpoolLog:
    """What a device logs that runs `count` units in each of `runs`, saves every seventh and, of those that were killed
    (`cut`), loses what still waits; the last unit of one that stopped is saved."""
    judged: list[Judged] = []
    state: bytes | None = None
    units = iter(given_)
    for rule, count, cut in runs:
        chooser = Chooser(rule, spool_id, state)
        booked = 0
        for number, (unit, looks) in enumerate(itertools.islice(units, count)):
            final = chooser.step(msgspec.structs.replace(unit, booked_bytes=booked), looks)
            booked = 37 * number if final and final[-1].decision.kept else 0
            if number % 7 == 6:
                state = chooser.state
                final = chooser.mark_saved(final)
            judged += final
        if cut is None:
            judged += chooser.finish()
            state = chooser.state
            judged = chooser.mark_saved(judged)
    return SpoolLog(spool_id, judged, {rule.version: rule for rule, _, _ in runs})


def as_bytes(judged: list[Judged]) -> list[bytes]:
    return [msgspec.msgpack.encode(each) for each in judged]


RULES = [
    policy(share=0.3),
    policy(share=0.3, seed=7, pre_roll_s=3.0, post_roll_s=2.0),
    policy(share=None, bytes_per_s=300.0, floor=0.5, always=("cam.wish = 1",)),
]


@given(data=st.data(), seed=st.integers(0, 9))
@settings(max_examples=10, deadline=None)
def test_the_same_policy_decides_the_same_byte_for_byte_over_restarts(data: st.DataObject, seed: int) -> None:
    """Stops, kills, other boots and other policies between runs."""
    boots = [f"boot-{n}" for n in range(data.draw(st.integers(1, 3)))]
    given_: list[Step] = list(itertools.chain.from_iterable(steps(40, seed + n, boot) for n, boot in enumerate(boots)))
    runs = []
    left = len(given_)
    while left:
        count = data.draw(st.integers(1, left))
        rule = data.draw(st.sampled_from(RULES))
        # what waits for a pre-roll when a device is killed is in no log, and was never decided of
        cut = data.draw(st.sampled_from([None, 0])) if not rule.pre_roll_s else None
        runs.append((rule, count, cut))
        left -= count
    log = lived(given_, runs)
    logged = SpoolLog(
        log.spool_id,
        msgspec.msgpack.decode(msgspec.msgpack.encode(log.judged), type=list[Judged]),
        {v: SelectionPolicy.model_validate_json(each.model_dump_json()) for v, each in log.policies.items()},
    )
    again = decided_again(logged)
    assert as_bytes(again) == as_bytes(list(log.judged))
    assert differing(logged, again) == []
    if len(logged.policies) == 1:
        assert as_bytes(decided_again(logged, runs[0][0])) == as_bytes(again)


def test_a_device_of_a_fleet_is_decided_of_again_by_what_its_log_says_it_was_told() -> None:
    rng = np.random.default_rng(5)
    told = [{"cam.fleet": float(fleet), AMONG: 3.0, NEARLY: 0.2} for fleet in rng.choice([0.0, 0.1, 0.15, 0.6], 400)]
    given_ = [
        (msgspec.structs.replace(unit, scores=scores), looks)
        for (unit, looks), scores in zip(steps(400, 3), told, strict=True)
    ]
    rule = policy(share=0.3, floor=0.1)
    log = lived(given_, [(rule, 150, None), (rule, 111, 0), (rule, 139, None)])
    assert any(each.unit.scores.get(MET) for each in log.judged)
    wanted = [each.decision for each in log.judged if each.decision.score > each.decision.threshold]
    assert {each.reason for each in wanted} >= {"novelty", "budget"}
    assert as_bytes(decided_again(log)) == as_bytes(list(log.judged))
    for name in (NEARLY, AMONG, "cam.fleet"):
        left_out = [
            msgspec.structs.replace(
                each,
                unit=msgspec.structs.replace(
                    each.unit, scores={key: value for key, value in each.unit.scores.items() if key != name}
                ),
            )
            for each in log.judged
        ]
        assert differing(log, decided_again(SpoolLog("spool", left_out, log.policies))), name


def test_a_kill_forgets_what_was_not_saved() -> None:
    """The same looks again behind a kill are new again, and that is found in the log alone."""
    shown = {"cam": Look(by="maker", vector=bytes([90, 0, 1]))}
    given_ = [(Unit(start_ns=n * 10**9, end_ns=(n + 1) * 10**9), shown) for n in range(9)]
    rule = policy(share=1.0, floor=0.0)
    log = lived(given_, [(rule, 4, 0), (rule, 5, None)])
    assert [each.unit.novelty["cam"] for each in log.judged] == [1.0, 0, 0, 0, 1.0, 0, 0, 0, 0]
    assert as_bytes(decided_again(log)) == as_bytes(list(log.judged))
    unsaid = [msgspec.structs.replace(each, begun=False) for each in log.judged]
    assert differing(log, decided_again(SpoolLog("spool", unsaid, log.policies))) != []


def test_another_policy_is_judged_by_what_it_would_have_kept_itself() -> None:
    log = lived(steps(300), [(policy(share=0.0), 300, None)])
    assert not any(each.decision.kept for each in log.judged)
    again = decided_again(log, policy(share=0.3))
    assert [each.unit.start_ns for each in again] == [each.unit.start_ns for each in log.judged]
    live = lived(steps(300), [(policy(share=0.3), 300, None)])
    assert [each.decision.kept for each in again] == [each.decision.kept for each in live.judged]
    later = [each.unit.novelty["cam"] for each in log.judged[50:] if "cam" in each.looks]
    assert min(later) == 1.0, "nothing was kept, all stays new"
    assert np.mean([each.unit.novelty["cam"] for each in again[50:] if "cam" in each.looks]) < 0.5


@pytest.mark.parametrize("fields", [{"share": 0.1}, {"share": 0.3, "seed": 4}, {"share": 0.3, "floor": 0.0}])
def test_what_differs_is_found(fields: dict[str, Any]) -> None:
    log = lived(steps(200), [(policy(share=0.3), 200, None)])
    found = differing(log, decided_again(log, policy(**fields)))
    assert found
    assert all(each.decision.policy == policy(**fields).version for each in found)


def test_a_log_that_begins_in_the_middle_is_decided_from_there() -> None:
    log = lived(steps(100), [(policy(share=0.3), 100, None)])
    half = SpoolLog(log.spool_id, log.judged[50:], log.policies)
    again = decided_again(half)
    assert len(again) == 50
    first = next(each for each in again if "cam" in each.looks)
    assert (first.unit.novelty["cam"], first.unit.change) == (1.0, {}), "nothing is known of what came before"
    assert decided_again(SpoolLog("spool", [], {})) == []


def test_another_policy_does_not_pay_for_what_the_device_kept() -> None:
    rule = policy(share=None, bytes_per_s=300.0)
    log = lived(steps(100), [(rule, 100, None)])
    dear = [
        msgspec.structs.replace(each, unit=msgspec.structs.replace(each.unit, booked_bytes=10**9))
        for each in log.judged
    ]
    spent = SpoolLog("spool", dear, log.policies)
    assert sum(each.decision.kept for each in decided_again(spent)) <= 1
    other = policy(share=None, bytes_per_s=301.0)
    assert sum(each.decision.kept for each in decided_again(spent, other)) > 5
