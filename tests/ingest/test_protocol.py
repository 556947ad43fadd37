"""Both ends of the link against each other, in virtual time, over a network that loses, delays, cuts and corrupts."""

import heapq
import itertools
import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sensorium.ingest import device_events as events
from sensorium.ingest import wire
from sensorium.ingest.protocol_device import DeviceLink, State
from sensorium.ingest.protocol_server import ServerLink
from sensorium.ingest.transfer import Begin, Commit, Drop, Ledger, Limits

SECOND = 1_000_000_000
LIMITS = Limits(pool_bytes=1 << 20, offers=8, open_per_session=3, open_transfers=5, growing_reserve_bytes=1 << 16)


def digest_of(data: bytes) -> bytes:
    return blake2b(data, digest_size=32).digest()


@dataclass(frozen=True)
class Waiting:
    episode: uuid.UUID
    ordinal: int
    size: int
    sealed: bool
    digest: bytes
    priority: float = 1.0
    recoveries: int = 0
    boot_id: str | None = None
    start_ns: int = 0
    end_ns: int = 0


@dataclass
class World:
    """Virtual time, and everything that happens at some time."""

    seed: int
    now_ns: int = 0
    queue: list[Any] = field(default_factory=list)
    numbers: Any = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)

    def after(self, delay_s: float, act: Callable[[], None]) -> None:
        heapq.heappush(self.queue, (self.now_ns + int(delay_s * SECOND), next(self.numbers), act))

    def run(self, until: Callable[[], bool], at_most_s: float) -> None:
        end_ns = self.now_ns + int(at_most_s * SECOND)
        while self.queue and self.queue[0][0] <= end_ns and not until():
            self.now_ns, _, act = heapq.heappop(self.queue)
            act()


class Server:
    """A ServerLink, and a store that is a dictionary; its jobs take their time."""

    def __init__(self, world: World, limits: Limits = LIMITS) -> None:
        self.world, self.limits = world, limits
        self.committed: dict[uuid.UUID, tuple[tuple[str, str, int], bytes]] = {}
        self.discarded: dict[tuple[str, str, int], str] = {}
        self.quarantined: list[uuid.UUID] = []
        self.routes: dict[bytes, Callable[[wire.Message], None]] = {}
        self.trouble = 0.0
        self.life = 0
        self.restart()
        self.tick()

    def restart(self) -> None:
        """A new process: sessions, credit and staging are gone, the store is not."""
        self.life += 1
        self.staged: dict[uuid.UUID, bytearray] = {}
        self.routes.clear()
        self.link = ServerLink(
            self.known, lambda: self.world.random.getrandbits(62), lambda: self.world.now_ns, self.limits, secure=True
        )

    def known(self, episode: uuid.UUID) -> Any:
        found = self.committed.get(episode)
        return None if found is None else type("Known", (), {"state": "committed", "digest": digest_of(found[1])})()

    def tick(self) -> None:
        self.pump()
        self.world.after(0.2, self.tick)

    def pump(self) -> None:
        link, world = self.link, self.world
        link.poll(world.now_ns)
        for route, message in link.take_messages():
            deliver = self.routes.get(route)
            if deliver is None:
                link.unreachable(route, world.now_ns)
            else:
                deliver(wire.decode_from_server(wire.encode(message)))
        for job in link.take_jobs():
            life = self.life
            world.after(world.random.random() * 0.05, lambda job=job, life=life: self.do(job, life))
        self.check()

    def do(self, job: Any, life: int) -> None:
        link, now_ns = self.link, self.world.now_ns
        if life != self.life:
            return
        in_trouble = self.world.random.random() < self.trouble
        match job:
            case Begin(episode) if in_trouble:
                self.staged.pop(episode, None)
                link.failed(episode, "full", now_ns)
            case Begin(episode):
                self.staged[episode] = bytearray()
                link.begun(episode, now_ns)
            case Commit(episode) if in_trouble:
                link.failed(episode, "full", now_ns, spoiled=False)
            case Commit(episode, owner, _, digest, _):
                data = bytes(self.staged[episode])
                if digest_of(data) != digest:
                    link.damaged(episode, "digest", now_ns)
                else:
                    assert episode not in self.committed, "committed twice"
                    self.committed[episode] = (owner, data)
                    self.discarded.pop(owner, None)
                    del self.staged[episode]
                    link.committed(episode, digest, now_ns)
            case Drop(episode, why):
                self.staged.pop(episode, None)
                if why:
                    self.quarantined.append(episode)
                link.dropped(episode, now_ns)
            case Ledger(session, device, spool_id, ordinals, reason):
                by_owner = {owner: (e, data) for e, (owner, data) in self.committed.items()}
                found = []
                for ordinal in ordinals:
                    owner = (device, spool_id, ordinal)
                    if owner in by_owner:
                        found.append((by_owner[owner][0].bytes, ordinal, digest_of(by_owner[owner][1])))
                    else:
                        self.discarded[owner] = reason
                link.ledgered(session, ordinals, found, now_ns)
        self.pump()

    def control(self, route: bytes, user_id: str, frame: bytes) -> None:
        self.link.receive(route, user_id, wire.decode_from_device(frame), self.world.now_ns)
        self.pump()

    def bulk(self, user_id: str, data: wire.Data, payload: bytes) -> None:
        transfer = self.link.data(user_id, data, len(payload), self.world.now_ns)
        if transfer is not None:
            staged = self.staged[transfer.episode]
            assert len(staged) == data.offset == transfer.accepted, "a gap was written"
            staged += payload
            life = self.life  # the write takes a moment, in which the control thread goes on
            number = data.session

            def written() -> None:
                if life == self.life:
                    self.link.written(transfer, number, len(payload), self.world.now_ns)
                    self.pump()

            if self.world.random.random() < 0.5:
                written()
            else:
                self.world.after(0.0, written)
        self.pump()

    def check(self) -> None:
        sessions = self.link.sessions.values()
        outstanding = [s.outstanding for s in sessions]
        assert all(value >= 0 for value in outstanding)
        assert sum(outstanding) == self.link.pool.outstanding <= self.limits.pool_bytes
        opened = [t for t in self.link.transfers.values() if t.state.name != "WAITING"]
        assert len(opened) <= self.limits.open_transfers
        assert all(len(s.offers) <= self.limits.offers for s in sessions)


