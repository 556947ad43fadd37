"""How an agent ends: what is wrong with sensors or episodes then, and a time by which it has to have ended."""

import contextlib
import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sensorium.agents.agent import Agent
from sensorium.agents.capture import delivered, intake, reopening
from sensorium.agents.collecting import AFTER_QUEUES_S, AFTER_READERS_S
from sensorium.agents.device_file import check_device
from sensorium.agents.filters.filter import FilterConfig
from sensorium.agents.spool.inspect import inspect_spool
from sensorium.drivers.stream import Block, StreamSpec
from sensorium.episode.documents import Seal
from sensorium.errors import SensoriumError
from tests.agents.building import records_in
from tests.agents.running import fails, samples, started
from tests.spine.commands import wait_for
from tests.spine.odd_sensor import OddConfig

DAY_S = 86400
PATIENCE_S = 30.0
"""More than an end takes on any machine; what is waited for in vain would take ten times as long."""


@pytest.fixture(autouse=True)
def _again(monkeypatch: pytest.MonkeyPatch) -> None:
    OddConfig.opened.clear()
    monkeypatch.setattr(reopening, "FIRST_BACKOFF_S", 0.05)


def odd(*lives: list[int | str], **more: Any) -> OddConfig:
    return OddConfig(kind="odd", lives=list(lives) or [[100_000]], **more)


def agent(tmp_path: Path, sensors: dict[str, Any], options: dict[str, Any] | None = None, **parts: Any) -> Agent:
    document = {
        "device": "rig",
        "spool": {"path": "spool"},
        "sensors": sensors,
        "trigger": {"kind": "interval", "length_s": DAY_S},  # whose borders are multiples of the clock's
        "mission": {"max_episode_s": DAY_S},
        **parts,
    }
    return Agent(check_device(document, tmp_path), **(options or {}))


def seals(tmp_path: Path) -> list[Seal]:
    found = []
    for path in sorted((tmp_path / "spool" / "episodes").glob("*.episode")):
        closing = records_in(path)[-1].header
        assert isinstance(closing, Seal), "it is sealed"
        found.append(closing)
    return found


# -- whatever a source raises ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("raised", ["ValueError", "OSError", "SystemExit", "KeyboardInterrupt", "MemoryError"])
def test_a_live_sensor_comes_back_from_any_error(tmp_path: Path, raised: str) -> None:
    sensor = odd([30, f"raise:{raised}"], ["open:raise:" + raised], ["open:raise:TypeError"], [40, "end"])
    made = agent(tmp_path, {"imu": sensor})
    assert not made.run(), "nobody takes what it recorded; but nothing is wrong with the sensor at the end"
    assert made.status()["streams"]["imu"].stored == 70
    assert made.status()["streams"]["imu"].estimated, "what it missed is said"
    assert sensor.opened["imu"] == 4


def test_one_that_cannot_be_closed_comes_back_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reopening, "CLOSE_S", 0.1)

    class Stuck(OddConfig):
        def open(self, name: str, base: Path) -> Any:
            opened = super().open(name, base)
            opened._hangs = self.opened[name] == 1
            return opened

    made = agent(tmp_path, {"imu": Stuck(kind="odd", lives=[[30, "raise:ValueError"], [40, "end"]])})
    assert not made.run()
    assert made.status()["streams"]["imu"].stored == 70


def test_one_that_is_away_at_the_end_is_said(tmp_path: Path) -> None:
    made = agent(tmp_path, {"imu": odd([30, "raise:ValueError"], ["open:raise:OSError"]), "good": odd()})
    fails(made, 100, "^sensor 'imu' is away: (OS|Value)Error: injected; what came before it")
    (seal,) = seals(tmp_path)
    assert seal.account["imu"].lost["away"] > 20
    assert seal.account["good"].lost == {}


