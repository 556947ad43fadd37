"""Triggers: what opens and closes episodes, in captured time alone; and the words and keys of a person."""

import threading
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import cv2
import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.agents.agent import Agent
from sensorium.agents.device_file import check_device
from sensorium.agents.recording.encode import EncoderPool
from sensorium.agents.recording.recorder import Recorder
from sensorium.agents.spool.spool import Spool
from sensorium.agents.triggers.events import EventSpans
from sensorium.agents.triggers.expression import ExpressionConfig
from sensorium.agents.triggers.motion import MotionConfig
from sensorium.agents.triggers.source import SourceConfig
from sensorium.agents.triggers.trigger import FOREVER_NS, Placement, Trigger
from sensorium.drivers.marks import EpisodeBegin, EpisodeEnd
from sensorium.drivers.stream import Block, StreamSpec
from sensorium.episode.account import Tally
from sensorium.episode.documents import Account, Note, Open, Seal
from sensorium.errors import ConfigError
from tests.agents.building import add, manifest, records

SECOND = 10**9
CHANNELS = ("gx", "gy", "gz", "ax", "ay", "az")
IMU = StreamSpec(name="imu", modality="imu", dtype="float64", shape=(6,), rate_hz=100.0, channels=CHANNELS)
CAM = StreamSpec(name="cam", modality="camera", dtype="uint8", shape=(4, 6), rate_hz=10.0)


class Cut(NamedTuple):
    """One episode as it is in the spool."""

    start_ns: int
    end_ns: int
    rows: dict[str, int]
    account: dict[str, Account]
    between: dict[str, Account]
    outcome: str
    notes: list[Any]
    labels: list[Any]


def cuts(spool: Path) -> list[Cut]:
    found = []
    for path in sorted((spool / "episodes").glob("*.episode")):
        read = [record.header for record in records(path, UUID(path.stem.partition("-")[2]))]
        opening, seal = read[0], read[-1]
        assert isinstance(opening, Open)
        assert isinstance(seal, Seal)
        end_ns = opening.end_ns if seal.end_ns is None else seal.end_ns
        notes = [header.value for header in read if isinstance(header, Note)]
        outcome = seal.summary.get("outcome", "")
        labels = [each for each in (opening.labels, seal.summary.get("labels")) if each]
        found.append(Cut(opening.start_ns, end_ns, seal.rows, seal.account, opening.between, outcome, notes, labels))
    return found


def write_imu(path: Path, moving: Callable[[int], bool], seconds: int = 10) -> dict[str, Any]:
    """A table of an IMU at 100 Hz that lies still but where `moving` says; its entry in a device file."""
    lines = ["t,gx,gy,gz,ax,ay,az"]
    lines += [f"{n / 100:.2f},0,0,{2.0 if moving(n) else 0.0},0,0,9.81" for n in range(100 * seconds)]
    path.write_text("\n".join(lines) + "\n")
    units = {channel: "rad/s" if channel[0] == "g" else "m/s^2" for channel in CHANNELS}
    channels = {name: {"column": name, "unit": unit} for name, unit in units.items()}
    stream = {"modality": "imu", "channels": channels}
    time_column = {"column": "t", "unit": "s"}
    return {"kind": "replay-csv", "path": path.name, "pace": "fast", "time": time_column, "stream": stream}


def run(folder: Path, trigger: dict[str, Any], sensors: dict[str, Any], **parts: Any) -> tuple[list[Cut], Agent]:
    document = {"device": "rig", "sensors": sensors, "trigger": trigger, "spool": {"path": "spool"}, **parts}
    agent = Agent(check_device(document, folder))
    agent.run()
    return cuts(folder / "spool"), agent


# ---- motion