class Device:
    """A DeviceLink, a spool that is a dictionary, and the two connections of its session."""

    def __init__(self, world: World, server: Server, name: str, rate: float, latency_s: float = 0.02) -> None:
        self.world, self.server, self.name = world, server, name
        self.rate, self.latency_s = rate, latency_s
        self.contents: dict[uuid.UUID, bytes] = {}
        self.waiting: dict[uuid.UUID, Waiting] = {}
        self.deleted: list[uuid.UUID] = []
        self.rejected: dict[uuid.UUID, str] = {}
        self.discards: dict[int, uuid.UUID] = {}
        self.probes: list[events.Probed] = []
        self.connection = 0
        self.cut: set[int] = set()
        self.silent = False
        self.corrupt = 0.0
        self.most_in_flight_s = 0.0
        self.boot()
        self.tick()

    def boot(self) -> None:
        self.connection += 1
        self.link = DeviceLink(
            self.name, "spool", "boot", lambda: (0, len(self.contents)), lambda waiting: [], self.world.random.random
        )
        self.busy_until_ns = 0

    def record(self, size: int, grows: bool = False, priority: float = 1.0) -> None:
        episode = uuid.UUID(int=self.world.random.getrandbits(128))
        data = self.world.random.randbytes(size)
        self.contents[episode] = data
        ordinal = len(self.contents) - 1
        steps = 4 if grows else 1
        for step in range(1, steps + 1):
            sealed, known = step == steps, size * step // steps
            digest = digest_of(data) if sealed else b""
            item = Waiting(episode, ordinal, known, sealed, digest, priority)
            self.world.after(step * 0.3, lambda item=item: self.extend(item))

    def extend(self, item: Waiting) -> None:
        old = self.waiting.get(item.episode)
        if old is None and item.ordinal in self.discards:
            return
        self.waiting[item.episode] = item
        self.pump()

    def discard(self, ordinal: int) -> None:
        for episode, item in list(self.waiting.items()):
            if item.ordinal == ordinal:
                del self.waiting[episode]
                self.discards[ordinal] = episode

    def tick(self) -> None:
        if self.world.now_ns % (5 * SECOND) < 200_000_000:
            self.link.discard([("evicted", list(self.discards))] if self.discards else [])
        self.pump()
        self.world.after(0.1, self.tick)

    def pump(self) -> None:
        link, now_ns = self.link, self.world.now_ns
        link.poll(now_ns)
        self.do_events()
        ranked = sorted(self.waiting.values(), key=lambda item: (-item.priority, item.ordinal))
        link.refresh(ranked, now_ns)
        self.do_events()
        self.send_control()
        while (due := link.next_data(now_ns)) is not None:
            data, size = due
            item = self.waiting.get(uuid.UUID(bytes=data.episode))
            if item is None:
                link.pause(uuid.UUID(bytes=data.episode), now_ns)
                continue
            assert data.offset + size <= item.size, "sent what is not synced"
            payload = self.contents[item.episode][data.offset : data.offset + size]
            link.sent(data, size, now_ns)
            session = link._session
            assert session.sent <= session.limit, "sent beyond the credit"
            self.most_in_flight_s = max(self.most_in_flight_s, link.in_flight / self.rate)
            self.send_bulk(data, payload)
        self.send_control()

    def do_events(self) -> None:
        for event in self.link.take_events():
            match event:
                case events.Connect():
                    self.connection += 1
                    self.silent = False
                    self.busy_until_ns = 0
                    self.server.routes[self.route] = self.from_server(self.connection)
                case events.Disconnect():
                    self.server.routes.pop(self.route, None)
                    self.connection += 1
                case events.Committed(episode, ordinal):
                    assert self.server.committed[episode][1] == self.contents[episode]
                    self.waiting.pop(episode, None)
                    self.discards.pop(ordinal, None)
                    self.deleted.append(episode)
                case events.Rejected(episode, code, _):
                    self.waiting.pop(episode, None)
                    self.rejected[episode] = code
                case events.Recheck(episode):
                    pass
                case events.Ledgered(ordinals):
                    for ordinal in ordinals:
                        self.discards.pop(ordinal, None)
                case events.Probed():
                    self.probes.append(event)

    @property
    def route(self) -> bytes:
        return f"{self.name}:{self.connection}".encode()

    @property
    def user_id(self) -> str:
        return f"{self.name}/key"

    def from_server(self, connection: int) -> Callable[[wire.Message], None]:
        def deliver(message: wire.Message) -> None:
            def arrive() -> None:
                if connection == self.connection and connection not in self.cut and not self.silent:
                    self.link.receive(message, self.world.now_ns)
                    self.pump()

            self.world.after(self.latency_s, arrive)

        return deliver

    def send_control(self) -> None:
        for message in self.link.take_messages():
            frame, route, connection, life = wire.encode(message), self.route, self.connection, self.server.life

            def arrive(frame: bytes = frame, route: bytes = route, connection: int = connection, life: int = life) -> None:
                if connection not in self.cut and not self.silent and life == self.server.life:
                    self.server.control(route, self.user_id, frame)

            self.world.after(self.latency_s, arrive)

    def send_bulk(self, data: wire.Data, payload: bytes) -> None:
        connection, life = self.connection, self.server.life
        start_ns = max(self.world.now_ns, self.busy_until_ns)
        self.busy_until_ns = start_ns + int(len(payload) / self.rate * SECOND)
        if self.world.random.random() < self.corrupt:
            payload = bytes([payload[0] ^ 1]) + payload[1:]

        def arrive() -> None:
            if connection not in self.cut and not self.silent and life == self.server.life:
                self.server.bulk(self.user_id, data, payload)

        delay_s = (self.busy_until_ns - self.world.now_ns) / SECOND + self.latency_s * self.world.random.random() * 0
        self.world.after(delay_s, arrive)

    # faults

    def cut_seen(self) -> None:
        """The connection breaks and the device notices."""
        self.cut.add(self.connection)
        self.link.lost("cut", self.world.now_ns)
        self.pump()

    def cut_unseen(self) -> None:
        """What is under way is lost, and both ends go on as if nothing were (a transparent reconnect of bulk)."""
        self.world.queue = [entry for entry in self.world.queue if "send_bulk" not in getattr(entry[2], "__qualname__", "")]
        heapq.heapify(self.world.queue)

    def half_open(self) -> None:
        """From now on nothing passes, and nobody is told."""
        self.silent = True

    def reboot(self) -> None:
        """A new process; its spool is as it was."""
        self.cut.add(self.connection)
        self.boot()