@pytest.mark.parametrize("clock", ["recording", "simulated"])
def test_a_recording_or_a_world_ends_with_any_error(tmp_path: Path, clock: str) -> None:
    bad, good = odd([30, "raise:SystemExit"], clock=clock), odd([100], clock=clock)
    with pytest.raises(SensoriumError, match=r"^sensor 'bad' failed: SystemExit: injected; what came before it"):
        agent(tmp_path, {"bad": bad, "good": good}).run()
    assert (bad.opened["bad"], good.opened["good"]) == (1, 1)
    (seal,) = seals(tmp_path)
    assert seal.rows == {"bad": 30, "good": 100}
    assert seal.account["bad"].estimated, "what it would have delivered"


def test_one_that_comes_back_as_another_ends_and_is_said(tmp_path: Path) -> None:
    lives: list[list[int | str]] = [[30, "raise:ValueError"], [30]]

    class Other(OddConfig):
        def open(self, name: str, base: Path) -> Any:
            opened = super().open(name, base)
            if self.opened[name] == 2:
                opened.specs = (StreamSpec(name=name, modality="test", dtype="float64", shape=(4,)),)
            return opened

    made = agent(tmp_path, {"imu": Other(kind="odd", lives=lives), "good": odd()})
    fails(
        made,
        150,
        "^sensor 'imu' failed: it came back with other streams: shape of 'imu' is .*; restart the agent to record it",
    )
    (seal,) = seals(tmp_path)
    assert (seal.rows["imu"], seal.account["imu"].lost["away"] > 30) == (30, True)
    assert seal.rows["good"] > 50, "the other goes on"


def delivering(monkeypatch: pytest.MonkeyPatch, careless: Callable[[Sequence[Block]], Any]) -> OddConfig:
    """A sensor that delivers what this makes of each that it read."""

    class Careless(OddConfig):
        def open(self, name: str, base: Path) -> Any:
            opened = super().open(name, base)
            read = opened.read
            monkeypatch.setattr(opened, "read", lambda timeout_s: careless(read(timeout_s) or ()))
            return opened

    return Careless(kind="odd", lives=[[100_000]])


def test_what_is_delivered_of_a_wrong_make_costs_itself_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong: Any = itertools.cycle([None, [1, 2], "text", object()])
    good = delivering(monkeypatch, lambda read: [*read, Block("good", next(wrong), wrong)])
    made = agent(tmp_path, {"good": good})
    fails(made, 30, "sensor 'good' failed: it delivered Block of a wrong make")
    account = made.status()["streams"]["good"]
    assert account.stored > 20
    assert account.balances


@pytest.mark.parametrize("lost", [2**62, -1, 1.5, float("nan"), None, True])
def test_a_loss_that_is_no_count_costs_its_block_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: Any
) -> None:
    bad = delivering(monkeypatch, lambda read: [replace(block, lost_before=lost) for block in read])
    made = agent(tmp_path, {"bad": bad, "good": odd()})
    thread = started(made)
    samples(made, "good", 30)
    made.stop()
    thread.join(30.0)
    account = made.status()["streams"]["bad"]
    assert account.captured == account.lost["malformed"] > 10
    assert (made.status()["state"], len(seals(tmp_path))) == ("done", 1)


def test_a_loss_in_numbers_of_numpy_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lost: Any = np.uint8(200)
    counting = delivering(monkeypatch, lambda read: [replace(block, lost_before=lost) for block in read])
    made = agent(tmp_path, {"good": counting})
    thread = started(made)
    samples(made, "good", 30)
    made.stop()
    thread.join(30.0)
    (seal,) = seals(tmp_path)
    account = seal.account["good"]
    assert account.lost["sensor"] == 200 * account.stored


def test_a_delivery_without_end_is_an_error_of_its_sensor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivered, "MAX_DELIVERED", 100)
    endless = delivering(monkeypatch, lambda _: itertools.repeat(None))
    made = agent(tmp_path, {"endless": endless, "good": odd([200, "end"])}, {"seconds": 1.0})
    with contextlib.suppress(SensoriumError):  # that it is away, if it is just then
        made.run()
    assert OddConfig.opened["endless"] > 1
    assert made.status()["streams"]["good"].stored > 20