def test_motion_with_pre_roll_post_roll_and_extension(tmp_path: Path) -> None:
    """Moves at 3.0 to 3.2 s, again at 4.0 s (within the post-roll: the same episode), and at 8.0 s."""
    imu = write_imu(tmp_path / "imu.csv", lambda n: 300 <= n <= 320 or n in (400, 800))
    trigger = {"kind": "motion", "stream": "imu", "gyro_above": 1.0, "pre_roll_s": 0.5, "post_roll_s": 1.0}
    (first, second), agent = run(tmp_path, trigger, {"imu": imu})
    assert (first.start_ns, first.end_ns) == (2.5 * SECOND, 5 * SECOND + 1)
    assert (second.start_ns, second.end_ns) == (7.5 * SECOND, 9 * SECOND + 1)
    assert (first.rows["imu"], second.rows["imu"]) == (251, 151)
    assert first.between["imu"].filtered == {"trigger": 250}
    assert second.between["imu"].filtered == {"trigger": 249}
    assert first.notes == [{"event": "motion", "outcome": ""}]
    totals = agent.status()["streams"]["imu"]
    assert (totals.captured, totals.stored, totals.filtered) == (1000, 402, {"trigger": 598})


def test_motion_that_lasts_is_cut_at_the_maximum_and_the_next_begins_there(tmp_path: Path) -> None:
    imu = write_imu(tmp_path / "imu.csv", lambda n: 200 <= n < 600)
    trigger = {"kind": "motion", "stream": "imu", "gyro_above": 1.0, "pre_roll_s": 1, "post_roll_s": 0.5, "max_s": 2}
    found, _ = run(tmp_path, trigger, {"imu": imu})
    borders = [(cut.start_ns / SECOND, cut.end_ns / SECOND) for cut in found]
    assert borders == [(1, 3), (3, 5), (5, pytest.approx(6.49))]
    assert sum(cut.rows["imu"] for cut in found) == 550


def test_motion_by_acceleration_and_what_it_refuses(tmp_path: Path) -> None:
    imu = write_imu(tmp_path / "imu.csv", lambda _: False)
    text = (tmp_path / "imu.csv").read_text().replace("\n5.00,0,0,0.0,0,0,9.81", "\n5.00,0,0,0.0,9,0,9.81")
    (tmp_path / "imu.csv").write_text(text)
    trigger = {"kind": "motion", "stream": "imu", "accel_above": 2.0, "pre_roll_s": 0, "post_roll_s": 0.1}
    (only,), _ = run(tmp_path, trigger, {"imu": imu})
    assert only.start_ns == 5 * SECOND
    with pytest.raises(ConfigError, match="no stream 'imuu', did you mean 'imu'"):
        MotionConfig(kind="motion", stream="imuu", gyro_above=1).start([IMU])
    with pytest.raises(ConfigError, match="'cam' has no channel gx, gy, gz; it has none"):
        MotionConfig(kind="motion", stream="cam", gyro_above=1).start([IMU, CAM])
    with pytest.raises(ConfigError, match=r"trigger: expected gyro_above \(rad/s\), accel_above"):
        check_device({"device": "a", "sensors": {"imu": imu}, "trigger": {"kind": "motion", "stream": "imu"}}, tmp_path)


def test_motion_waits_for_its_own_stream_alone() -> None:
    made = MotionConfig(kind="motion", stream="imu", gyro_above=1, pre_roll_s=0).start([IMU, CAM])
    made.passed("cam", 100)
    assert not made.place(50).decided, "the IMU may still have moved then"
    made.passed("imu", 100)
    assert made.place(50).decided
    made.ended("cam")
    assert not made.place(150).decided
    made.ended("imu")
    assert made.place(150).decided


# ---- expression