def make(seed: int, sizes: list[list[int]], rate: float, limits: Limits = LIMITS) -> tuple[World, Server, list[Device]]:
    world = World(seed)
    server = Server(world, limits)
    devices = [Device(world, server, f"rig-{number}", rate) for number in range(len(sizes))]
    for device, mine in zip(devices, sizes, strict=True):
        for number, size in enumerate(mine):
            world.after(number * 0.2, lambda d=device, s=size, n=number: d.record(s, n % 3 == 1, float(n % 2)))
    return world, server, devices


def drained(devices: list[Device], count: int) -> bool:
    done = sum(len(set(d.deleted)) + len(d.rejected) for d in devices)
    return done >= count and not any(d.waiting or d.discards for d in devices)


FAULTS = st.lists(
    st.tuples(
        st.floats(0, 20),
        st.sampled_from(["cut_seen", "cut_unseen", "half_open", "reboot", "restart"]),
        st.integers(0, 2),
    ),
    max_size=8,
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    seed=st.integers(0, 2**32),
    sizes=st.lists(st.lists(st.integers(1, 60_000), max_size=12), min_size=1, max_size=3),
    rate=st.sampled_from([8_000.0, 100_000.0, 10_000_000.0]),
    trouble=st.sampled_from([0.0, 0.3]),
    faults=FAULTS,
)
def test_when_faults_cease_every_episode_arrived_exactly_once(
    seed: int, sizes: list[list[int]], rate: float, trouble: float, faults: list[tuple[float, str, int]]
) -> None:
    world, server, devices = make(seed, sizes, rate)
    server.trouble = trouble
    for at_s, fault, which in faults:
        device = devices[which % len(devices)]
        act = server.restart if fault == "restart" else getattr(device, fault)
        world.after(at_s, act)
    world.run(lambda: False, 20)
    server.trouble = 0.0
    count = sum(map(len, sizes))
    world.run(lambda: drained(devices, count), 600 + 4 * sum(map(sum, sizes)) / rate)
    assert drained(devices, count)
    assert {e: data for e, (_, data) in server.committed.items()} == {
        e: data for device in devices for e, data in device.contents.items()
    }


