"""A handover loses nothing: what lies before the moment goes to the old line, the rest waits, each sample once."""

from pathlib import Path
from typing import Any, cast

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.agents.agent import Agent
from sensorium.agents.capture.arrival import Arrival
from sensorium.agents.device_file import DeviceFile, check_device
from sensorium.agents.handover import Handover
from sensorium.agents.line import Parts
from sensorium.agents.orders import Change, Orders
from sensorium.agents.spool.inspect import inspect_spool
from sensorium.agents.spool.spool import Spool
from sensorium.drivers.stream import Block
from tests.agents.running import samples, started
from tests.spine.commands import wait_for

NOBODY = cast(Change, None)
NONE = cast(Parts, None)


def block(stream: str, *stamps: int, lost_before: int = 0) -> Arrival:
    captured = np.array(stamps, np.int64)
    return Arrival(stream, 0, Block(stream, captured, captured.astype(np.float64), lost_before), stream)


def stamps(arrivals: list[Arrival], stream: str) -> list[int]:
    return [int(n) for each in arrivals if each.block and each.stream == stream for n in each.block.captured_ns]


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 5), st.integers(0, 3)), max_size=12), st.integers(0, 20)
)
@settings(max_examples=80)
def test_every_sample_goes_to_one_side_in_order(blocks: list[tuple[str, int, int]], border: int) -> None:
    handover = Handover(NOBODY, NONE, border, ["a", "b"], None)
    at, all_of, before, lost = {"a": 0, "b": 0}, {"a": [0] * 0, "b": [0] * 0}, [], 0
    for stream, n, missing in blocks:
        arrival = block(stream, *range(at[stream], at[stream] + n), lost_before=missing)
        all_of[stream] += range(at[stream], at[stream] + n)
        at[stream] += n
        lost += missing
        if (old := handover.before(arrival, [stream])) is not None:
            before.append(old)
    assert handover.is_over(0.0) is all(last > border for last in at.values())
    after = list(handover.waited())
    assert sum(each.block.lost_before for each in (*before, *after) if each.block) == lost
    for stream, known in all_of.items():
        assert stamps(before, stream) == [n for n in known if n < border]
        assert stamps(after, stream) == [n for n in known if n >= border]


def test_an_end_is_told_behind_what_came_before_it() -> None:
    handover = Handover(NOBODY, NONE, 5, ["a", "b"], None)
    assert handover.before(block("a", 6), ["a"]) is None
    assert handover.before(Arrival("a", 1, change="ended"), ["a"]) is None
    ended = Arrival("b", 2, change="ended")
    assert handover.before(ended, ["b"]) is ended
    assert handover.is_over(0.0)
    assert [each.change for each in handover.waited()] == ["", "ended"]


def test_it_is_not_waited_for_longer_than_a_grace() -> None:
    handover = Handover(NOBODY, NONE, 5, ["a"], 10.0)
    assert not handover.is_over(9.9)
    assert handover.is_over(10.0)


def test_what_nobody_records_any_more_is_settled_at_once() -> None:
    orders, told = Orders(), list[str]()
    device = cast(DeviceFile, None)
    orders.change(Change(device, told.append))
    assert not told
    orders.end_changes()
    orders.change(Change(device, told.append))
    assert told == ["", ""]
    assert orders.next_change() is None


def device(folder: Path, **parts: Any) -> DeviceFile:
    world = {"kind": "sim-planar", "pace": 1.0, "size": [32, 24], "imu_hz": 200, "camera_hz": 20}
    document = {
        "device": "rig-1",
        "spool": {"path": "spool"},
        "sensors": {"sim": world},
        "trigger": {"kind": "interval", "length_s": 60},
        **parts,
    }
    return check_device(document, folder)


def test_settings_change_while_it_records_and_no_sample_is_lost(tmp_path: Path) -> None:
    agent, told = Agent(device(tmp_path)), list[str]()

    def becomes(n: int, **parts: Any) -> str:
        agent._orders.change(Change(device(tmp_path, **parts), told.append))
        wait_for(lambda: len(told) == n, "it to be settled")
        return told[-1]

    thread = started(agent)
    samples(agent, "sim.imu", 20)
    jpeg = {"sim.cam": {"codec": "jpeg", "quality": 60}}
    assert becomes(1, encodings=jpeg, mission={"name": "hall", "labels": {"shift": 2}}) == ""
    assert "no stream 'sim.no'" in becomes(2, encodings={"sim.no": {"codec": "jpeg"}})
    smaller = {"sim.cam": [{"kind": "resize", "size": [16, 12]}]}
    assert becomes(3, trigger={"kind": "interval", "length_s": 30}, filters=smaller) == ""
    n = agent.status()["streams"]["sim.imu"].stored
    samples(agent, "sim.imu", n + 20)
    agent.stop()
    thread.join(30.0)
    for account in agent.status()["streams"].values():
        assert (account.captured, account.lost, account.filtered) == (account.stored, {}, {})
    assert agent.status()["episodes"] == 3
    spool = Spool(tmp_path / "spool", "rig-1")
    starts_ns = sorted(each.start_ns for each in spool.waiting())
    spool.close()
    assert len(set(starts_ns)) == 3, "each begins where the one before it was cut"


def test_words_of_the_new_trigger_are_obeyed(tmp_path: Path) -> None:
    agent, told = Agent(device(tmp_path)), list[str]()
    thread = started(agent)
    samples(agent, "sim.imu", 10)
    agent._orders.change(Change(device(tmp_path, trigger={"kind": "manual"}), told.append))
    wait_for(lambda: told == [""], "it to be settled")
    agent.open_episode()
    wait_for(lambda: agent.status()["episodes"] == 2, "the episode to be opened")
    agent.close_episode("success")
    agent.stop()
    thread.join(30.0)
    assert inspect_spool(tmp_path / "spool")["counts"]["pending"] == 2


def test_a_replay_goes_on_where_it_was_by_what_its_file_says(tmp_path: Path) -> None:
    world = {"kind": "sim-planar", "pace": 1.0, "size": [32, 24], "imu_hz": 100, "camera_hz": 10, "duration_s": 3.0}
    given = device(tmp_path, sensors={"sim": world}, trigger={"kind": "interval", "length_s": 1})
    agent, told = Agent(given), list[str]()
    thread = started(agent)
    samples(agent, "sim.imu", 50)
    after = device(tmp_path, sensors={"sim": world}, trigger={"kind": "interval", "length_s": 0.5})
    agent._orders.change(Change(after, told.append))
    wait_for(lambda: told == [""], "it to be settled")
    samples(agent, "sim.imu", 150)
    agent.stop()
    thread.join(30.0)
    assert Agent(given).run() is False
    spool = Spool(tmp_path / "spool", "rig-1")
    sealed = [spool._ledger.accounts(each.episode) or {} for each in spool.waiting()]
    spool.close()
    for stream, n in (("sim.imu", 300), ("sim.cam", 30)):
        assert sum(each[stream].stored for each in sealed) == sum(each[stream].captured for each in sealed) == n
