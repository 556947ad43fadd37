"""A sensor that is absent when all begins: the others are recorded, it joins when it comes, or it alone is refused."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sensorium.agents import sensors as sensors_module
from sensorium.agents.agent import Agent
from sensorium.agents.capture import reopening
from sensorium.agents.device_file import check_device
from sensorium.episode.documents import Chunk, Open, Seal
from sensorium.errors import ConfigError, SensoriumError
from tests.agents.building import records_in
from tests.agents.running import fails, samples, started
from tests.spine.commands import wait_for
from tests.spine.odd_sensor import OddConfig


@pytest.fixture(autouse=True)
def _again(monkeypatch: pytest.MonkeyPatch) -> None:
    OddConfig.opened.clear()
    monkeypatch.setattr(reopening, "FIRST_BACKOFF_S", 0.1)
    monkeypatch.setattr(reopening, "MAX_BACKOFF_S", 0.1)


ABSENT: list[list[int | str]] = [["open:raise:OSError"]] * 8
"""For most of a second."""


def odd(*lives: list[int | str], **more: Any) -> OddConfig:
    return OddConfig(kind="odd", lives=list(lives) or [[100_000]], **more)


def agent(tmp_path: Path, sensors: dict[str, Any], seconds: float | None = None, **parts: Any) -> Agent:
    document = {
        "device": "rig",
        "spool": {"path": "spool"},
        "sensors": sensors,
        "trigger": {"kind": "interval", "length_s": 0.4},
        **parts,
    }
    return Agent(check_device(document, tmp_path), seconds=seconds)


def recorded(tmp_path: Path) -> list[tuple[Open, Seal]]:
    found = []
    for path in sorted((tmp_path / "spool" / "episodes").glob("*.episode")):
        read = records_in(path)
        opening, closing = read[0].header, read[-1].header
        assert isinstance(opening, Open)
        assert isinstance(closing, Seal)
        assert all(account.balances for account in (*closing.account.values(), *opening.between.values()))
        found.append((opening, closing))
    return found


def sealed_files(tmp_path: Path) -> list[tuple[Path, Seal]]:
    paths = sorted((tmp_path / "spool" / "episodes").glob("*.episode"))
    return list(zip(paths, [seal for _, seal in recorded(tmp_path)], strict=True))


def first_stamp_ns(path: Path, stream: int) -> int:
    heads = [read.header for read in records_in(path) if isinstance(read.header, Chunk)]
    return min(int(np.frombuffer(head.captured_ns, "<i8")[0]) for head in heads if head.stream == stream)


def until(made: Agent, stream: str, n: int) -> None:
    """Run it until so many samples of a stream are stored; nothing is wrong at the end."""
    thread = started(made)
    try:
        samples(made, stream, n)
    finally:
        made.abandon()
        thread.join()
    assert made.status()["state"] == "done", made.status()["error"]


def refused(made: Agent, sensor: str) -> bool:
    return "refused" in made.status().get("absent", {}).get(sensor, "")


def stored(made: Agent) -> int:
    return sum(account.stored for account in made.status()["streams"].values())


def test_it_joins_with_the_next_episode_and_what_came_before_is_an_interval(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = agent(tmp_path, {"late": odd(*ABSENT, [100_000], streams=["a", "b"]), "good": odd()})
    until(made, "late.b", 60)
    found = recorded(tmp_path)
    streams = [[entry.spec.name for entry in opening.streams] for opening, _ in found]
    joined = streams.index(["good", "late.a", "late.b"])
    assert joined > 0
    assert streams == [["good"]] * joined + [["good", "late.a", "late.b"]] * (len(found) - joined)
    assert [opening.absent for opening, _ in found[:joined]] == [{"late": "OSError: injected"}] * joined
    assert all(opening.absent == {} for opening, _ in found[joined:])
    (missed,) = [opening.between["late.a"] for opening, _ in found if "late.a" in opening.between]
    assert missed.estimated
    assert missed.lost_interval_ns is not None
    assert missed.lost_interval_ns[0] <= found[0][0].start_ns + 400_000_000
    # It may come a little behind the moment at which the episode begins, which is made with its first sample.
    first_ns = first_stamp_ns(sorted((tmp_path / "spool" / "episodes").glob("*.episode"))[joined], stream=1)
    assert found[joined - 1][0].start_ns <= missed.lost_interval_ns[1] <= first_ns
    assert missed.captured == missed.lost.get("absent", 0), "what came before the next episode is counted, else unknown"
    assert [line for line in caplog.messages if "sensor 'late' is absent: OSError: injected" in line]


def test_one_that_is_required_is_waited_for_by_nobody(tmp_path: Path) -> None:
    made = agent(tmp_path, {"good": odd(), "late": odd(*ABSENT, required=True)})
    with pytest.raises(SensoriumError, match="sensor 'late' cannot be opened: OSError: injected"):
        made.run()
    assert not (tmp_path / "spool").exists()


def test_one_that_never_comes_is_said_in_every_episode_and_at_the_end(tmp_path: Path) -> None:
    made = agent(tmp_path, {"late": odd(["open:raise:OSError"]), "good": odd()}, seconds=1.0)
    with pytest.raises(
        SensoriumError, match=r"^sensor 'late' is away: OSError: injected; what came before it, and from"
    ):
        made.run()
    assert {tuple(opening.absent) for opening, _ in recorded(tmp_path)} == {("late",)}


def test_alone_it_is_waited_for_too(tmp_path: Path) -> None:
    until(agent(tmp_path, {"late": odd(*ABSENT, [100_000])}), "late", 30)
    assert all(seal.rows["late"] for _, seal in recorded(tmp_path))


@pytest.mark.parametrize(
    ("others", "says"),
    [({}, "sensor 'bad' cannot be opened: TypeError: injected"), ({"good": odd(clock="recording")}, "TypeError: inj")],
)
def test_what_may_be_no_live_sensor_and_raises_what_no_hardware_does_is_refused(
    tmp_path: Path, others: dict[str, Any], says: str
) -> None:
    with pytest.raises(SensoriumError, match=says):
        agent(tmp_path, {**others, "bad": odd(["open:raise:TypeError"])}).run()


def test_what_is_a_recording_or_a_world_by_its_kind_is_not_waited_for(tmp_path: Path) -> None:
    class Replay(OddConfig):
        kind: Any = "replay-odd"

    with pytest.raises(SensoriumError, match="sensor 'run' cannot be opened: OSError: injected"):
        agent(tmp_path, {"run": Replay(lives=[["open:raise:OSError"]])}).run()


def test_what_says_that_it_is_live_is_waited_for_whatever_it_raises(tmp_path: Path) -> None:
    class Live(OddConfig):
        @property
        def is_live(self) -> bool:
            return True

    until(agent(tmp_path, {"late": Live(kind="odd", lives=[["open:raise:TypeError"], [100_000]])}), "late", 30)


def test_beside_a_live_sensor_any_error_is_absence(tmp_path: Path) -> None:
    late = odd(["open:raise:TypeError"], ["open:raise:SystemExit"], [100_000])
    until(agent(tmp_path, {"late": late, "good": odd()}), "late", 30)


UNFIT: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "clock": ({"late": {"clock": "recording"}}, {}, "its clock is recording, that of the device boottime"),
    "names": ({"a": {"streams": ["b.c"]}, "a.b": {"streams": ["c"]}}, {}, "there is a stream 'a.b.c' already"),
    "filter": ({"late": {}}, {"filters": {"late": [{"kind": "sharpness"}]}}, "sharpness"),
    "encoding": ({"late": {}}, {"encodings": {"late": {"codec": "jpeg"}}}, "jpeg takes uint8 frames"),
    "trigger": (
        {"late": {"streams": ["x"]}},
        {"trigger": {"kind": "motion", "stream": "late.y", "gyro_above": 1}},
        "no stream 'late.y'",
    ),
}


@pytest.mark.parametrize("name", UNFIT)
def test_one_that_does_not_fit_is_refused_alone(tmp_path: Path, name: str) -> None:
    sensors, parts, says = UNFIT[name]
    *there, last = sensors
    made = {each: odd(**sensors[each]) for each in there} | {last: odd(*ABSENT[:1], [100_000], **sensors[last])}
    made |= {} if there else {"good": odd()}
    running = agent(tmp_path, made, **parts)
    says = f"sensor '{last}' failed: it does not fit what is recorded: .*{says}"
    fails(running, 0, says, lambda: refused(running, last) and (name == "trigger" or stored(running) > 60))
    found = recorded(tmp_path)
    assert all([entry.spec.name for entry in opening.streams] == list(found[0][1].rows) for opening, _ in found)
    if name == "trigger":
        assert found == [], "it waits for a stream that never comes"
    else:
        assert "refused: " in found[-1][0].absent[last]


def test_what_names_it_waits_for_it_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    parts: dict[str, Any] = {
        "filters": {"late": [{"kind": "rate", "max_hz": 50, "into": "slow"}], "slow": [{"kind": "rate", "max_hz": 10}]},
        "encodings": {"slow": {"codec": "lossless"}},
        "trigger": {"kind": "expression", "when": "late.gx > -1", "post_roll_s": 0.1, "max_s": 0.5},
    }
    made = agent(tmp_path, {"late": odd(*ABSENT, [100_000]), "good": odd()}, **parts)
    until(made, "slow", 8)
    found = recorded(tmp_path)
    for opening, _ in found:
        assert [entry.spec.name for entry in opening.streams] == ["good", "late", "slow"]
        assert opening.absent == {}
    before = found[0][0].between["good"]
    assert before.filtered["trigger"] > 30, "nothing is kept until what decides is there"
    assert sum(seal.rows["good"] for _, seal in found) > 0
    totals = made.status()["streams"]
    assert totals["slow"].filtered["rate"] > 0
    assert all(account.balances for account in totals.values())
    said = " ".join(caplog.messages)
    assert "the trigger waits for sensor late, and until then keeps nothing: " in said
    assert "filters.late waits for its sensor, which is absent" in said
    assert "filters.slow waits for its sensor, which is absent" in said


def test_a_name_of_nobody_is_still_a_mistake(tmp_path: Path) -> None:
    sensors = {"late": odd(*ABSENT), "good": odd()}
    for part in (
        {"filters": {"lat": [{"kind": "rate", "max_hz": 1}]}},
        {"encodings": {"goo": {"codec": "jpeg"}}},
        {"trigger": {"kind": "motion", "stream": "later", "gyro_above": 1}},
    ):
        OddConfig.opened.clear()
        with pytest.raises(ConfigError, match="no stream"):
            agent(tmp_path, sensors, **part).run()


def test_streams_of_one_name_are_refused_when_all_begins(tmp_path: Path) -> None:
    sensors = {"a": odd(streams=["b.c"]), "a.b": odd(streams=["c"])}
    with pytest.raises(ConfigError, match=r"sensors: 'a' and 'a.b' both have a stream 'a.b.c'; rename one of them"):
        agent(tmp_path, sensors).run()


@pytest.mark.parametrize("word", ["hang", "sleep", "raise:KeyboardInterrupt"])
def test_to_open_one_may_never_end_and_holds_up_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    monkeypatch.setattr(sensors_module, "OPEN_S", 0.3)
    stuck = odd([f"open:{word}"])
    made = agent(tmp_path, {"stuck": stuck, "good": odd()})
    fails(made, 31, r"sensor 'stuck' is away: .*(has not returned|KeyboardInterrupt)")
    assert sum(seal.rows["good"] for _, seal in recorded(tmp_path)) > 30
    assert stuck.opened["stuck"] == 1 or word.startswith("raise"), "it is not opened beside itself"


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("more", [{}, {"required": True}, {"clock": "simulated"}])
def test_a_stop_does_not_wait_for_one_that_is_being_opened(tmp_path: Path, more: dict[str, Any], kept: bool) -> None:
    """It is no fault of the sensor that it is not there, and none is said: what was kept before stays as it is."""
    if kept:
        agent(tmp_path, {"good": odd([100, "end"])}).run()
    before = [path.name for path, _ in sealed_files(tmp_path)]
    OddConfig.opened.clear()
    made = agent(tmp_path, {"good": odd(hangs_in_close=True), "stuck": odd(["open:sleep"], **more), "later": odd()})
    over = threading.Event()

    def run() -> None:
        assert made.run() is not kept
        over.set()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    wait_for(lambda: "stuck" in OddConfig.opened, "it to be opened")
    made.stop(4.0)
    thread.join(60.0)
    assert over.is_set()
    assert "later" not in OddConfig.opened
    assert made.status()["state"] == "done"
    assert made.status()["away"] == {}
    assert [path.name for path, _ in sealed_files(tmp_path)] == before
