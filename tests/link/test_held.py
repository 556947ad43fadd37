"""A device whose budget holds it: the session lasts, nobody waits for what does not come, and it goes on in time."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sensorium.agents.uplink.budget import Budget
from sensorium.errors import PeerViolation
from sensorium.link import wire
from sensorium.link.device.protocol import LinkState
from sensorium.link.server.jobs import Drop
from sensorium.link.server.limits import Limits
from tests.link.test_protocol import LIMITS, SECOND, Device, Server, World, drained, make
from tests.link.test_protocol_server import Peer, new_link

BEGIN = int(datetime(2026, 3, 2, 23, 55, tzinfo=UTC).timestamp()) * SECOND
TO_MIDNIGHT_S = 300
SPENT = "budget of 200 kB a day is spent, on again at 00:00 UTC"


def budget(world: World, rate: int | None = None, per_day: int | None = None, hours: Sequence[str] = ()) -> Budget:
    def utc_ns() -> int:
        return BEGIN + world.now_ns

    return Budget(rate, per_day, hours, now_ns=world.now_ns, boot_id="b", utc_ns=utc_ns, zone=UTC)


def site(
    sizes: list[int], rate: float = 1e6, limits: Limits = LIMITS, **more: int | Sequence[str]
) -> tuple[World, Server, Device]:
    world, server, (device,) = make(1, [sizes], rate, limits)
    device.budget = budget(world, **more)  # type: ignore[arg-type]
    return world, server, device


@pytest.mark.parametrize("rate", [256, 2_000])
def test_a_slow_budget_breaks_no_session(rate: int) -> None:
    world, server, device = site([100_000], rate=rate)
    world.run(lambda: drained([device], 1), 400_000 / rate + 60)
    assert drained([device], 1)
    assert device.gave_up == []
    assert server.link.out.counters["sessions"] == 1
    assert device.sent_bytes == 100_000
    assert world.now_ns / SECOND > (100_000 - 10 * rate - 9_000) / rate


def test_outside_of_its_hours_a_device_is_linked_and_sends_nothing_and_then_all() -> None:
    world, server, device = site([50_000, 50_000], hours=["00:00-01:00"])
    world.run(lambda: False, TO_MIDNIGHT_S - 10)
    assert device.sent_bytes == 0
    assert device.link.state is LinkState.UP
    assert len(device.probes) > 30
    assert (device.gave_up, server.link.out.counters["sessions"]) == ([], 1)
    assert server.link.pool.outstanding == 0
    device.discards = {7: next(iter(device.contents))}
    world.run(lambda: not device.discards, 10)
    assert not device.discards  # control goes
    world.run(lambda: drained([device], 2), 60)
    assert drained([device], 2)


def test_a_spent_day_costs_one_session_gives_credit_back_and_goes_on_at_midnight_where_it_stood() -> None:
    """An episode larger than a day's bytes arrives: what was sent of it is not sent again."""
    world, server, device = site([340_000], per_day=200_000)
    world.run(lambda: False, 60)
    assert 190_000 < device.sent_bytes <= 200_000
    world.run(lambda: False, 200)
    assert device.gave_up == [SPENT]
    assert server.link.pool.outstanding == 0
    assert device.link.state is LinkState.UP
    world.run(lambda: drained([device], 1), 120)
    assert drained([device], 1)
    assert device.sent_bytes == 340_000
    assert device.gave_up == [SPENT]
    assert TO_MIDNIGHT_S <= world.now_ns / SECOND < TO_MIDNIGHT_S + 20


def test_a_cut_while_it_is_held_is_got_over() -> None:
    world, server, device = site([150_000, 150_000], per_day=200_000)
    world.run(lambda: False, 20)
    device.half_open()
    world.run(lambda: False, 100)
    device.cut_seen()
    world.run(lambda: False, 20)
    server.restart()
    world.run(lambda: False, 100)
    assert device.link.state is LinkState.UP
    assert device.sent_bytes <= 200_000
    world.run(lambda: drained([device], 2), 300)
    assert drained([device], 2)


