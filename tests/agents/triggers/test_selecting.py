"""What selection keeps reaches the disk, what it drops never the encoders, and every sample has a fate."""

import logging
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sensorium.agents.recording import episode_writer
from sensorium.agents.recording.encode import EncoderPool
from sensorium.agents.selection.replay import SpoolLog, decided_again, differing
from sensorium.agents.triggers import stretches
from sensorium.drivers.clock import SECOND_NS
from sensorium.drivers.stream import Block, StreamSpec
from sensorium.episode.unit import Unit
from tests.agents.building import manifest
from tests.agents.recording.test_recorder import reopened
from tests.agents.selecting import CAM, IMU, Device, balanced, config, frames, rows, undescribed, walk

ALL = {"always": ("cam.noise >= 0",), "share": 1.0, "floor": 0.0}


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many frames were given to the encoders, each time."""
    counted: list[int] = []
    submit = EncoderPool.submit

    def counting(self: EncoderPool, encode: Any, content: Any) -> Any:
        counted.append(len(content))
        return submit(self, encode, content)

    monkeypatch.setattr(EncoderPool, "submit", counting)
    return counted


def test_what_is_dropped_is_never_encoded(tmp_path: Path, encoded: list[int]) -> None:
    device = Device(tmp_path, config(share=0.1)).feed(walk(100)).stop()
    kept = 5 * len(device.kept())
    assert 0 < kept < 150
    assert sum(encoded) == kept
    assert balanced(device, lambda _: 500)["cam"] == {
        f"selection.{reason}": 5 * sum(each.decision.reason == reason for each in device.judged)
        for reason in {each.decision.reason for each in device.judged if not each.decision.kept}
    }
    files = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    pictures = {place: frames(0, 1, place).data.tobytes() for place in range(64)}
    seen = {place for place, picture in pictures.items() if picture in files}
    assert len(seen) <= len(device.kept()), "a picture that was not kept is on disk"


def test_kept_neighbours_are_one_episode_that_says_why(tmp_path: Path) -> None:
    wanted = config(share=1.0, floor=0.0, always=("cam.wish = 1",))
    wishes = [2, 3, 4, 7]
    device = Device(tmp_path, wanted).feed([frames(s * SECOND_NS, 5, wish=float(s in wishes)) for s in range(10)])
    device.stop()
    found = reopened(tmp_path)
    assert [(each.start_ns // SECOND_NS, each.end_ns // SECOND_NS) for each in found] == [(0, 1), (2, 5), (7, 8)]
    assert [note.name for each in found for note in each.notes] == ["novelty", *["always"] * 4]
    value = found[1].notes[0].value
    assert value["by"] == "cam.wish = 1"
    assert found[1].notes[0].start_ns == 2 * SECOND_NS
    assert len(found[1].stamps["cam"]) == 15


def test_an_episode_is_cut_before_its_notes_are_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert 2 * stretches.MOST_NOTES <= episode_writer.MAX_NOTE_BYTES
    monkeypatch.setattr(stretches, "MOST_NOTES", 1500)
    Device(tmp_path, config(**ALL)).feed([frames(s * SECOND_NS, 5) for s in range(20)]).stop()
    found = reopened(tmp_path)
    assert len(found) == 4
    assert [note.start_ns for each in found for note in each.notes] == [s * SECOND_NS for s in range(20)]
    assert sum(len(each.stamps["cam"]) for each in found) == 100


def test_an_episode_that_a_kill_cut_says_why_it_was_kept(tmp_path: Path) -> None:
    device = Device(tmp_path, config(**ALL)).feed([frames(s * SECOND_NS, 5) for s in range(10)])
    device.pool.close()  # all is encoded, and
    device.recorder.tick(None)  # written
    device.spool.close()
    (found,) = reopened(tmp_path)
    assert found.seal.reason == "interrupted"
    samples = len(found.stamps["cam"])
    assert samples > 10
    units = -(-samples // 5)  # what was being encoded as the kill came is not there, though its unit may have its note
    assert [note.start_ns for note in found.notes][:units] == [s * SECOND_NS for s in range(units)]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_the_ceiling_holds_for_real_bytes_of_sealed_episodes(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever is seen and wished, in no stretch is more sealed than it brought and the burst."""
    rate = data.draw(st.sampled_from([0.0, 200.0, 1000.0, 5000.0]), "rate")
    burst_s = data.draw(st.sampled_from([20.0, 60.0]), "burst_s")
    rolls = {name: data.draw(st.sampled_from([0.0, 2.0]), name) for name in ("pre_roll_s", "post_roll_s")}
    stretch = st.tuples(st.integers(1, 15), st.integers(0, 63), st.sampled_from([0.0, 1.0]), st.integers(0, 3))
    wanted = config(bytes_per_s=rate, burst_s=burst_s, always=("cam.wish = 1",), **rolls)
    drawn = data.draw(st.lists(stretch, max_size=8), "stretches")
    device = Device(tmp_path_factory.mktemp("spool"), wanted)
    at_s = 0
    for count, place, wish, gap in drawn:
        for _ in range(count):
            device.feed([frames(at_s * SECOND_NS, 5, (place + (at_s if wish else 0)) % 64, wish=wish)])
            at_s += 1
        at_s += gap
    device.stop()
    sealed = reopened(device.spool.path)
    for first in range(len(sealed)):
        spent = 0
        for each, size in [*zip(sealed, device.sizes(), strict=True)][first:]:
            spent += size
            assert spent <= rate * ((each.end_ns - sealed[first].start_ns) / SECOND_NS + burst_s) + 1
    balanced(device, lambda _: sum(5 for _ in device.judged))


