"""The account under whatever may happen between a sensor and the store: every sample has one fate, in one place."""

import itertools
import shutil
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import numpy as np
from hypothesis import note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import sensorium
from sensorium.agents.capture import intake as intake_module
from sensorium.agents.capture.intake import Intake
from sensorium.agents.capture.pipeline import Pipeline, streams_of
from sensorium.agents.filters.chain import FilterChain
from sensorium.agents.filters.rate import Rate
from sensorium.agents.recording.encode import EncoderPool
from sensorium.agents.recording.recorder import Recorder
from sensorium.agents.spool import group_commit
from sensorium.agents.spool.room import RESERVE_BYTES
from sensorium.agents.spool.spool import Spool
from sensorium.agents.triggers.interval import IntervalConfig
from sensorium.agents.triggers.manual import ManualConfig
from sensorium.agents.triggers.trigger import Command
from sensorium.drivers.clock import Clock
from sensorium.drivers.stream import Block, StreamSpec
from sensorium.episode import durable
from sensorium.episode.account import Tally
from sensorium.episode.documents import Account, BetweenReport
from sensorium.errors import SensoriumError
from sensorium.ingest.store import Store
from tests.agents.building import FRAMES, ROWS, manifest

SECOND = 10**9
ROOM = 64 << 20
STEPS = {"imu": 10_000_000, "cam": 100_000_000}
SPECS = {"imu": ROWS, "cam": FRAMES}
UNENCODABLE = 66


class Still:
    """A driver that the machine reads for."""

    def __init__(self, spec: StreamSpec) -> None:
        self.specs = (spec,)
        self.clock = Clock(kind="boottime")

    def read(self, timeout_s: float) -> Sequence[Block] | None:
        return ()

    def close(self) -> None:
        """Nothing to end."""


class PickyPool(EncoderPool):
    """Cannot encode frames of one colour."""

    def submit(self, encode: Callable[..., bytes], frames: Any) -> "Future[bytes]":
        def picky(content: Any) -> bytes:
            if content[0].flat[0] == UNENCODABLE:
                raise SensoriumError("this frame cannot be encoded")
            return encode(content)

        return super().submit(picky, frames)