def test_a_slow_link_drains_with_at_most_two_seconds_in_flight_and_probes_go_on() -> None:
    world, server, (device,) = make(1, [[400_000]], rate=8_000.0)
    world.run(lambda: drained([device], 1), 120)
    assert drained([device], 1)
    assert device.link.state is State.UP
    assert device.most_in_flight_s <= 2.05  # the first window is 16 KiB
    assert len(device.probes) >= 10
    assert server.link.counters["sessions"] == 1


def test_a_fast_link_uses_messages_of_a_megabyte() -> None:
    world, server, (device,) = make(1, [[64 << 20]], rate=1e9, limits=Limits())
    device.latency_s = 0.001
    world.run(lambda: drained([device], 1), 10)
    assert drained([device], 1)
    assert device.link._session.window.message_bytes == wire.MAX_DATA_BYTES


def test_credit_is_shared_fairly_when_the_pool_is_short() -> None:
    world, server, devices = make(3, [[3_000_000]] * 4, rate=1e6)
    world.run(lambda: any(drained([d], 1) for d in devices), 100)
    staged = [len(data) for data in server.staged.values()]
    assert all(size > 1_500_000 for size in staged)


def test_damage_is_asked_for_again_and_given_up_after_three_tries() -> None:
    world, server, (device,) = make(5, [[50_000]], rate=1e6)
    device.corrupt = 1.0
    world.run(lambda: bool(device.rejected and server.quarantined), 60)
    assert list(device.rejected.values()) == ["corrupt"]
    assert server.link.counters["damaged"] == 3
    assert len(server.quarantined) == 1
    assert not server.committed


def test_a_recovered_file_begins_anew() -> None:
    world, server, (device,) = make(6, [[80_000]], rate=50_000)
    world.run(lambda: any(server.staged.values()), 60)
    (episode,) = device.waiting
    shorter = device.contents[episode][1000:]
    device.contents[episode] = shorter
    item = device.waiting[episode]
    device.extend(replace(item, size=len(shorter), digest=digest_of(shorter), recoveries=1))
    world.run(lambda: drained([device], 1), 60)
    assert server.committed[episode][1] == shorter


def test_discards_are_ledgered_and_what_was_committed_wins() -> None:
    world, server, (device,) = make(7, [[10_000, 10_000]], rate=1e6)
    world.run(lambda: len(device.deleted) == 2, 60)
    first = next(iter(device.contents))
    device.discards = {0: first, 5: uuid.UUID(int=5)}
    device.deleted.clear()
    world.run(lambda: not device.discards, 60)
    assert not device.discards
    assert list(server.discarded) == [("rig-0", "spool", 5)]
    assert device.deleted == [first]