def test_where_a_unit_takes_more_than_the_budget_ever_holds_that_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    device = Device(tmp_path, config(bytes_per_s=10.0, always=("cam.noise >= 0",)))
    device.feed([frames(s * SECOND_NS, 5) for s in range(10)]).stop()
    assert device.kept() == []
    (line,) = [record.getMessage() for record in caplog.records if "none such is kept" in record.getMessage()]
    assert line.startswith("selection: bytes_per_s adds up to 0.0006 MB in burst_s 60, and a unit is expected to take")


# -- bad input ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["noise", "frozen", "exposure_mean", "exposure_clipped"])
def test_a_camera_that_shows_nothing_is_gated(name: str, tmp_path: Path, encoded: list[int]) -> None:
    value = {"noise": 19.0, "frozen": 7.0, "exposure_mean": 0.001, "exposure_clipped": 1.0}[name]
    bad = [replace(frames(s * SECOND_NS, 5, s), scores={name: np.full(5, value)}) for s in range(30)]
    device = Device(tmp_path, config(share=1.0)).feed(bad).stop()
    assert {each.decision.reason for each in device.judged} == {"never"}
    assert {each.unit.gate for each in device.judged} == {name.partition("_")[0]}
    assert all(each.unit.gates == {"cam": each.unit.gate} for each in device.judged)
    assert all(not each.looks and each.decision.p == 0 for each in device.judged)
    assert balanced(device, lambda _: 150) == {"cam": {"selection.never": 150}}
    assert not encoded