def test_others_are_not_kept_waiting_by_devices_that_are_held() -> None:
    """Neither for places, which are few, nor for credit; what was given up is sent again."""
    world, _, devices = make(2, [[60_000] * 3, [60_000] * 3, [60_000] * 3], 1e6)
    for device in devices[:2]:
        device.budget = budget(world, per_day=100_000)
    world.run(lambda: False, 5)
    world.run(lambda: drained(devices[2:], 3), 60)
    assert drained(devices[2:], 3)
    world.run(lambda: drained(devices, 9), 2 * TO_MIDNIGHT_S)
    assert drained(devices, 9)


def test_one_that_says_it_is_held_and_keeps_its_credit_loses_it() -> None:
    world, server, device = site([900_000])
    world.run(lambda: server.link.pool.outstanding > 0, 10)
    (session,) = server.link.sessions.values()

    def nothing(now_ns: int) -> None:
        del now_ns

    device.link.next_data = nothing  # type: ignore[method-assign]
    device.link.status({"uplink": {"held": True}})
    world.run(lambda: bool(device.gave_up), 60)
    assert session.number not in server.link.sessions
    assert any("credit was not used" in why for why in device.gave_up)


@pytest.mark.parametrize("leaves", [True, False])
def test_of_one_that_said_that_it_leaves_no_line_is_said_when_it_is_silent(leaves: bool) -> None:
    peer = Peer(new_link())
    peer.hello()
    peer.offer()
    peer.do_begins()
    peer.link.written(peer.data(1000), peer.session, 1000, 0)
    document = wire.leaving() if leaves else {"uplink": {"held": True}}
    peer.say(wire.Status(session=peer.session, document=document))
    taken = peer.data(1000, offset=1000)
    assert taken is not None, "what was under way is taken in"
    peer.now_ns += 31 * SECOND
    peer.link.poll(peer.now_ns)
    assert not peer.link.sessions
    assert peer.link.out.lines == ([] if leaves else ["rig-1: session ended, session: silent for too long"])
    assert peer.link.out.counters["sessions_ended"] == (not leaves)


class OldServer(Server):
    """One of before there were budgets: it does not hear that a device is held."""

    def control(self, route: bytes, user_id: str, frame: bytes) -> None:
        if not isinstance(message := wire.decode_from_device(frame), wire.Status):
            super().control(route, user_id, wire.encode(message))


def test_a_server_of_before_there_were_budgets_gets_everything_all_the_same() -> None:
    world = World(1)
    server = OldServer(world)
    device = Device(world, server, "rig-0", 1e6)
    device.budget = budget(world, per_day=200_000)
    device.record(340_000)
    world.run(lambda: False, TO_MIDNIGHT_S - 20)
    assert server.link.out.counters["sessions"] <= 1 + TO_MIDNIGHT_S / 30  # it ends those that do not send
    world.run(lambda: drained([device], 1), 300)
    assert drained([device], 1)
    assert device.sent_bytes == 340_000


@pytest.mark.parametrize("document", [{"uplink": 1}, {"uplink": {"held": 1}}, {"uplink": {"held": "yes"}}])
def test_what_is_no_report_ends_the_session(document: dict[str, object]) -> None:
    with pytest.raises(PeerViolation, match="uplink"):
        wire.held_of(document)


def test_a_report_of_something_else_says_nothing_of_it() -> None:
    assert wire.held_of({"between": {}}) is None
    assert wire.held_of({"uplink": {"why": "?"}}) is False
    documents: list[dict[str, Any]] = [{"between": {}}, {"uplink": {"held": True}}, wire.leaving()]
    assert [wire.leaves(each) for each in documents] == [False, False, True]