def test_a_discard_ends_a_transfer() -> None:
    world, server, (device,) = make(8, [[500_000]], rate=50_000)
    world.run(lambda: any(server.staged.values()), 60)
    device.discard(0)
    world.run(lambda: not device.discards, 60)
    assert not server.link.transfers
    assert not server.staged
    assert ("rig-0", "spool", 0) in server.discarded


# --- what a hostile or mistaken peer meets ---------------------------------------------------------------------------


@dataclass
class Peer:
    """A device of which the test says every message."""

    link: ServerLink
    name: str = "rig-1"
    session: int = 0
    now_ns: int = 0

    def say(self, message: wire.DeviceMessage, route: bytes = b"r") -> list[wire.Message]:
        self.link.receive(route, f"{self.name}/key", message, self.now_ns)
        self.link.poll(self.now_ns)
        return [message for _, message in self.link.take_messages()]

    def hello(self, **change: Any) -> list[wire.Message]:
        about: dict[str, Any] = {"version": wire.VERSION, "nonce": 1, "device": self.name, "spool_id": "s"}
        answers = self.say(wire.Hello(session=0, **{**about, **change}))
        if isinstance(answers[0], wire.Welcome):
            self.session = answers[0].session
        return answers

    def offer(self, number: int = 1, **change: Any) -> list[wire.Message]:
        about: dict[str, Any] = {"ordinal": number, "size": 1 << 20, "sealed": True, "digest": bytes(32)}
        return self.say(
            wire.Offer(session=self.session, episode=number.to_bytes(16, "big"), **{**about, **change})
        )

    def do_begins(self) -> list[wire.Message]:
        for job in self.link.take_jobs():
            if isinstance(job, Begin):
                self.link.begun(job.episode, self.now_ns)
        self.link.poll(self.now_ns)
        return [message for _, message in self.link.take_messages()]

    def data(self, size: int, offset: int = 0, want: int = 1, session: int | None = None) -> Any:
        number = self.session if session is None else session
        header = wire.Data(session=number, episode=(1).to_bytes(16, "big"), offset=offset, want=want)
        return self.link.data(f"{self.name}/key", header, size, self.now_ns)


def new_link(limits: Limits | None = None, secure: bool = True) -> ServerLink:
    counter = itertools.count(100)
    return ServerLink(lambda _: None, lambda: next(counter), lambda: 0, limits, secure)


@pytest.mark.parametrize(
    ("change", "code", "text"),
    [
        ({"version": 7}, "version", "install the same release"),
        ({"device": "rig-2"}, "identity", "its key is that of 'rig-1'"),
        ({"spool_id": "../x"}, "identity", "spool_id"),
    ],
)
def test_a_hello_that_cannot_be_is_refused_with_the_reason(change: dict[str, Any], code: str, text: str) -> None:
    (error,) = Peer(new_link()).hello(**change)
    assert isinstance(error, wire.Error)
    assert error.code == code
    assert text in error.reason


def test_data_beyond_the_credit_ends_the_session_and_nothing_is_written() -> None:
    peer = Peer(new_link())
    peer.hello()
    peer.offer()
    peer.do_begins()
    assert peer.data((1 << 20) + 1) is None
    assert not peer.link.sessions
    assert peer.link.pool.outstanding == 0
    assert peer.link.counters["violations"] == 1


def test_a_stranger_cannot_use_a_session_number() -> None:
    peer = Peer(new_link())
    peer.hello()
    peer.offer()
    peer.do_begins()
    thief = Peer(peer.link, name="rig-2", session=peer.session)
    assert thief.data(1000) is None
    (answer,) = thief.say(wire.Probe(session=peer.session, sent_ns=1), route=b"other")
    assert isinstance(answer, wire.Error)
    assert peer.link.counters["stale_bytes"] == 1000
    assert peer.data(1000) is not None


def test_a_new_session_revokes_the_old_one() -> None:
    peer = Peer(new_link())
    peer.hello()
    peer.offer()
    peer.do_begins()
    old = peer.session
    peer.hello()
    assert list(peer.link.sessions) == [peer.session]
    assert peer.link.pool.outstanding == 0
    assert peer.data(1000, session=old) is None
    assert [type(m) for m in peer.offer()] == [wire.Want, wire.Credit]


def test_a_gap_is_asked_for_once() -> None:
    peer = Peer(new_link())
    peer.hello()
    peer.offer()
    peer.do_begins()
    assert peer.data(1000, offset=5000) is None
    assert peer.data(1000, offset=6000) is None
    wants = [m for _, m in peer.link.take_messages() if isinstance(m, wire.Want)]
    assert [(w.offset, w.number) for w in wants] == [(0, 2)]
    assert peer.link.counters["dropped_bytes"] == 2000