class AccountMachine(RuleBasedStateMachine):
    """A device with two sensors and a derived stream, its spool, and a store. What the machine knows is counted here,
    by itself: what was delivered, and what was said to be lost. `entered` is by stream and run, the last run's last."""

    # -- a run ---------------------------------------------------------------------------------------------------------

    @initialize(live=st.booleans(), manual=st.booleans(), cut_bytes=st.sampled_from([3000, 1 << 20]))
    def start(self, live: bool, manual: bool, cut_bytes: int) -> None:
        self.live, self.manual, self.cut_bytes = live, manual, cut_bytes
        self.root = Path(tempfile.mkdtemp())
        self.queued, intake_module.MAX_QUEUED_BYTES = intake_module.MAX_QUEUED_BYTES, 1500
        self.interval_s, group_commit.INTERVAL_S = group_commit.INTERVAL_S, 3600.0  # what is synced is what a rule says
        self.append, self.failing = durable.append, 0
        durable.append = self._append
        self.store = Store.open(self.root / "store")
        self.folder = self.root / "spool-0"
        self.entered: list[dict[str, int]] = []
        self.crashes = 0
        self.serial = itertools.count()
        self.delivered: set[int] = set()
        self.unheard: set[UUID] = set()
        self.now_ns = 0
        self._begin()

    def _append(self, fd: int, buffers: Any, end: int) -> int:
        if self.failing:
            self.failing -= 1
            raise OSError(28, "No space left on device")
        return self.append(fd, buffers, end)

    def _begin(self) -> None:
        self.spool = Spool(self.folder, "rig", max_bytes=ROOM)
        self.spool._commits.due = lambda: None  # type: ignore[method-assign]
        self.entered.append({"imu": 0, "cam": 0, "slow": 0})
        self.next_ns = dict.fromkeys(SPECS, self.now_ns)
        self.ended: set[str] = set()
        self.busy = False
        filters = {"imu": [Rate(kind="rate", max_hz=50.0), Rate(kind="rate", max_hz=20.0, into="slow")]}
        chain = FilterChain(list(SPECS.values()), filters)
        trigger = ManualConfig(kind="manual") if self.manual else IntervalConfig(kind="interval", length_s=1)
        self.pool = PickyPool()
        self.recorder = Recorder(
            self.spool,
            trigger.start(chain.specs),
            manifest(*chain.specs, spool_id=self.spool.spool_id),
            grace_ns=SECOND if self.live else None,
            max_episode_bytes=self.cut_bytes,
            pool=self.pool,
        )
        drivers = {name: Still(spec) for name, spec in SPECS.items()}
        self.intake = Intake(drivers, {}, self.spool.account, live=self.live)
        ends = streams_of({name: driver.specs for name, driver in drivers.items()}, chain.specs)
        self.pipeline = Pipeline(chain, self.recorder, ends, self.spool.account, live=self.live)
        step = chain.step

        def counted(block: Block) -> Any:
            made = step(block)
            for each in made[1:]:
                left = 0 if each.block is None else len(each.block) + each.block.lost_before
                self.entered[-1][each.stream] += left + sum(each.dropped.filtered.values())
            return made

        chain.step = counted  # type: ignore[method-assign]

    # -- what sensors do -----------------------------------------------------------------------------------------------

    @rule(
        name=st.sampled_from(["imu", "imu", "cam"]),
        n=st.integers(0, 12),
        lost=st.sampled_from([0, 0, 0, 3]),
        gap_s=st.sampled_from([0, 0, 0.4, 1.7]),
        kind=st.sampled_from(["good", "good", "good", "good", "malformed", "unencodable"]),
    )
    def deliver(self, name: str, n: int, lost: int, gap_s: float, kind: str) -> None:
        if name in self.ended or self.intake._sensors[name].away:
            return
        n = min(n, 4) if name == "cam" else n
        start_ns = self.next_ns[name] + int(gap_s * SECOND)
        stamps = start_ns + np.arange(n, dtype=np.int64) * STEPS[name]
        if name == "imu":
            serials = [next(self.serial) for _ in range(n)]
            data = np.repeat(np.array(serials, np.float64)[:, None], 2, axis=1)
            if kind != "malformed":
                self.delivered.update(serials)
        else:
            data = np.full((n, 4, 6), UNENCODABLE if kind == "unencodable" else 7, np.uint8)
        if kind == "malformed":
            data = data.astype(np.float32)
        self.next_ns[name] = start_ns + n * STEPS[name]
        self.now_ns = max(self.now_ns, self.next_ns[name])
        self.entered[-1][name] += n + lost
        self._make_way(name)
        self.intake._take_in(name, self.intake._sensors[name], [Block(name, stamps, data, lost)])

    @rule(tenths=st.integers(1, 25), lost=st.sampled_from([0, 0, 3]))
    def go_on(self, tenths: int, lost: int) -> None:
        """Both sensors deliver for a while, and the agent keeps up."""
        self.busy = True
        for tenth in range(tenths):
            self.deliver("imu", 10, lost if not tenth else 0, 0, "good")
            self.deliver("cam", 1, 0, 0, "good")
            self.take(4)

    def _make_way(self, name: str) -> None:
        """A recording's driver would wait for a place in the queue."""
        while not self.live and self.intake._sensors[name].queue:
            if self.pipeline.must_wait and not self.pipeline.retry():
                self.spool.room.max_bytes = ROOM
                continue
            arrival = self.intake.take(0)
            if arrival is None:  # another sensor's turn: the order of a recording
                arrival = self.intake._sensors[name].queue.popleft()
                if arrival.block is not None:
                    self.intake._sensors[name].queued_bytes -= arrival.block.nbytes
            self.pipeline.accept(arrival)

    @rule(name=st.sampled_from(["imu", "cam"]))
    def come_and_go(self, name: str) -> None:
        sensor = self.intake._sensors[name]
        if name in self.ended:
            return
        if sensor.away:
            with self.intake._changed:
                self.intake._back(name, sensor)
            self.next_ns[name] = max(self.next_ns[name], self.now_ns)
        else:
            self.intake._away(name, sensor, "unplugged")

    @rule(name=st.sampled_from(["imu", "cam"]), failed=st.booleans())
    def end(self, name: str, failed: bool) -> None:
        if name not in self.ended and len(self.ended) == 0:
            self.ended.add(name)
            if failed:
                self.intake.failures[name] = "an error"
            self.intake._end(name, self.intake._sensors[name])

    @rule(name=st.sampled_from(["imu", "cam"]))
    def step_back(self, name: str) -> None:
        self.next_ns[name] -= 50 * SECOND

    # -- what the agent does -------------------------------------------------------------------------------------------

    @rule(n=st.integers(1, 12))
    def take(self, n: int) -> None:
        for _ in range(n):
            if self.pipeline.must_wait:
                self.pipeline.retry()
                continue
            arrival = self.intake.take(0)
            if arrival is None:
                break
            self.pipeline.accept(arrival)

    @rule(ahead_s=st.sampled_from([0.0, 0.5, 2.0]))
    def tick(self, ahead_s: float) -> None:
        self.now_ns += int(ahead_s * SECOND)
        self.recorder.tick(self.now_ns if self.live else None)

    @precondition(lambda self: self.manual)
    @rule(word=st.sampled_from(["open", "open", "close", "discard"]))
    def command(self, word: Command) -> None:
        self.recorder.command(word, "", None)

    @rule()
    def persist(self) -> None:
        self.recorder.persist()

    @rule()
    def sync(self) -> None:
        self.spool.flush()

    # -- what goes wrong -----------------------------------------------------------------------------------------------

    @rule(full=st.booleans())
    def fill(self, full: bool) -> None:
        self.spool.room.max_bytes = RESERVE_BYTES if full else ROOM

    @rule(n=st.integers(1, 3))
    def fail_writes(self, n: int) -> None:
        self.failing = n

    @precondition(lambda self: self.busy)
    @rule(kept=st.sampled_from([0, 0.3, 0.99, 1]))
    def kill(self, kept: float) -> None:
        """Of what is not synced a part is kept, and torn, if the power failed."""
        self.failing = 0
        self.crashes += 1
        copy = self.root / f"spool-{self.crashes}"
        shutil.copytree(self.folder, copy)
        sendable = {waiting.episode: waiting.size for waiting in self.spool.waiting()}
        self.pool.close()
        self.spool.close()
        for path in (copy / "episodes").glob("*.episode"):
            content = path.read_bytes()
            synced = sendable.get(UUID(path.stem.partition("-")[2]), len(content))
            if kept < 1:
                path.write_bytes(content[: synced + int((len(content) - synced) * kept)] + b"torn")
        self.folder = copy
        self._begin()

    @precondition(lambda self: self.busy)
    @rule()
    def restart(self) -> None:
        self._stop()
        self.spool.close()
        self._begin()

    # -- what becomes of episodes --------------------------------------------------------------------------------------

    @rule(fate=st.sampled_from(["commit", "commit", "reject", "evict", "not heard"]))
    def settle(self, fate: str) -> None:
        for waiting in self.spool.waiting():
            if fate == "reject" and waiting.episode not in self.unheard:
                self.spool.rejected(waiting.episode, "conflict", "said the server")  # also one that grows
            elif waiting.sealed and fate == "evict":
                self.spool.discard(waiting.episode, "evicted", "evicted")
                if waiting.episode in self.unheard:  # DISCARDED is answered by COMMITTED
                    self.unheard.discard(waiting.episode)
                    assert self.spool.committed(waiting.episode, waiting.digest)
            elif waiting.sealed:
                self._commit(waiting.episode, heard=fate == "commit")
            else:
                continue
            break

    def _commit(self, episode: UUID, *, heard: bool = True) -> None:
        self.failing = 0
        assembly = self.store.begin(episode)
        waiting = next(waiting for waiting in self.spool.waiting() if waiting.episode == episode)
        assembly.append(memoryview(self.spool.read(episode, 0, waiting.size)))
        self.store.commit(assembly, device="rig", identity="rig")
        if heard:
            self.unheard.discard(episode)
            assert self.spool.committed(episode, waiting.digest)
        else:
            self.unheard.add(episode)

    @rule()
    def report(self) -> None:
        self.failing = 0
        totals = self.spool.between_totals()
        report = BetweenReport(number=totals.number, streams=totals.streams)
        self.store.note_between("rig", self.spool.spool_id, report)

    # -- what must hold ------------------------------------------------------------------------------------------------

    @invariant()
    def what_entered_has_one_fate_or_is_held(self) -> None:
        if not hasattr(self, "spool"):
            return
        for stream, account in self.spool.account.totals().items():
            away = account.lost.get("away", 0)
            assert account.captured == self.entered[-1][stream] + away, stream
            fates = account.stored + sum(account.filtered.values()) + sum(account.lost.values())
            assert 0 <= fates <= account.captured, (stream, account)
            assert min([0, *account.filtered.values(), *account.lost.values()]) >= 0
        totals = self.spool.between_totals().streams
        assert all(account.balances and not account.stored for account in totals.values())
        for stream, account in self.spool.between().items():
            assert account.balances
            assert account.captured <= totals[stream].captured, "what the next OPEN tells is a part of the total"

    def _stop(self) -> None:
        """The end of a run: nothing is held, and the totals are what the files and between say."""
        self.failing = 0
        self.spool.room.max_bytes = ROOM
        while (arrival := self.intake.take(0)) is not None:
            self.pipeline.accept(arrival)
        for sensor in self.intake._sensors.values():
            while sensor.queue:
                arrival = sensor.queue.popleft()
                self.pipeline.accept(arrival)
        for name, sensor in self.intake._sensors.items():
            with self.intake._changed:
                self.intake._tell_lost(name, sensor)
            while sensor.queue:
                self.pipeline.accept(sensor.queue.popleft())
        self.pipeline.finish()
        self.spool.flush()
        self.pool.close()
        assert len(self.recorder.episodes) == 0
        assert self.spool.account.held() == {}
        for stream, account in self.spool.account.totals().items():
            assert account.balances, stream

    def teardown(self) -> None:
        if not hasattr(self, "spool"):
            return
        try:
            self._check_all()
        finally:
            durable.append = self.append
            intake_module.MAX_QUEUED_BYTES = self.queued
            group_commit.INTERVAL_S = self.interval_s
            self.spool.close()
            self.store.close()
            shutil.rmtree(self.root)

    def _check_all(self) -> None:
        """Everything is delivered: store and device say the same, and all that entered is there once."""
        self._stop()
        last = self.spool.account.totals()
        for waiting in self.spool.waiting():
            self._commit(waiting.episode)
        self.report()
        assert self.spool.counts()["pending"] == 0
        corpus = sensorium.open(self.store.path)
        (ledger,) = corpus.ledger()
        assert ledger.between == self.spool.between_totals().streams
        whole = {stream: Tally.of(account) for stream, account in ledger.between.items()}
        told: dict[str, Tally] = {}
        serials: list[int] = []
        for episode in corpus.query():
            for stream, said in episode.account.items():
                account = msgspec.convert(said, Account)
                stamps = episode.streams[stream].captured_ns
                assert account.balances
                assert account.stored == len(stamps)
                assert all(episode.start_ns <= stamp < episode.row["end_ns"] for stamp in stamps.tolist())
                whole.setdefault(stream, Tally()).add(Tally.of(account))
            for stream, said in episode.between.items():
                told.setdefault(stream, Tally()).add(Tally.of(msgspec.convert(said, Account)))
            serials += episode.streams["imu"][:][:, 0].astype(int).tolist()
        assert len(serials) == len(set(serials)), "a sample is stored twice"
        assert set(serials) <= self.delivered
        for stream, tally in whole.items():
            entered = sum(run[stream] for run in self.entered)
            estimates = tally.lost.get("away", 0) + tally.lost.get("interrupted", 0)
            note(f"{stream}: {tally.account()}, entered {entered}, told {told.get(stream)}")
            assert tally.captured - estimates <= entered, "a sample is counted twice"
            if not self.crashes:
                assert tally.captured - tally.lost.get("away", 0) == entered
            if len(self.entered) == 1:
                assert tally.account() == last[stream], "the totals are not what was written"


TestAccountMachine = AccountMachine.TestCase
TestAccountMachine.settings = settings(max_examples=15, stateful_step_count=30, deadline=None)
