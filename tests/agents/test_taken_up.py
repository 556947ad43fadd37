"""A replay that is killed and started again, however often, records what an unbroken run does."""

import shutil
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest

from sensorium.agents.replays import replay_of
from sensorium.agents.spool.spool import Spool
from sensorium.drivers.clock import Clock
from sensorium.drivers.driver import DriverConfig
from sensorium.drivers.pacing import Paced, Pacer, Source
from sensorium.drivers.stream import Block, StreamSpec
from sensorium.errors import SensoriumError
from tests.agents.replaying import Document, Recorded, agent, csv, in_child, killed_at, recorded, table, totals

pytestmark = pytest.mark.timeout(120)

MOTION = {"kind": "motion", "stream": "long", "gyro_above": 1.0, "pre_roll_s": 0.2, "post_roll_s": 0.3, "max_s": 0.8}
SIM = {"kind": "sim-planar", "pace": "fast", "size": [32, 24], "duration_s": 3, "camera_hz": 20, "imu_hz": 100}


def two_tables(folder: Path) -> dict[str, Document]:
    """Of different lengths and rates, one with rows that cannot be read."""
    table(folder / "long.csv", 6.3, bad=range(200, 260))
    table(folder / "short.csv", 3.4, rate_hz=20, bad=range(50, 53), shift_s=0.5)
    return {"long": csv("long.csv"), "short": csv("short.csv")}


CASES: dict[str, Callable[[Path], Document]] = {
    "intervals": lambda folder: {"sensors": two_tables(folder)},
    "filters": lambda folder: {
        "sensors": two_tables(folder),
        "filters": {
            "long": [{"kind": "rate", "max_hz": 30}, {"kind": "lowpass", "cutoff_hz": 4, "into": "slow"}],
            "short": [{"kind": "rate", "max_hz": 7}],
        },
    },
    "motion": lambda folder: {"sensors": two_tables(folder), "trigger": MOTION},
    "cut": lambda folder: {
        "sensors": two_tables(folder),
        "trigger": {"kind": "interval", "length_s": 2},
        "mission": {"max_episode_s": 0.7},
    },
    "world": lambda _: {"sensors": {"sim": SIM}, "encodings": {"sim.cam": {"codec": "jpeg"}}},
    "worth": lambda _: {
        "sensors": {"sim": {**SIM, "camera_hz": 10}},
        "trigger": {
            "kind": "worth",
            "unit_s": 0.1,
            "budget": {"bytes_per_s": 20_000, "burst_s": 3, "floor": 0},  # draws are another spool's
            "always": ["sim.cam.hash_distance > 6"],
            "trace": {"bytes_per_s": 0},
            "pre_roll_s": 0.2,
        },
        "encodings": {"sim.cam": {"codec": "jpeg"}},
    },
    "gate": lambda _: {
        "sensors": {"sim": {**SIM, "camera_drop": 0.1}},
        "filters": {"sim.cam": [{"kind": "duplicate", "max_distance": 2}]},
        "trigger": {
            "kind": "expression",
            "when": "sim.imu.gyro > 0.4",
            "pre_roll_s": 0.3,
            "post_roll_s": 0.2,
            "max_s": 1,
        },
    },
}


@pytest.mark.parametrize("case", CASES)
def test_killed_and_started_again_it_is_as_unbroken(tmp_path: Path, case: str) -> None:
    _check_kills(tmp_path, case, (9,))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("case", CASES)
def test_killed_anywhere_and_started_again_it_is_as_unbroken(tmp_path: Path, case: str) -> None:
    _check_kills(tmp_path, case, range(1, 70, 3))


def _check_kills(tmp_path: Path, case: str, steps: Iterable[int]) -> None:
    document = CASES[case](tmp_path)
    unbroken = tmp_path / "unbroken"
    unbroken.mkdir()
    _with_sources(tmp_path, unbroken)
    assert in_child(lambda: agent(unbroken, document).run()) == 0
    expected, between = recorded(unbroken / "spool"), totals(unbroken / "spool")
    assert len(expected) > 1
    kills = 0
    for step in steps:
        broken = tmp_path / f"broken-{step}"
        broken.mkdir()
        _with_sources(tmp_path, broken)
        for again in range(3):  # each goes a little further
            if not killed_at(step + 3 * again, partial(_run, broken, document)):
                break
            kills += 1
        assert in_child(partial(_run, broken, document)) == 0
        assert recorded(broken / "spool") == expected
        assert totals(broken / "spool") == between
        shutil.rmtree(broken)
    assert kills > 1


def _run(folder: Path, document: Document) -> None:
    agent(folder, document).run()


def _with_sources(origin: Path, target: Path) -> None:
    for path in origin.glob("*.csv"):
        shutil.copy2(path, target)  # with its mtime