FAULTS = st.lists(
    st.tuples(st.floats(0, 400), st.sampled_from(["cut_seen", "cut_unseen", "half_open", "reboot", "restart"])),
    max_size=4,
)


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    seed=st.integers(0, 2**32),
    sizes=st.lists(st.integers(1, 60_000), min_size=1, max_size=4),
    rate=st.sampled_from([None, 2_000, 100_000]),
    per_day=st.sampled_from([None, 160_000]),
    hours=st.sampled_from([(), ("23:56-23:57", "00:01-04:00"), ("00:02-23:55",)]),
    faults=FAULTS,
)
def test_spools_drain_under_any_budget_and_fault(
    seed: int,
    sizes: list[int],
    rate: int | None,
    per_day: int | None,
    hours: tuple[str, ...],
    faults: list[tuple[float, str]],
) -> None:
    world, server, (device,) = make(seed, [sizes], 200_000.0)
    device.budget = budget(world, rate, per_day, hours)
    for at_s, fault in faults:
        world.after(at_s, server.restart if fault == "restart" else getattr(device, fault))
    after_faults_ns = int(max((at_s for at_s, _ in faults), default=0) * SECOND)
    world.run(lambda: world.now_ns > after_faults_ns and drained([device], len(sizes)), 1500)
    if per_day is None:  # else faults may have cost more than two days have
        assert drained([device], len(sizes))
        assert {e: data for e, (_, data) in server.committed.items()} == device.contents
    else:
        assert device.sent_bytes <= 2 * per_day
    assert not server.quarantined


def wanted(messages: list[wire.Message]) -> list[int]:
    """The episodes of which bytes are asked for."""
    return [int.from_bytes(each.episode, "big") for each in messages if isinstance(each, wire.Want)]


def test_a_place_goes_to_the_larger_priority_then_to_the_larger_value_then_to_the_older() -> None:
    peer = Peer(new_link(Limits(open_per_session=1)))
    peer.hello()
    peer.offer(1)
    assert wanted(peer.do_begins()) == [1]
    for number, priority, value in ((2, 1.0, 0.5), (3, 1.0, 0.0), (4, 1.0, 7.0), (5, 1.0, 7.0), (6, 2.0, 0.0)):
        peer.offer(number, priority=priority, value=value)
    turns = []
    for last in (1, 6, 4, 5, 2):
        peer.say(wire.Discarded(session=peer.session, ordinals=(last,), reason="evicted"))
        for job in peer.link.take_jobs():
            if isinstance(job, Drop):
                peer.link.arrivals.dropped(job.episode, 0)
        turns += wanted(peer.do_begins())
    assert turns == [6, 4, 5, 2, 3]


def test_one_that_is_held_gives_its_places_up_and_is_given_none() -> None:
    link = new_link(Limits(open_transfers=2))
    night, dusk, day = Peer(link, "night"), Peer(link, "dusk"), Peer(link, "day")
    for number, peer in enumerate((night, dusk, day)):
        peer.hello(spool_id=f"s-{number}")
    night.offer(1)
    dusk.offer(2)
    assert wanted(night.do_begins()) == [1, 2]
    day.offer(3)
    assert not wanted(day.do_begins())
    night.say(wire.Status(session=night.session, document={"uplink": {"held": True}}))
    busy = [each for each in day.offer(4) if isinstance(each, wire.Error)]
    assert [each.code for each in busy] == ["busy"]
    for job in link.take_jobs():
        if isinstance(job, Drop):
            link.arrivals.dropped(job.episode, 0)
    assert wanted(day.do_begins()) == [3]
    night.offer(5)
    assert not wanted(night.do_begins())
    night.say(wire.Status(session=night.session, document={"uplink": {"held": False}}))
    for number in (3, 4):
        day.say(wire.Discarded(session=day.session, ordinals=(number,), reason="evicted"))
    for job in link.take_jobs():
        if isinstance(job, Drop):
            link.arrivals.dropped(job.episode, 0)
    assert wanted(night.do_begins()) == [5]