def test_a_gate_that_closes_on_some_leaves_what_the_others_show(tmp_path: Path) -> None:
    noisy = frames(0, 5, 3)
    noisy.scores["noise"][:3] = 19.0
    device = Device(tmp_path, config(share=1.0)).feed([noisy]).stop()
    (judged,) = device.judged
    assert (judged.unit.gate, judged.unit.gates) == ("", {"cam": ""})
    alone = frames(0, 5, 3).between(3, 5)
    assert alone.described is not None
    numbers = np.frombuffer(judged.looks["cam"].vector, np.int8).astype(float)
    for vector in alone.described.vectors.astype(float):
        assert numbers @ vector / np.linalg.norm(numbers) / np.linalg.norm(vector) > 0.98


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_scores_that_are_no_numbers_are_absent(value: float, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    wanted = config(share=1.0, floor=0.0, always=("cam.wish > 0",), never=("cam.noise > 1e6",))
    device = Device(tmp_path, wanted).feed([frames(s * SECOND_NS, 5, wish=value, noise=value) for s in range(20)])
    device.stop()
    reasons = {each.decision.reason for each in device.judged}
    assert "cam.wish" not in device.judged[0].unit.scores
    assert reasons <= ({"novelty", "dull"} if math.isnan(value) else {"novelty", "dull", "never"})
    said = [record.getMessage() for record in caplog.records if "infinite" in record.getMessage()]
    names = ["noise", "wish"] if math.isinf(value) else []
    assert said == [f"selection: score 'cam.{name}' is infinite; it counts as absent where it is" for name in names]
    balanced(device, lambda _: 100)


def test_an_encoder_that_fails_leaves_streams_without_novelty(tmp_path: Path) -> None:
    blocks = [*walk(20), *map(undescribed, walk(40)[20:]), *walk(60)[40:]]
    device = Device(tmp_path, config(share=0.5, always=("cam.wish = 1",))).feed(blocks).stop()
    blind = device.judged[20:40]
    assert all(each.unit.novelty == {} and each.looks == {} for each in blind)
    assert {each.decision.reason for each in blind} <= {"dull", "floor"}
    assert len(device.judged) == 60
    balanced(device, lambda _: 300)


def test_a_clock_reset_in_the_middle_of_a_unit(tmp_path: Path) -> None:
    wanted = config(**ALL)
    device = Device(tmp_path, wanted).feed([frames(100 * SECOND_NS, 7), frames(3 * SECOND_NS, 7)]).stop()
    units = [(each.unit.boot, each.unit.start_ns, each.unit.end_ns) for each in device.judged]
    step = SECOND_NS // 5
    assert units == [
        ("boot", 100 * SECOND_NS, 101 * SECOND_NS),
        ("boot", 101 * SECOND_NS, 101 * SECOND_NS + 2 * step),
        ("boot#1", 3 * SECOND_NS, 4 * SECOND_NS),
        ("boot#1", 4 * SECOND_NS, 4 * SECOND_NS + 2 * step),
    ]
    found = reopened(tmp_path)
    assert sum(len(each.stamps["cam"]) for each in found) == 14
    balanced(device, lambda _: 14)


def test_a_unit_longer_than_the_gap_between_samples_and_one_shorter(tmp_path: Path) -> None:
    slow = [frames(s * SECOND_NS, 1, s, step_ns=SECOND_NS) for s in range(0, 30, 3)]
    device = Device(tmp_path, config(share=1.0, floor=0.0, always=("cam.noise >= 0",))).feed(slow).stop()
    assert device.kept() == [(s, s + 1) for s in range(0, 30, 3)]
    balanced(device, lambda _: 10)
    device = Device(tmp_path / "long", config(unit_s=20.0, share=1.0, floor=0.0, always=("cam.noise >= 0",)))
    device.feed([frames(s * SECOND_NS, 5) for s in range(30)]).stop()
    assert device.kept() == [(0, 20), (20, 30)]


@pytest.mark.parametrize("budget", [{"share": 0.0}, {"bytes_per_s": 0.0}, {"bytes_per_day": 0.0}])
def test_a_budget_of_nothing_keeps_only_what_is_told(
    budget: dict[str, float], tmp_path: Path, encoded: list[int]
) -> None:
    device = Device(tmp_path, config(**budget, always=("cam.noise >= 0",))).feed(walk(30)).stop()
    assert [each.decision.reason for each in device.judged] == ["budget"] * 30
    assert balanced(device, lambda _: 150) == {"cam": {"selection.budget": 150}}
    assert not encoded


def test_a_budget_of_more_than_the_stream_keeps_what_is_wanted(tmp_path: Path) -> None:
    device = Device(tmp_path, config(bytes_per_s=1e12, always=("cam.noise >= 0",))).feed(walk(30)).stop()
    assert all(each.decision.kept for each in device.judged)
    assert balanced(device, lambda _: 150) == {"cam": {}}


def test_units_of_single_frames_do_without_where_there_are_none(tmp_path: Path) -> None:
    wanted = config(unit="frame", share=1.0, floor=0.0, streams={"cam": 1.0, "imu": 1.0}, always=("cam.noise >= 0",))
    device = Device(tmp_path, wanted, (CAM, IMU))
    step = SECOND_NS // 5
    for number in range(15):
        if not 5 <= number < 12:  # the camera delivers nothing for 1.4 s, and is not away
            device.feed([frames(number * step, 1)])
        device.feed([rows(number * step, 4)])
    device.stop()
    lengths = [(each.unit.end_ns - each.unit.start_ns) / SECOND_NS for each in device.judged]
    assert max(lengths) <= 1.0
    starts = [each.unit.start_ns for each in device.judged if "cam.noise" in each.unit.scores]
    assert starts == [(number + 1) * step - 1 for number in range(15) if not 5 <= number < 12]
    balanced(device, lambda name: 8 if name == "cam" else 60)


# -- who is there ------------------------------------------------------------------------------------------------------


def test_a_sensor_that_is_away_is_not_waited_for_and_is_judged_when_it_is_back(tmp_path: Path) -> None:
    device = Device(tmp_path, config(share=1.0, floor=0.0, always=("imu.stuck >= 0",)), (CAM, IMU))
    for s in range(30):
        if s == 10:
            device.recorder.sensor_away("cam")
        if s == 20:
            device.recorder.sensor_back("cam")
        if not 10 <= s < 20:
            device.feed([frames(s * SECOND_NS, 5)])
        device.feed([rows(s * SECOND_NS, 20)])
        if 10 <= s < 20:
            assert len(device.judged) >= s - 2
    device.stop()
    assert ["cam.noise" in each.unit.scores for each in device.judged] == [True] * 10 + [False] * 10 + [True] * 10
    assert all(account.balances for account in device.recorder.account.totals().values())


def test_a_stream_that_falls_silent_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    device = Device(tmp_path, config(share=1.0, floor=0.0, always=("imu.stuck >= 0",)), (CAM, IMU))
    device.feed([frames(0, 5), *(rows(s * SECOND_NS, 20) for s in range(30))])
    assert len(device.judged) > 25
    device.stop()
    balanced(device, lambda name: 5 if name == "cam" else 600)


def test_a_stream_that_is_not_judged_shares_the_fate_of_its_time(tmp_path: Path) -> None:
    wanted = config(share=1.0, floor=0.0, streams={"cam": 1.0}, always=("cam.wish = 1",))
    device = Device(tmp_path, wanted, (CAM, IMU))
    device.feed([frames(s * SECOND_NS, 5, wish=float(s % 2)) for s in range(6)])
    device.feed([rows(s * SECOND_NS, 20) for s in range(6)])  # all of it late
    device.stop()
    left = balanced(device, lambda name: 30 if name == "cam" else 120)
    assert {rule: 4 * n for rule, n in left["cam"].items()} == left["imu"]
    found = reopened(tmp_path)
    for each in found:
        assert len(each.stamps["imu"]) == 4 * len(each.stamps["cam"])


# -- plans -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["always", "campaign"])
def test_what_a_plan_causes_is_kept_where_it_is_asked_for_whatever_it_looks_like(by: str, tmp_path: Path) -> None:
    asked = "selection.planned > 0"
    campaign = {"name": "planned", "where": asked, "budget": {"share": 1.0}}
    more: dict[str, Any] = {"always": (asked,)} if by == "always" else {"campaigns": (campaign,)}
    wanted = config(share=0.5, floor=0.0, **more)
    device = Device(tmp_path, wanted)
    for s in range(12):
        if s == 6:
            device.trigger.cause(6 * SECOND_NS + SECOND_NS // 2, "proposal")
            device.trigger.cause(8 * SECOND_NS, "")
        device.feed([frames(s * SECOND_NS, 5)])
    device.stop()
    planned = {each.unit.start_ns // SECOND_NS: each.unit.scores.get("selection.planned") for each in device.judged}
    assert {second: share for second, share in planned.items() if share is not None} == {6: 0.5, 7: 1.0}
    reasons = {each.unit.start_ns // SECOND_NS: each.decision.reason for each in device.judged}
    assert {second for second, reason in reasons.items() if reason == by} == {6, 7}
    assert set(device.kept()) == {(0, 1), (6, 7), (7, 8)}
    record = SpoolLog("spool", device.judged, {wanted.policy.version: wanted.policy})
    assert differing(record, decided_again(record)) == []


def test_what_was_said_of_plans_is_void_once_the_clock_is_set_back(tmp_path: Path) -> None:
    device = Device(tmp_path, config(share=0.5, always=("selection.planned > 0",)))
    device.trigger.cause(SECOND_NS, "proposal")
    device.feed([frames(s * SECOND_NS, 5) for s in range(3)])
    device.feed([frames(-1000 * SECOND_NS + s * SECOND_NS, 5) for s in range(3)])
    device.stop()
    assert [each.unit.scores.get("selection.planned") for each in device.judged] == [None, 1, 1, None, None, None]


# -- what waits --------------------------------------------------------------------------------------------------------


def test_more_than_may_wait_shortens_rolls_then_judges_early(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, encoded: list[int]
) -> None:
    large = StreamSpec(name="cam", modality="image", dtype="uint8", shape=(500, 500), rate_hz=5.0)
    wanted = config(max_waiting_bytes=2 << 20, pre_roll_s=5.0, share=0.3, streams={"cam": 1.0, "imu": 1.0})
    device = Device(tmp_path, wanted, (large, IMU))

    def pictures(s: int) -> Block:
        small = frames(s * SECOND_NS, 5, s % 64)
        return replace(small, content=np.zeros((5, 500, 500), np.uint8))

    device.feed([rows(0, 20)])
    for s in range(9):
        device.feed([pictures(s)])
        assert device.trigger._waiting.bytes.total <= (2 << 20) + 5 * 250_000
    device.feed([rows(s * SECOND_NS, 20) for s in range(1, 9)])
    device.stop()
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert any("a pre-roll is shortened" in line for line in said)
    assert any("a unit is judged early" in line for line in said)
    assert any(each.unit.scores.get("selection.early") == 1.0 for each in device.judged)
    balanced(device, lambda name: 45 if name == "cam" else 180)


@pytest.mark.parametrize("cause", ["no room", "away"])
def test_a_pre_roll_that_was_shortened_is_in_the_log_and_a_replay_has_it_so(cause: str, tmp_path: Path) -> None:
    large = StreamSpec(name="cam", modality="image", dtype="uint8", shape=(300, 300), rate_hz=5.0)
    wanted = config(max_waiting_bytes=2 << 20, pre_roll_s=20.0 if cause == "no room" else 3.0, share=0.9, floor=0.0)
    device = Device(tmp_path, wanted, (large,))
    for s in range(40):
        small = frames(s * SECOND_NS, 5, s // 7 % 64)
        device.feed([replace(small, content=np.zeros((5, 300, 300), np.uint8))])
        if cause == "away" and s % 7 == 6:
            device.recorder.sensor_away("cam")
    device.stop()
    shortened = [bool(each.unit.scores.get("selection.shortened")) for each in device.judged]
    assert 0 < sum(shortened) < 40
    assert any(each.decision.reason == "roll" for each in device.judged) == (cause == "no room")
    record = SpoolLog("spool", device.judged, {wanted.policy.version: wanted.policy})
    assert differing(record, decided_again(record)) == []
    told = [msgspec.structs.replace(each, unit=_unmarked(each.unit)) for each in device.judged]
    record = SpoolLog("spool", told, record.policies)
    assert differing(record, decided_again(record)) != [], "without a word it would be decided otherwise"


def _unmarked(unit: Unit) -> Unit:
    scores = {name: value for name, value in unit.scores.items() if name != "selection.shortened"}
    return msgspec.structs.replace(unit, scores=scores)


def test_a_sensor_that_comes_late_is_judged_from_then_on(tmp_path: Path) -> None:
    """Its unit is waited for, its samples share the fate of their time, and each has one."""
    device = Device(tmp_path, config(share=1.0, floor=0.0, always=("cam.noise >= 0",)))
    device.feed([frames(s * SECOND_NS, 5, s) for s in range(5)])
    (late,) = manifest(IMU).streams
    device.recorder.join([late], {}, 5 * SECOND_NS, 5 * SECOND_NS)
    device.trigger.join([late])
    for s in range(5, 10):
        device.feed([frames(s * SECOND_NS, 5, s), rows(s * SECOND_NS, 20)])
    device.stop()
    assert len(device.judged) == 10
    assert ["imu.stuck" in each.unit.scores for each in device.judged] == [False] * 5 + [True] * 5
    balanced(device, lambda name: 50 if name == "cam" else 100)


def test_a_camera_that_flickers_is_judged_and_a_rule_can_drop_it(tmp_path: Path) -> None:
    """It is no gate; of a unit the worst of its samples counts, and is in the log."""
    shown = [frames(s * SECOND_NS, 5, s) for s in range(20)]
    flickers = {"flicker": np.array([0.0, 0.0, 0.9, 0.0, 0.0])}
    shown[10:] = [replace(block, scores={**block.scores, **flickers}) for block in shown[10:]]
    rule = config(share=1.0, floor=0.0, never=("cam.flicker > 0.5",), always=("cam.noise >= 0",))
    device = Device(tmp_path, rule).feed(shown).stop()
    assert [each.decision.reason for each in device.judged] == ["always"] * 10 + ["never"] * 10
    assert {each.decision.by for each in device.judged[10:]} == {"cam.flicker > 0.5"}
    assert {each.unit.scores["cam.flicker"] for each in device.judged[10:]} == {0.9}
    assert balanced(device, lambda _: 100) == {"cam": {"selection.never": 50}}