def test_what_is_finished_says_so_and_needs_again(tmp_path: Path) -> None:
    table(tmp_path / "a.csv", 2.5)
    document = {"sensors": {"imu": csv("a.csv")}}

    def collect(**options: Any) -> tuple[int, bool]:
        made = agent(tmp_path, document, **options)
        made.run()
        status = made.status()
        return status["streams"]["imu"].captured, status["finished_before"]

    assert collect() == (250, False)
    assert len(recorded(tmp_path / "spool")) == 3
    assert collect() == (0, True)
    assert len(recorded(tmp_path / "spool")) == 3
    assert collect(again="word") == (250, False)
    assert len(recorded(tmp_path / "spool")) == 6
    assert collect(again="word") == (0, True), "it is the same word: a restart, which is not again"
    assert collect(again="other") == (250, False)


@pytest.mark.parametrize("change", ["filter", "trigger", "content", "mtime", "sensor"])
def test_what_is_another_source_or_configuration_is_a_new_run(
    tmp_path: Path, change: str, caplog: pytest.LogCaptureFixture
) -> None:
    table(tmp_path / "a.csv", 1.5)
    document: Document = {"sensors": {"imu": csv("a.csv")}}
    assert agent(tmp_path, document).run() is False
    match change:
        case "filter":
            document["filters"] = {"imu": [{"kind": "rate", "max_hz": 50}]}
        case "trigger":
            document["trigger"] = {"kind": "interval", "length_s": 0.5}
        case "content":
            table(tmp_path / "a.csv", 1.6)
        case "mtime":
            (tmp_path / "a.csv").touch()
        case "sensor":
            document["sensors"] = {"imu": csv("a.csv", utc=True)}
    made = agent(tmp_path, document)
    made.run()
    assert not made.status()["finished_before"]
    assert made.status()["streams"]["imu"].captured >= 150
    said = "is not what was before" if change in ("content", "mtime") else "was collected before, with other"
    assert said in caplog.text


def test_another_mask_in_the_same_file_is_another_configuration(tmp_path: Path) -> None:
    def configuration(columns: int) -> str:
        mask = np.zeros((48, 64), np.uint8)
        mask[:, :columns] = 255
        cv2.imwrite(str(tmp_path / "m.png"), mask)
        world = {"kind": "sim-planar", "duration_s": 1, "size": [64, 48]}
        filters = {"sim.cam": [{"kind": "redact", "masks": [{"image": "m.png"}]}]}
        return replay_of(agent(tmp_path, {"sensors": {"sim": world}, "filters": filters}).device).configuration

    assert configuration(9) == configuration(9)
    assert configuration(9) != configuration(10)


@pytest.mark.parametrize("same", ["pace", "link", "moved"])
def test_what_is_the_same_source_is_known_again(tmp_path: Path, same: str) -> None:
    table(tmp_path / "a.csv", 1.5)
    agent(tmp_path, {"sensors": {"imu": csv("a.csv")}}).run()
    match same:
        case "pace":
            sensor = csv("a.csv", pace=100.0)
        case "link":
            (tmp_path / "b.csv").symlink_to(tmp_path / "a.csv")
            sensor = csv("b.csv")
        case _:
            (tmp_path / "a.csv").rename(tmp_path / "b.csv")
            sensor = csv("b.csv")
    made = agent(tmp_path, {"sensors": {"imu": sensor}})
    made.run()
    assert made.status()["finished_before"]


