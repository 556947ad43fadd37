"""Both ends of the link against each other, in virtual time, over a network that loses, delays, cuts and corrupts."""

import heapq
import itertools
import random
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import blake2b
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sensorium.agents.uplink.budget import Budget
from sensorium.link import wire
from sensorium.link.device import jobs
from sensorium.link.device.probing import thinned
from sensorium.link.device.protocol import DeviceLink, LinkState
from sensorium.link.server.jobs import Begin, Commit, Drop, NoteDiscards
from sensorium.link.server.limits import Limits
from sensorium.link.server.protocol import ServerLink

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
    value: float = 0.0
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
        self.routes: dict[bytes, Callable[[wire.ServerMessage], None]] = {}
        self.trouble = 0.0
        self.slowness_s = 0.0
        self.life = 0
        self.restart()
        self.tick()

    def restart(self) -> None:
        """A new process: sessions, credit and staging are gone, the store is not."""
        self.life += 1
        self.staged: dict[uuid.UUID, bytearray] = {}
        self.arrived: deque[tuple[str, wire.Data, bytes]] = deque()
        self.writing = False
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
            world.after(world.random.random() * 0.05, partial(self.do, job, self.life))
        self.check()

    def do(self, job: Any, life: int) -> None:
        link, now_ns = self.link, self.world.now_ns
        if life != self.life:
            return
        in_trouble = self.world.random.random() < self.trouble
        match job:
            case Begin(episode) if in_trouble:
                self.staged.pop(episode, None)
                link.arrivals.failed(episode, "full", now_ns)
            case Begin(episode):
                self.staged[episode] = bytearray()
                link.arrivals.begun(episode, now_ns)
            case Commit(episode) if in_trouble:
                link.arrivals.failed(episode, "full", now_ns, spoiled=False)
            case Commit(episode, owner, _, digest, _):
                data = bytes(self.staged[episode])
                if digest_of(data) != digest:
                    link.arrivals.damaged(episode, "digest", now_ns)
                else:
                    assert episode not in self.committed, "committed twice"
                    self.committed[episode] = (owner, data)
                    self.discarded.pop(owner, None)
                    del self.staged[episode]
                    link.arrivals.all_committed([(episode, digest)], now_ns)
            case Drop(episode, why):
                self.staged.pop(episode, None)
                if why:
                    self.quarantined.append(episode)
                link.arrivals.dropped(episode, now_ns)
            case NoteDiscards(session, device, spool_id, ordinals, reason):
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
        self.arrived.append((user_id, data, payload))
        self.write()

    def write(self) -> None:
        """One write at a time, some of them slow; the control thread goes on meanwhile."""
        while self.arrived and not self.writing:
            user_id, data, payload = self.arrived.popleft()
            transfer = self.link.data(user_id, data, len(payload), self.world.now_ns)
            if transfer is not None:
                staged = self.staged[transfer.episode]
                assert len(staged) == data.offset == transfer.accepted, "a gap was written"
                staged += payload
                self.writing = True
                delay_s = self.world.random.random() ** 8 * self.slowness_s
                self.world.after(delay_s, partial(self.written, transfer, data, len(payload), self.life))
        self.pump()

    def written(self, transfer: Any, data: wire.Data, size: int, life: int) -> None:
        if life == self.life:
            self.writing = False
            self.link.written(transfer, data.session, size, self.world.now_ns)
            self.write()

    def check(self) -> None:
        sessions = self.link.sessions.values()
        outstanding = [s.outstanding for s in sessions]
        assert all(value >= 0 for value in outstanding)
        assert sum(outstanding) == self.link.pool.outstanding <= self.limits.pool_bytes
        opened = [t for t in self.link.arrivals.by_episode.values() if t.state.name != "WAITING"]
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
        self.probes: list[jobs.KeepProbe] = []
        self.gave_up: list[str] = []
        self.connection = 0
        self.cut: set[int] = set()
        self.silent = False
        self.corrupt = 0.0
        self.most_in_flight_s = 0.0
        self.budget: Budget | None = None
        self.sent_bytes = 0
        self.boot()
        self.tick()

    def boot(self) -> None:
        self.connection += 1
        self.link = DeviceLink(
            self.name, "spool", "boot", lambda: (0, len(self.contents)), lambda _: [], self.world.random.random
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
            self.world.after(step * 0.3, partial(self.extend, item))

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
        self.do_jobs()
        ranked = sorted(self.waiting.values(), key=lambda item: (-item.priority, -item.value, item.ordinal))
        link.refresh(ranked, now_ns)
        self.do_jobs()
        self.send_control()
        hold = None if self.budget is None else self.budget.held(now_ns)
        link.hold("" if hold is None else hold.why, now_ns)
        while (due := link.next_data(now_ns)) is not None:
            data, size = due
            item = self.waiting.get(uuid.UUID(bytes=data.episode))
            if item is None:
                link.pause(data, now_ns)
                continue
            assert data.offset + size <= item.size, "sent what is not synced"
            if self.budget is not None:
                size = min(size, self.budget.allows(self, now_ns))
                if not size:
                    break
                self.budget.spend(self, size, now_ns)
            self.sent_bytes += size
            payload = self.contents[item.episode][data.offset : data.offset + size]
            link.sent(data, size, now_ns)
            session = link._session
            assert session.sent <= session.limit, "sent beyond the credit"
            self.most_in_flight_s = max(self.most_in_flight_s, link.in_flight / self.rate)
            self.send_bulk(data, payload)
        self.send_control()

    def do_jobs(self) -> None:
        for job in self.link.take_jobs():
            match job:
                case jobs.Connect():
                    self.connection += 1
                    self.silent = False
                    self.busy_until_ns = 0
                    self.server.routes[self.route] = self.from_server(self.connection)
                case jobs.Disconnect(why, _):
                    self.gave_up.append(why)
                    self.server.routes.pop(self.route, None)
                    self.connection += 1
                case jobs.Delete(episode, ordinal, _):
                    assert self.server.committed[episode][1] == self.contents[episode]
                    self.waiting.pop(episode, None)
                    self.discards.pop(ordinal, None)
                    self.deleted.append(episode)
                case jobs.SetAside(episode, code, _):
                    self.waiting.pop(episode, None)
                    self.rejected[episode] = code
                case jobs.Recheck(episode):
                    pass
                case jobs.ForgetDiscards(ordinals):
                    for ordinal in ordinals:
                        self.discards.pop(ordinal, None)
                case jobs.KeepProbe():
                    self.probes.append(job)

    @property
    def route(self) -> bytes:
        return f"{self.name}:{self.connection}".encode()

    @property
    def user_id(self) -> str:
        return f"{self.name}/key"

    def from_server(self, connection: int) -> Callable[[wire.ServerMessage], None]:
        def deliver(message: wire.ServerMessage) -> None:
            def arrive() -> None:
                if connection == self.connection and connection not in self.cut and not self.silent:
                    self.link.receive(message, self.world.now_ns)
                    self.pump()

            self.world.after(self.latency_s, arrive)

        return deliver

    def send_control(self) -> None:
        for message in self.link.take_messages():
            frame, route, connection, life = wire.encode(message), self.route, self.connection, self.server.life

            def arrive(
                frame: bytes = frame, route: bytes = route, connection: int = connection, life: int = life
            ) -> None:
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
        self.world.queue = [
            entry for entry in self.world.queue if "send_bulk" not in getattr(entry[2], "__qualname__", "")
        ]
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
            world.after(number * 0.2, partial(device.record, size, number % 3 == 1, float(number % 2)))
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
    slowness_s=st.sampled_from([0.0, 2.0]),
    faults=FAULTS,
)
def test_when_faults_cease_every_episode_arrived_exactly_once(
    seed: int,
    sizes: list[list[int]],
    rate: float,
    trouble: float,
    slowness_s: float,
    faults: list[tuple[float, str, int]],
) -> None:
    world, server, devices = make(seed, sizes, rate)
    server.trouble, server.slowness_s = trouble, slowness_s
    for at_s, fault, which in faults:
        device = devices[which % len(devices)]
        act = server.restart if fault == "restart" else getattr(device, fault)
        world.after(at_s, act)
    world.run(lambda: False, 20)
    server.trouble = server.slowness_s = 0.0
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
    assert device.link.state is LinkState.UP
    assert device.most_in_flight_s <= 2.05  # the first window is 16 KiB
    assert len(device.probes) >= 10
    assert server.link.out.counters["sessions"] == 1