def test_an_expression_over_scores_and_channels(tmp_path: Path) -> None:
    """A film that is sharp from 2 s to 4 s, an IMU that turns from 3 s to 6 s: both hold from 3 s to 4 s."""
    noise = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    writer = cv2.VideoWriter(str(tmp_path / "film.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for n in range(80):
        writer.write(noise if 20 <= n < 40 else cv2.GaussianBlur(noise, (0, 0), 5))
    writer.release()
    sensors = {
        "imu": write_imu(tmp_path / "imu.csv", lambda n: 300 <= n < 600, 8),
        "cam": {"kind": "camera", "source": "film.avi", "pace": "fast"},
    }
    trigger = {"kind": "expression", "when": "cam.sharpness > 100 and imu.gyro > 0.5", "pre_roll_s": 0.5}
    trigger["post_roll_s"] = 0.25
    filters = {"cam": [{"kind": "sharpness", "percentile": 0}]}
    (only,), _ = run(tmp_path, trigger, sensors, filters=filters)
    # the last sharp frame, of 3.9 s, is the camera's value until the next, of 4.0 s
    assert only.start_ns == 2.5 * SECOND
    assert only.end_ns == (3.99 + 0.25) * SECOND + 1
    assert only.rows == {"imu": 175, "cam": 18}


def expression(when: str, *specs: StreamSpec, **rolls: float) -> Trigger:
    made = ExpressionConfig.model_validate({"kind": "expression", "when": when, "pre_roll_s": 0, **rolls})
    return made.start(specs or (IMU, CAM))


def scored(stamps: list[int], values: list[float]) -> Block:
    data = np.zeros((len(stamps), *CAM.shape), np.uint8)
    return Block("cam", np.array(stamps, np.int64), data, scores={"sharpness": np.array(values)})


def turning(stamps: list[int], gz: float) -> Block:
    data = np.zeros((len(stamps), 6))
    data[:, 2] = gz
    return Block("imu", np.array(stamps, np.int64), data)


def show(trigger: Trigger, *blocks: Block) -> None:
    for block in blocks:
        trigger.observe(block)
        trigger.passed(block.stream, int(block.captured_ns[-1]))


def test_a_value_is_null_before_the_first_sample() -> None:
    late = expression("cam.sharpness > 1 or imu.gz > 1")
    show(late, turning([1, 2, 3], 5.0))  # NULL or true is true, once the camera has passed it
    show(late, scored([10], [0.0]))
    assert late.place(1).span is not None
    never = expression("cam.sharpness < 100")
    show(never, turning([1, 2, 3], 0.0), scored([10], [500.0]), scored([20], [500.0]))
    assert never.place(3).span is None
    null = expression("cam.sharpness is null and imu.gz > 1", post_roll_s=1e-9)
    show(null, turning([1, 2, 3], 5.0), scored([10], [500.0]), turning([11, 12], 5.0), scored([20], [0.0]))
    assert null.place(3).span is not None
    assert null.place(12).span is None


def test_names_that_are_wrong(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ConfigError, match=r"trigger\.when: 'imus\.gx' names no stream, did you mean 'imu'"):
        expression("imus.gx > 1")
    with pytest.raises(ConfigError, match="depends on no stream"):
        expression("1 > 0")
    misspelt = expression("imu.gxx > 1")
    show(misspelt, turning([1], 0.0), turning([2], 0.0))
    (line,) = [record.getMessage() for record in caplog.records]
    assert "'imu.gxx' stays NULL" in line
    assert "did you mean 'gx'" in line
    with pytest.raises(ConfigError, match=r"trigger\.when: .* asks by has\(\) for a stream"):
        expression("has('imu')")


def test_names_that_nobody_sets_are_refused_where_filters_say_which_they_set() -> None:
    def check(when: str, **scores: Collection[str] | None) -> None:
        config = ExpressionConfig.model_validate({"kind": "expression", "when": when})
        config.check_scores((IMU, CAM), {"imu": (), "cam": (), **scores})

    check("imu.gx > 1 and imu.gyro > 1 and cam.sharpness > 1", cam={"sharpness"})
    check("cam.sharpnes > 1", cam=None)  # who knows
    with pytest.raises(ConfigError, match=r"trigger\.when: stream 'cam' has no 'sharpnes', did you mean 'sharpness'"):
        check("imu.gx > 1 and cam.sharpnes > 1", cam={"sharpness"})
    with pytest.raises(ConfigError, match="stream 'imu' has no 'gxx', did you mean 'gx'"):
        check("imu.gxx > 1")


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_what_is_true_does_not_depend_on_which_stream_comes_first(data: st.DataObject) -> None:
    """Blocks of two streams, interleaved in any way that keeps each one's order: the same spans."""
    rows = [turning([n, n + 3], data.draw(st.sampled_from([0.0, 2.0]))) for n in range(0, 60, 6)]
    frames = [scored([n], [data.draw(st.sampled_from([0.0, 50.0]))]) for n in range(0, 60, 7)]
    found = set()
    for _ in range(2):
        order = data.draw(st.permutations([0] * len(rows) + [1] * len(frames)))
        made = expression("imu.gz > 1 and cam.sharpness > 10", pre_roll_s=2e-9, post_roll_s=3e-9)
        feeds = iter(rows), iter(frames)
        show(made, *(next(feeds[which]) for which in order))
        made.ended("imu")
        made.ended("cam")
        spans = [made.place(stamp).span for stamp in range(70)]
        found.add(tuple(span and (span.start_ns, span.end_ns) for span in spans))
    assert len(found) == 1


def test_a_stream_of_which_filters_leave_nothing_does_not_hold_up_the_rest(tmp_path: Path) -> None:
    pool, spool = EncoderPool(), Spool(tmp_path / "spool", "rig")
    try:
        trigger = expression("cam.sharpness > 100 or imu.gz > 1", post_roll_s=0.1)
        recorder = Recorder(spool, trigger, manifest(IMU, CAM, spool_id=spool.spool_id), pool=pool, grace_ns=None)
        for n in range(20):
            start_ns = n * SECOND // 10
            recorder.account.enter("cam", 1)
            recorder.add("cam", None, Tally(filtered={"duplicate": 1}), (start_ns, start_ns))
            rows = [start_ns + k * 10_000_000 for k in range(10)]
            add(recorder, turning(rows, 5.0 if n == 10 else 0.0))
        assert len(recorder.sealed) == 1
        recorder.stop()
    finally:
        spool.close()
        pool.close()


def test_a_stream_that_comes_back_claims_nothing_that_was_decided() -> None:
    spans = EventSpans(pre_roll_ns=100, post_roll_ns=5, max_ns=1000)
    spans.advance(FOREVER_NS)  # the stream that decides has ended
    assert spans.place(990).decided, "it is in none"
    spans.fire(1000)  # it is back
    spans.advance(1010)
    span = spans.place(1000).span
    assert span is not None
    assert span.start_ns == 1000
    spans.fire(1300)
    spans.advance(1300)
    later = spans.place(1300).span
    assert later is not None
    assert later.start_ns == 1200, "and later events have their pre-roll again"


def test_an_event_in_time_that_was_decided_keeps_nothing_of_it() -> None:
    spans = EventSpans(pre_roll_ns=0, post_roll_ns=5, max_ns=1000)
    spans.advance(100)
    assert spans.place(99).decided, "it is in none"
    spans.fire(50)  # of a stream that had ended, and is back with what others have passed
    before = spans.current
    assert before is None
    spans.fire(97)
    assert spans.current is not None
    assert (spans.current.start_ns, spans.current.end_ns) == (100, 103)


def test_while_the_stream_that_decides_has_ended_only_what_was_seen_is_decided() -> None:
    made = MotionConfig(kind="motion", stream="imu", gyro_above=1, pre_roll_s=0).start([IMU, CAM])
    show(made, turning([10], 0.0))
    made.ended("imu")
    made.passed("cam", 50)
    assert made.place(20) == Placement(51), "all that came so far, and no more"
    show(made, turning([40, 60], 5.0))  # it is back
    assert made.place(60).span is not None
    assert made.place(50).span is None


# ---- pace


@pytest.mark.parametrize(
    "trigger",
    [
        {"kind": "motion", "stream": "rig.imu0", "gyro_above": 0.18, "pre_roll_s": 0.1, "post_roll_s": 0.05},
        {"kind": "expression", "when": "rig.imu0.gyro > 0.15 and rig.cam0.sharpness > 350", "post_roll_s": 0.05},
    ],
    ids=["motion", "expression"],
)
def test_a_replay_at_any_pace_cuts_the_same_episodes(trigger: dict[str, Any], recordings: Path, tmp_path: Path) -> None:
    found = []
    for pace in ("fast", 20):
        folder = tmp_path / str(pace)
        folder.mkdir()
        rig = {"kind": "replay-euroc", "path": str(recordings / "euroc/mav0"), "pace": pace}
        filters = {"rig.cam0": [{"kind": "sharpness", "percentile": 0}]}
        made, _ = run(folder, {"pre_roll_s": 0.2, **trigger}, {"rig": rig}, filters=filters)
        found.append([(cut.start_ns, cut.end_ns, cut.rows) for cut in made])
    assert found[0] == found[1]
    assert len(found[0]) >= 2
    assert all(second[0] >= first[1] for first, second in zip(found[0], found[0][1:], strict=False))


# ---- manual: words


def sim(**changes: Any) -> dict[str, Any]:
    """A world that goes on until it is stopped."""
    return {"kind": "sim-planar", "pace": 1.0, "size": [64, 48], "camera_hz": 20, "imu_hz": 100, **changes}


def until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


@pytest.fixture
def working(tmp_path: Path) -> Iterator[Agent]:
    """An agent with the trigger `manual`, collecting in a thread."""
    document = {
        "device": "rig",
        "sensors": {"sim": sim()},
        "trigger": {"kind": "manual", "pre_roll_s": 0.2},
        "spool": {"path": "spool"},
        "mission": {"labels": {"operator": "ada", "tries": 1}},
    }
    agent = Agent(check_device(document, tmp_path))
    thread = threading.Thread(target=agent.run)
    thread.start()
    yield agent
    agent.stop()
    thread.join()


def captured(agent: Agent) -> int:
    streams = agent.status()["streams"]
    return streams["sim.imu"].captured if streams else 0


def test_words_open_close_judge_and_discard(working: Agent, tmp_path: Path) -> None:
    def go_on(rows: int = 40) -> None:
        seen = captured(working)
        until(lambda: captured(working) >= seen + rows, "samples")

    go_on()
    working.open_episode()
    until(lambda: working.status()["episodes"] == 1, "an episode opens")
    working.open_episode()  # it is open
    go_on()
    with pytest.raises(ValueError, match="expected text, a finite number"):
        working.close_episode(labels={"mass": float("nan")})
    working.close_episode(outcome="success", labels={"tries": 2, "task": "pick"})
    go_on()
    working.command("toggle")
    until(lambda: working.status()["episodes"] == 2, "the second opens")
    go_on()
    working.command("discard")
    go_on()
    working.close_episode()  # nothing is open
    working.command("toggle")
    until(lambda: working.status()["episodes"] == 3, "the third opens")
    go_on()
    working.stop()
    until(lambda: working.status()["state"] == "done", "the end")

    first, third = cuts(tmp_path / "spool")
    assert (first.outcome, third.outcome) == ("success", "")
    said = {"tries": 2, "task": "pick"}
    assert first.notes == [{"event": "manual", "outcome": "success", "labels": said}]
    assert (first.labels, third.labels) == ([{"operator": "ada", "tries": 1}, said], [{"operator": "ada", "tries": 1}])
    assert first.rows["sim.imu"] >= 40 + 19, "what came while it was open, and the pre-roll"
    assert first.end_ns <= third.start_ns
    assert third.between["sim.imu"].filtered["discarded"] >= 40
    totals = working.status()["streams"]["sim.imu"]
    assert totals.captured == totals.stored + sum(totals.filtered.values())
    ordinals = working.status()["ordinals"]
    assert (ordinals["pending"], ordinals["discarded"]) == (2, 1)


def test_a_word_to_a_trigger_that_takes_none_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    document = {"device": "rig", "sensors": {"sim": sim(pace="fast", duration_s=1)}}
    agent = Agent(check_device(document | {"trigger": {"kind": "interval", "length_s": 1}}, tmp_path))
    agent.open_episode()
    agent.run()
    assert "open: this trigger takes no commands; use `trigger: {kind: manual}`" in caplog.text


# ---- source: what its sensor marks (how it cuts a recording is in test_triggers_conform.py)


def test_an_episode_that_was_told_to_last_longer_than_its_source_is_not_cut_by_later_marks() -> None:
    made = SourceConfig(kind="source", sensor="imu").start([IMU, CAM])
    for mark in (EpisodeBegin(0), EpisodeEnd(100, "success")):
        assert made.mark("imu", mark)
    made.passed("imu", 50)
    made.ended("imu")  # and is back
    for mark in (EpisodeBegin(70), EpisodeEnd(80, "failure")):
        made.mark("imu", mark)
    made.passed("imu", 120)
    (span,) = {made.place(stamp).span for stamp in (0, 50, 75, 85, 99)}
    assert span is not None
    assert (span.start_ns, span.end_ns, span.outcome) == (0, 100, "success")
    assert made.place(100).span is None


def test_marks_that_come_late_take_back_nothing(caplog: pytest.LogCaptureFixture) -> None:
    made = SourceConfig(kind="source").start([IMU])
    made.passed("imu", 50)
    assert made.place(50) == Placement(51)
    made.mark("imu", EpisodeBegin(20))
    made.passed("imu", 60)
    assert made.place(50).span is None
    span = made.place(51).span
    assert span is not None
    made.mark("imu", EpisodeEnd(55))
    made.passed("imu", 70)
    assert (span.start_ns, span.end_ns, span.closed) == (51, 61, True)
    assert [line.split()[-3:] for line in caplog.messages] == [["31", "ns", "late"], ["6", "ns", "late"]]


def test_a_sensor_that_marks_has_come_as_far_as_its_furthest_stream_and_others_are_waited_for() -> None:
    named = [msgspec.structs.replace(IMU, name=name) for name in ("env.obs", "env.final", "arm")]
    made = SourceConfig(kind="source").start(named)
    made.passed("env.obs", 50)
    assert not made.place(50).decided  # nobody knows yet that they are of one sensor
    made.mark("env", EpisodeBegin(60))
    made.passed("env.obs", 90)
    made.passed("arm", 70)
    assert made.place(65).span is not None
    assert not made.place(71).decided  # the arm may mark there
    made.passed("arm", 95)
    assert made.place(90).span is made.place(65).span
    assert not made.place(91).decided


def test_a_source_whose_clock_is_set_back_begins_anew() -> None:
    made = SourceConfig(kind="source").start([IMU])
    made.mark("imu", EpisodeBegin(1000))
    made.passed("imu", 1100)
    span = made.place(1050).span
    assert span is not None
    made.reset()
    assert span.closed
    made.passed("imu", 10)
    assert made.place(5).span is None
    assert not made.place(11).decided


def test_only_the_named_sensor_is_heeded_and_only_so_many_marks_wait(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("sensorium.agents.triggers.source.MAX_WAITING", 2)
    made = SourceConfig(kind="source", sensor="imu").start([IMU, CAM])
    assert not made.mark("cam", EpisodeBegin(0))
    for mark in (EpisodeBegin(10), EpisodeEnd(20), EpisodeBegin(30)):
        assert made.mark("imu", mark)
    assert "over 2 marks of sensor 'imu'" in caplog.text
    made.passed("imu", 100)
    assert [made.place(stamp).span is not None for stamp in (10, 19, 20, 30, 99)] == [True, True, False, False, False]
    with pytest.raises(ConfigError, match=r"trigger\.sensor: no sensor 'imuu', did you mean 'imu'\?"):
        SourceConfig(kind="source", sensor="imuu").start([IMU, CAM])