def test_a_stop_is_no_end_and_loses_nothing(tmp_path: Path) -> None:
    """After so many episodes; and by word, in the middle of one."""
    document = {"sensors": two_tables(tmp_path)}
    agent(tmp_path, document, episodes=2).run()
    assert len(recorded(tmp_path / "spool")) == 2
    agent(tmp_path, document, episodes=2).run()
    found = recorded(tmp_path / "spool")
    assert [episode.interval_ns[0] // 10**9 for episode in found] == [0, 1, 2, 3]
    agent(tmp_path, {"sensors": {name: {**each, "pace": 20.0} for name, each in two_tables_as_they_are().items()}},
          seconds=0.1).run()  # fmt: skip
    made = agent(tmp_path, document)
    made.run()
    found = recorded(tmp_path / "spool")
    whole = {"long": 0, "short": 0}
    for episode in found:
        for name, account in episode.accounts.items():
            whole[name] += account.captured
    assert whole == {"long": 630, "short": 68}
    assert totals(tmp_path / "spool") == {}


def two_tables_as_they_are() -> dict[str, Document]:
    return {"long": csv("long.csv"), "short": csv("short.csv")}


def test_a_world_without_an_end_is_new_each_time(tmp_path: Path) -> None:
    document = {"sensors": {"sim": {**SIM, "duration_s": None}}}
    for n in (1, 2):
        made = agent(tmp_path, document, episodes=1)
        made.run()
        assert not made.status()["finished_before"]
        assert len(recorded(tmp_path / "spool")) == n


def test_what_was_delivered_cut_short_is_not_recorded_again(tmp_path: Path) -> None:
    """The device only delivered before the run was taken up: it goes on behind what the store has."""
    table(tmp_path / "long.csv", 60.0)
    document = {"sensors": {"long": csv("long.csv", pace=10.0)}}
    spool = tmp_path / "spool"
    step = 30
    delivered: list[Recorded] = []
    while not delivered:
        assert killed_at(step, lambda: agent(tmp_path, document).run())
        with closing(Spool(spool, "rig")) as opened:  # which makes whole what was cut short
            delivered = [each for each in recorded(spool) if each.reason == "interrupted" and each.records]
            for waiting in opened.waiting():
                assert opened.committed(waiting.episode, waiting.digest)
        step += 1
    (cut,) = delivered
    made = agent(tmp_path, {"sensors": {"long": csv("long.csv")}})
    made.run()
    first = recorded(spool)[0]
    last_ns = cut.accounts["long"].lost_interval_ns
    assert last_ns is not None
    assert first.interval_ns[0] > last_ns[1]
    assert cut.accounts["long"].lost == {}
    assert made.status()["streams"]["long"].captured == 6000 - (last_ns[1] // 10_000_000 + 1)


def test_what_is_recorded_already_passes_as_fast_as_it_is_read(tmp_path: Path) -> None:
    """At the pace of the replay 400 s would pass before anything new came; `seconds` counts from there."""
    table(tmp_path / "long.csv", 40.0)
    agent(tmp_path, {"sensors": {"long": csv("long.csv")}}, episodes=20).run()
    made = agent(tmp_path, {"sensors": {"long": csv("long.csv", pace=0.05)}}, seconds=0.01)
    begun_s = time.monotonic()
    made.run()
    assert time.monotonic() - begun_s < 100
    assert made.status()["streams"]["long"].stored > 0
    assert recorded(tmp_path / "spool")[-1].interval_ns[0] >= 20 * 10**9


def test_what_is_recorded_anew_is_given_up_before_anything_is_delivered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sensors may take long to open, and by then an ingest might have what a crash cut short."""
    document = {"sensors": two_tables(tmp_path)}
    step = 25
    while True:
        killed_at(step, lambda: agent(tmp_path, document).run())
        with closing(Spool(tmp_path / "spool", "rig")) as opened:
            cut_short = opened._ledger.runs.unsealed(next(iter(_runs(opened))))
        if cut_short:
            break
        step += 1
    made = agent(tmp_path, document)

    def look(*_: Any) -> None:
        assert made._delivery is not None
        waiting = {each.episode for each in made._delivery.spool.waiting()}
        assert not waiting & set(cut_short)
        raise SensoriumError("seen")

    monkeypatch.setattr("sensorium.agents.agent.open_sensors", look)
    with pytest.raises(SensoriumError, match="seen"):
        made.run()


def _runs(spool: Spool) -> list[str]:
    return [row[0] for row in spool._ledger._file.read("SELECT run FROM runs")]


class Lagging(DriverConfig):
    """Two streams, of which one comes half a second at a time before the other."""

    kind: str = "lagging"
    path: Path

    def open(self, name: str, base: Path) -> Paced:
        del base
        first = StreamSpec(name=f"{name}.a", modality="test", dtype="float64", shape=(1,), rate_hz=100.0)
        specs = [first, msgspec.structs.replace(first, name=f"{name}.b")]

        def blocks() -> Source:
            for half in range(40):
                stamps = np.arange(50, dtype=np.int64) * 10**7 + half * 5 * 10**8
                for spec in specs:
                    yield int(stamps[-1]), Block(spec.name, stamps, np.zeros((50, 1)))

        return Paced(specs, Clock(kind="recording"), blocks(), Pacer(50.0))


def test_streams_that_are_apart_when_it_is_stopped_lose_nothing(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x")
    for seconds in (0.1, 0.05, 0.08, None):
        made = agent(tmp_path, {"sensors": {"s": Lagging(path=Path("x"))}}, seconds=seconds)
        made.run()
        assert all(not account.lost for account in made.status()["streams"].values())
    stored = {"s.a": 0, "s.b": 0}
    for episode in recorded(tmp_path / "spool"):
        for name, account in episode.accounts.items():
            stored[name] += account.stored
    assert stored == {"s.a": 2000, "s.b": 2000}


def test_as_many_episodes_as_asked_for_are_recorded_over_all_its_starts(tmp_path: Path) -> None:
    table(tmp_path / "long.csv", 9.0)
    document = {"sensors": {"long": csv("long.csv")}}
    kills = sum(killed_at(step, lambda: agent(tmp_path, document, episodes=4).run()) for step in (20, 22))
    assert in_child(lambda: agent(tmp_path, document, episodes=4).run()) == 0
    found = recorded(tmp_path / "spool")
    assert kills
    assert [episode.interval_ns[0] // 10**9 for episode in found] == [0, 1, 2, 3]
    assert all(episode.accounts["long"].stored == 100 for episode in found)