# -- a time by which to have ended -------------------------------------------------------------------------------------


@pytest.mark.parametrize("then", ["sleep", "hang"])
def test_a_read_that_never_returns_is_left_behind_and_its_loss_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, then: str
) -> None:
    monkeypatch.setattr(intake, "STOP_S", 10 * PATIENCE_S)  # so long without the hurry
    stuck = odd([30, then], hangs_in_close=True)
    made = agent(tmp_path, {"stuck": stuck, "good": odd()})
    thread = started(made)
    samples(made, "stuck", 25)
    samples(made, "good", 150)
    made.stop(3.0)
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    assert made.status()["state"] == "done"
    (seal,) = seals(tmp_path)
    assert seal.rows["stuck"] == 30
    account = seal.account["stuck"]
    assert account.estimated
    assert account.lost_interval_ns is not None
    missed_ns = account.lost_interval_ns[1] - account.lost_interval_ns[0]
    assert missed_ns >= (150 - 30) * 10_000_000, "since its last sample, while the other went on"
    assert account.lost == {"away": missed_ns // 10_000_000}
    assert all(account.balances for account in made.status()["streams"].values())


@pytest.mark.parametrize("word", ["raise:ValueError", "sleep"])
def test_one_that_never_delivered_has_missed_all_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    monkeypatch.setattr(intake, "STOP_S", 0.3)
    never = odd([word], ["open:raise:OSError"], hangs_in_close=word == "sleep")
    made = agent(tmp_path, {"never": never, "good": odd()}, {"seconds": 0.5})
    with contextlib.suppress(SensoriumError):  # that it is away, where it is; one that hangs is silent
        made.run()
    account = made.status()["streams"]["never"]
    assert (account.captured, account.estimated) == (0, True)
    began_ns, ended_ns = account.lost_interval_ns or (0, 0)
    assert ended_ns - began_ns >= 500_000_000
    assert inspect_spool(tmp_path / "spool")["between_totals"]["never"]["estimated"]


class Slow(FilterConfig[None]):
    """As one that finds too much to do."""

    kind: str = "slow"
    step_s: float

    def start(self, spec: StreamSpec) -> None:
        return None

    def step(self, state: None, block: Block) -> tuple[None, Block | None]:
        time.sleep(self.step_s)
        return None, block


def test_what_there_is_no_time_for_is_lost_and_counted(tmp_path: Path) -> None:
    made = agent(tmp_path, {"imu": odd()}, filters={"imu": [Slow(step_s=0.5)]})
    thread = started(made)
    samples(made, "imu", 10)
    wait_for(lambda: made.status()["streams"]["imu"].captured > 100, "a queue")
    made.stop(AFTER_READERS_S - AFTER_QUEUES_S)  # that time has passed already
    thread.join(PATIENCE_S)
    account = made.status()["streams"]["imu"]
    assert account.balances
    assert account.lost["overrun"] > 50
    (seal,) = seals(tmp_path)
    assert seal.account["imu"] == account


def test_nobody_is_waited_for_where_no_ingest_answers(tmp_path: Path) -> None:
    made = agent(tmp_path, {"imu": odd()}, ingest={"url": "tcp://127.0.0.1:1"})
    thread = started(made)
    samples(made, "imu", 10)
    made.stop(10 * PATIENCE_S)
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    status = made.status()
    assert (status["state"], status["hurried"], status["ordinals"]["pending"]) == ("done", True, 1)
    seals(tmp_path)
    assert inspect_spool(tmp_path / "spool")["counts"]["pending"] == 1


def test_a_signal_while_it_waits_for_delivery_ends_that(tmp_path: Path) -> None:
    made = agent(tmp_path, {"imu": odd([50, "end"])}, ingest={"url": "tcp://127.0.0.1:1"})
    thread = started(made)
    wait_for(lambda: made.status()["state"] == "draining", "the source to end")
    made.stop(10 * PATIENCE_S)
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    assert made.status()["state"] == "done"