def test_bytes_that_vanish_end_the_session_though_the_server_still_answers() -> None:
    world, server, (device,) = make(2, [[100_000]], rate=50_000)
    world.run(lambda: any(server.staged.values()), 60)
    device.cut_unseen()
    vanished = device.send_bulk
    device.send_bulk = lambda *_: None  # type: ignore[method-assign]
    world.run(lambda: bool(device.gave_up), 60)
    assert "no progress" in device.gave_up[0]
    device.send_bulk = vanished  # type: ignore[method-assign]
    world.run(lambda: drained([device], 1), 60)
    assert drained([device], 1)


def test_what_is_in_flight_shrinks_when_the_link_becomes_slow() -> None:
    world, _, (device,) = make(4, [[3_000_000]], rate=200_000)
    world.run(lambda: device.link._session.window.size > 100_000, 60)
    device.rate = 8_000.0
    world.run(lambda: False, 90)
    assert device.link.state is LinkState.UP
    assert 0 < device.link.in_flight / device.rate <= 2.5


def test_a_fast_link_uses_messages_of_a_megabyte() -> None:
    world, _, (device,) = make(1, [[64 << 20]], rate=1e9, limits=Limits())
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
    assert server.link.out.counters["damaged"] == 3
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
    assert not server.link.arrivals.by_episode
    assert not server.staged
    assert ("rig-0", "spool", 0) in server.discarded


def test_a_committed_episode_with_another_digest_is_kept() -> None:
    link = DeviceLink("rig-1", "s", "b", lambda: (0, 1), lambda _: [], lambda: 0.5)
    link.poll(0)
    (hello,) = link.take_messages()
    assert isinstance(hello, wire.Hello)
    link.receive(wire.Welcome(session=9, nonce=hello.nonce), 0)
    item = Waiting(uuid.UUID(int=1), 0, 10, True, bytes(32))
    link.refresh([item], 0)
    link.take_jobs()
    link.receive(wire.Committed(session=9, episode=item.episode.bytes, ordinal=0, digest=b"1" * 32), 0)
    assert [type(job) for job in link.take_jobs()] == [jobs.Log]
    link.receive(wire.Committed(session=9, episode=item.episode.bytes, ordinal=0, digest=bytes(32)), 0)
    assert [type(job) for job in link.take_jobs()] == [jobs.Delete]


def test_probes_of_a_long_episode_are_thinned_to_its_end() -> None:
    """A day has more probes than SEALED takes; without its last ones UTC would be vague for most of it."""
    spread = [thinned([(n, n, 1) for n in range(count)], 1000) for count in range(0, 20_000, 37)]
    assert all(len(kept) <= 1000 for kept in spread)
    for count, kept in zip(range(0, 20_000, 37), spread, strict=True):
        if count:
            assert (kept[0][0], kept[-1][0]) == (0, count - 1)
            gaps = [after[0] - before[0] for before, after in itertools.pairwise(kept)]
            assert max(gaps, default=0) <= count // 999 + 1
    assert len(spread[-1]) > 900