def test_one_episode_id_from_two_spools_is_a_conflict() -> None:
    link = new_link()
    first, second = Peer(link), Peer(link, name="rig-2")
    first.hello()
    second.hello()
    first.offer()
    answers = second.offer()
    assert [m.code for m in answers if isinstance(m, wire.Rejected)] == ["conflict"]


def test_offers_and_sessions_are_limited() -> None:
    link = new_link(Limits(offers=3, sessions=2))
    peer = Peer(link)
    peer.hello()
    for number in range(1, 5):
        answers = peer.offer(number)
    assert not link.sessions
    assert any(isinstance(m, wire.Error) and m.code == "violation" for m in answers)
    for number in range(2):
        Peer(link, name=f"a-{number}").hello()
    (error,) = Peer(link, name="one-more").hello()
    assert isinstance(error, wire.Error)
    assert error.code == "busy"


def test_full_staging_says_busy_and_not_rejected() -> None:
    peer = Peer(new_link(Limits(staged_bytes=1 << 20)))
    peer.hello()
    peer.offer(1)
    answers = peer.offer(2)
    (error,) = [m for m in answers if isinstance(m, wire.Error)]
    assert (error.code, error.episode) == ("busy", (2).to_bytes(16, "big"))
    assert error.retry_s > 0


def test_silent_and_stalled_sessions_expire_and_their_staging_later() -> None:
    peer = Peer(new_link())
    peer.hello()
    peer.offer()
    peer.do_begins()
    assert peer.link.pool.outstanding > 0
    for _ in range(4):  # it goes on to probe, but never uses its credit
        peer.now_ns += 10 * SECOND
        peer.say(wire.Probe(session=peer.session, sent_ns=1))
    assert not peer.link.sessions
    assert peer.link.pool.outstanding == 0
    assert peer.link.transfers
    peer.now_ns += 1000 * SECOND
    peer.link.poll(peer.now_ns)
    assert [type(job) for job in peer.link.take_jobs() if isinstance(job, Drop)] == [Drop]


def test_unknown_messages_are_answered_and_rubbish_ends_only_its_sender() -> None:
    link = new_link()
    good, bad = Peer(link), Peer(link, name="rig-2")
    good.hello()
    bad.hello()
    link.misunderstood(b"r", "rig-1/key", wire.UnknownMessage("teleport", good.session), 0)
    ((_, answer),) = link.take_messages()
    assert isinstance(answer, wire.Error)
    assert answer.code == "unknown"
    assert good.session in link.sessions


def test_revoking_a_key_ends_its_sessions_alone() -> None:
    link = new_link()
    first, second = Peer(link), Peer(link, name="rig-2")
    first.hello()
    second.hello()
    link.revoke(lambda user_id: user_id != "rig-2/key", 0)
    assert list(link.sessions) == [first.session]


def test_without_keys_a_spool_is_the_identity() -> None:
    link = new_link(secure=False)
    link.receive(b"r", "", wire.Hello(session=0, version=1, nonce=1, device="cam", spool_id="abc"), 0)
    (session,) = link.sessions.values()
    assert (session.identity, session.device) == ("insecure:abc", "cam")


@given(frame=st.binary(max_size=200))
def test_random_bytes_are_a_violation_and_nothing_else(frame: bytes) -> None:
    for decode in (wire.decode_from_device, wire.decode_from_server):
        try:
            decode(frame)
        except wire.PeerViolation:
            pass


def test_a_committed_episode_with_another_digest_is_kept() -> None:
    link = DeviceLink("rig-1", "s", "b", lambda: (0, 1), lambda w: [], lambda: 0.5)
    link.poll(0)
    (hello,) = link.take_messages()
    assert isinstance(hello, wire.Hello)
    link.receive(wire.Welcome(session=9, nonce=hello.nonce), 0)
    item = Waiting(uuid.UUID(int=1), 0, 10, True, bytes(32))
    link.refresh([item], 0)
    link.take_events()
    link.receive(wire.Committed(session=9, episode=item.episode.bytes, ordinal=0, digest=b"1" * 32), 0)
    assert [type(event) for event in link.take_events()] == [events.Told]
    link.receive(wire.Committed(session=9, episode=item.episode.bytes, ordinal=0, digest=bytes(32)), 0)
    assert [type(event) for event in link.take_events()] == [events.Committed]
