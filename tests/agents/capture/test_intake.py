"""The intake: a sensor that was lost is opened again, and is taken back if its streams are the same."""

import threading
import time
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID

import numpy as np
import pytest

from sensorium.agents.agent import Agent
from sensorium.agents.capture import intake
from sensorium.agents.capture.arrival import Arrival
from sensorium.agents.capture.intake import Intake
from sensorium.agents.device_file import check_device
from sensorium.drivers.clock import Clock, boottime_ns, live_clock
from sensorium.drivers.driver import Delivery, DriverConfig
from sensorium.drivers.marks import EpisodeBegin, EpisodeEnd, SourceNote
from sensorium.drivers.stream import Block, StreamSpec
from sensorium.episode.account import Tally
from sensorium.episode.codecs.jpeg import Jpeg
from sensorium.episode.documents import Seal
from sensorium.episode.records import Record
from sensorium.errors import SensoriumError, SensorLost
from tests.agents.building import fresh_account, records
from tests.drivers.jpeg_source import JpegSource, item


class Plugged:
    """A sensor that delivers one sample, and is then gone (`lost`) or silent."""

    def __init__(self, spec: StreamSpec, lost: bool) -> None:
        self.specs = (spec,)
        self.clock: Clock = live_clock()
        self.closed = threading.Event()
        self._lost = lost
        self._delivered = False

    def read(self, timeout_s: float) -> Sequence[Delivery] | None:
        if not self._delivered:
            self._delivered = True
            return [Block("imu", np.zeros(1, np.int64), np.zeros((1, *self.specs[0].shape)))]
        if self._lost:
            raise SensorLost("unplugged")
        return None if self.closed.wait(timeout_s) else ()

    def close(self) -> None:
        self.closed.set()


def spec(rate_hz: float | None, axes: int = 3) -> StreamSpec:
    return StreamSpec(name="imu", modality="imu", dtype="float64", shape=(axes,), rate_hz=rate_hz)


def changes(first: StreamSpec, second: StreamSpec) -> list[str]:
    """What the intake says of a sensor that is lost and comes back as `second`."""
    drivers = [Plugged(first, lost=True), Plugged(second, lost=False)]
    made = Intake({"imu": drivers[0]}, {"imu": lambda: drivers[1]}, fresh_account(), live=True)
    made.start()
    said: list[str] = []
    try:
        while said[-1:] not in (["failed"], ["block after back"]):
            arrival = made.take(60.0)
            assert arrival is not None, f"nothing came after {said}"
            if arrival.change:
                said.append(arrival.change)
            elif "back" in said:
                said.append("block after back")
    finally:
        made.stop()
    assert all(driver.closed.is_set() for driver in drivers)
    return said


@pytest.mark.parametrize("measured_hz", [100.0, 99.7, None])
def test_a_sensor_comes_back_whatever_rate_was_measured(measured_hz: float | None) -> None:
    assert changes(spec(100.0), spec(measured_hz)) == ["away", "back", "block after back"]


def test_a_sensor_that_comes_back_as_another_is_refused() -> None:
    assert changes(spec(100.0), spec(100.0, axes=4)) == ["away", "failed"]


class Spoken:
    """A world that delivers rows, some at once, and ends."""

    def __init__(self, name: str, first_ns: int) -> None:
        self.specs = (StreamSpec(name=name, modality="imu", dtype="float64", shape=(), rate_hz=100.0),)
        self.clock = Clock(kind="simulated")
        self._first_ns = first_ns
        self._left = 3

    def read(self, timeout_s: float) -> Sequence[Delivery] | None:
        if not self._left:
            return None
        self._left -= 1
        stamps = [self._first_ns + 10 * (5 * (2 - self._left) + row) for row in range(5)]
        return [Block(self.specs[0].name, np.array([stamp]), np.zeros(1)) for stamp in stamps]

    def close(self) -> None:
        pass


@pytest.mark.parametrize("at_once", [1, 4, 64])
def test_what_is_taken_together_comes_in_the_order_of_one_by_one(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "AT_ONCE", at_once)
    made = Intake({"a": Spoken("a", 0), "b": Spoken("b", 5)}, {}, fresh_account(), live=False)
    made.start()
    stamps, changes = [], 0
    try:
        while not made.exhausted:
            if (arrival := made.take(60.0)) is None:
                continue
            changes += bool(arrival.change)
            if arrival.block is not None:
                stamps.append(int(arrival.block.captured_ns[0]))
    finally:
        made.stop()
    assert stamps == sorted(stamps), "the earliest stamp of all sensors comes next"
    assert len(stamps) == 30
    assert changes == 2


# ---- more than can be taken


class FireHose(DriverConfig):
    """A camera of 640x480 that delivers as fast as it is read, and knows which of its frames are still held."""

    kind: str = "fire-hose"

    def open(self, name: str, base: Path) -> "Hose":
        return Hose(name)


class Hose:
    alive: ClassVar[list["weakref.ref[np.ndarray]"]] = []
    sent = 0
    most = 0

    def __init__(self, name: str) -> None:
        self.specs = (StreamSpec(name=name, modality="camera", dtype="uint8", shape=(480, 640, 3), color_order="BGR"),)
        self.clock: Clock = live_clock()
        self._closed = threading.Event()
        self._picture = np.random.default_rng(1).integers(0, 255, (1, 480, 640, 3), np.uint8)

    def read(self, timeout_s: float) -> Sequence[Block] | None:
        if self._closed.wait(0.001):
            return None
        picture = self._picture.copy()
        Hose.alive = [ref for ref in Hose.alive if ref() is not None] + [weakref.ref(picture)]
        Hose.most = max(Hose.most, len(Hose.alive))
        Hose.sent += 1
        return [Block(self.specs[0].name, np.array([boottime_ns()], np.int64), picture)]

    def close(self) -> None:
        self._closed.set()


def test_what_cannot_be_taken_is_counted_and_said_and_memory_stays_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Pictures come several times faster than JPEGs are made of them, on whatever machine."""
    queued = 12
    monkeypatch.setattr(intake, "MAX_QUEUED_BYTES", queued * 640 * 480 * 3)
    encoded = Jpeg.encode

    def slowly(codec: Jpeg, samples: np.ndarray) -> bytes:
        time.sleep(0.05)
        return encoded(codec, samples)

    monkeypatch.setattr(Jpeg, "encode", slowly)
    document = {
        "device": "rig",
        "sensors": {"cam": FireHose()},
        "trigger": {"kind": "interval", "length_s": 0.5},
        "encodings": {"cam": {"codec": "jpeg", "quality": 95}},
        "spool": {"path": "spool"},
    }
    agent = Agent(check_device(document, tmp_path), seconds=2.0)
    agent.run()
    account = agent.status()["streams"]["cam"]
    assert account.lost["overrun"] > 0
    assert account.captured == account.stored + sum(account.lost.values()) == Hose.sent
    assert Hose.most <= queued + 16 + 8, "the queue, the encoders' pool, and what is in hand"
    said = [line for line in caplog.messages if "counted as lost (overrun)" in line]
    assert len(said) == 1, "once in ten seconds"
    sealed = [record.header for path in (tmp_path / "spool").rglob("*.episode") for record in read(path)]
    accounts = [header.account["cam"] for header in sealed if isinstance(header, Seal)]
    assert all(each.balances for each in accounts)
    assert sum(each.lost.get("overrun", 0) for each in accounts) > 0, "named by the episodes in which they are missing"


def read(path: Path) -> list[Record]:
    return records(path, UUID(path.stem.partition("-")[2]))


def test_a_reader_that_dies_ends_its_sensor_and_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever takes what comes hears that there is no more, after all that came before."""

    class Counting(Plugged):
        def read(self, timeout_s: float) -> Sequence[Delivery] | None:
            return [Block("imu", np.zeros(1, np.int64), np.zeros((1, 3)))]

    real, put = Intake._put, iter(range(3))

    def die(self: Intake, name: str, *rest: Any) -> None:
        if name == "bad" and next(put, None) is None:
            raise KeyError("injected")
        real(self, name, *rest)

    monkeypatch.setattr(Intake, "_put", die)
    told: list[SensoriumError] = []
    drivers = {"bad": Counting(spec(100.0), lost=False), "good": Plugged(spec(100.0), lost=False)}
    made = Intake(drivers, {}, fresh_account(), live=True, died=told.append)
    made.start()
    of_bad: list[str] = []
    try:
        while of_bad[-1:] != ["failed"]:
            arrival = made.take(60.0)
            assert arrival is not None, f"nothing came after {of_bad}"
            if arrival.sensor == "bad":
                of_bad.append(arrival.change or "block")
    finally:
        made.stop()
    assert of_bad == ["block", "block", "block", "failed"]
    assert [str(death).partition(";")[0] for death in told] == [
        "thread read-bad, which reads sensor 'bad', died of KeyError: 'injected'"
    ]
    assert made.failures == {"bad": str(told[0])}


def test_a_malformed_block_costs_only_itself() -> None:
    """A driver's mistake is counted, and neither this sensor nor the agent ends with it."""

    class Careless(Plugged):
        def read(self, timeout_s: float) -> Sequence[Block] | None:
            if self._delivered:
                return None
            self._delivered = True
            good = Block("imu", np.arange(2, dtype=np.int64), np.zeros((2, 3)))
            wrong_type = Block("imu", np.arange(5, dtype=np.int64), np.zeros((5, 3), np.float32))
            stepping_back = Block("imu", np.array([3, 1], np.int64), np.zeros((2, 3)), lost_before=4)
            stranger = Block("gps", np.arange(2, dtype=np.int64), np.zeros((2, 3)))
            return [wrong_type, stepping_back, stranger, good]

    account = fresh_account()
    made = Intake({"imu": Careless(spec(100.0), lost=False)}, {}, account, live=True)
    made.start()
    try:
        first = made.take(60.0)
        assert first is not None
        assert first.block is not None
        assert len(first.block) == 2
        assert first.lost == Tally(lost={"malformed": 11})
        assert account.held() == {"imu": 13}
        assert made.failures == {"imu": "it delivered 2 samples of 'gps', which is none of its streams"}
        last = made.take(60.0)
        assert last is not None
        assert last.change == "ended", "it went on to its own end"
    finally:
        made.stop()


@pytest.mark.parametrize(("room", "lost"), [(4, 2), (6, 0)])
def test_the_queue_holds_as_many_items_as_their_own_bytes_allow(
    monkeypatch: pytest.MonkeyPatch, room: int, lost: int
) -> None:
    """Six JPEGs, of a tenth of the bytes of their pictures, one a block; nobody takes any meanwhile."""
    items = (item(0),) * 6
    monkeypatch.setattr(intake, "MAX_QUEUED_BYTES", room * len(items[0]))
    account = fresh_account()
    made = Intake({"cam": JpegSource(items=items, per_block=1).open("cam", Path())}, {}, account, live=True)
    made.start()
    try:
        deadline = threading.Event()
        while account.held().get("cam", 0) < len(items) and not deadline.wait(0.01):
            pass
        arrivals = [made.take(60.0) for _ in range(room if lost else len(items))]
        assert [arrival.block is not None for arrival in arrivals if arrival] == [True] * (6 - lost)
        after = made.take(60.0)
        assert after is not None
        assert after.lost == (Tally(lost={"overrun": lost}) if lost else Tally())
    finally:
        made.stop()


def test_what_a_source_says_comes_in_its_order_and_what_it_must_not_costs_only_itself(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Talkative(Plugged):
        def read(self, timeout_s: float) -> Sequence[Delivery] | None:
            if self._delivered:
                return None
            self._delivered = True
            wrong: Any = "a text"
            return [
                EpisodeBegin(0),
                Block("imu", np.zeros(1, np.int64), np.zeros((1, 3))),
                EpisodeEnd(5, "a" * 1000),
                SourceNote("event", "x", stream="gps", start_ns=3),
                wrong,
                SourceNote("event", "x", stream="imu", start_ns=3),
                EpisodeEnd(5),
            ]

    made = Intake({"imu": Talkative(spec(100.0), lost=False)}, {}, fresh_account(), live=True)
    made.start()
    try:
        arrivals = [made.take(60.0) for _ in range(5)]
    finally:
        made.stop()
    said = [(each.said, each.unheard, each.block is not None, each.change) for each in arrivals if each]
    assert said == [
        (EpisodeBegin(0), 0, False, ""),
        (None, 0, True, ""),
        (SourceNote("event", "x", stream="imu", start_ns=3), 3, False, ""),
        (EpisodeEnd(5), 0, False, ""),
        (None, 0, False, "ended"),
    ]
    assert len([line for line in caplog.messages if "said what it must not" in line]) == 3


def test_a_flood_of_notes_is_bounded_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    class Flood(Plugged):
        def read(self, timeout_s: float) -> Sequence[Delivery] | None:
            if self._delivered:
                return None
            self._delivered = True
            return [SourceNote("event", "x", "v" * 1000, start_ns=n) for n in range(50)]

    monkeypatch.setattr(intake, "MAX_QUEUED_BYTES", 20_000)
    made = Intake({"imu": Flood(spec(100.0), lost=False)}, {}, fresh_account(), live=True)
    made.start()
    taken = unheard = 0
    try:
        while not made.exhausted:
            if arrival := made.take(0.1):
                taken += arrival.said is not None
                unheard += arrival.unheard
    finally:
        made.stop()
    assert unheard > 0
    assert taken + unheard == 50


class Scripted:
    """A recording whose blocks come as fast or slow as told."""

    def __init__(self, name: str, starts: list[int], pause_s: float) -> None:
        self.specs = (StreamSpec(name=name, modality="imu", dtype="float64", shape=(3,), rate_hz=100.0),)
        self.clock = Clock(kind="recording")
        self._starts = list(starts)
        self._pause_s = pause_s

    def read(self, timeout_s: float) -> Sequence[Block] | None:
        if not self._starts:
            return None
        threading.Event().wait(self._pause_s)
        start = self._starts.pop(0)
        return [Block(self.specs[0].name, np.arange(start, start + 3, dtype=np.int64), np.zeros((3, 3)))]

    def close(self) -> None:
        """Nothing to end."""


@pytest.mark.parametrize(("slow", "fast"), [("a", "b"), ("b", "a")])
def test_a_replay_comes_in_the_order_of_its_stamps_whoever_is_faster(slow: str, fast: str) -> None:
    pauses = {slow: 0.02, fast: 0.0}
    made = Intake(
        {"a": Scripted("a", [0, 20, 40, 60], pauses["a"]), "b": Scripted("b", [10, 30, 50], pauses["b"])},
        {},
        fresh_account(),
        live=False,
    )
    made.start()
    starts = []
    try:
        while not made.exhausted:
            arrival = made.take(60.0)
            assert arrival is not None
            if arrival.block is not None:
                starts.append(int(arrival.block.captured_ns[0]))
    finally:
        made.stop()
    assert starts == [0, 10, 20, 30, 40, 50, 60]


def test_what_is_no_delivery_at_all_is_said_once_and_fails_the_run(caplog: pytest.LogCaptureFixture) -> None:
    """Its samples can be counted in no stream, so the exit status must tell of them; the others are recorded."""

    class Rubbish(Plugged):
        reads = 0

        def read(self, timeout_s: float) -> Any:
            self.reads += 1
            if self.reads > 5:
                return None
            return [42, Block("imu", np.array([self.reads], np.int64), np.zeros((1, 3)))]

    made = Intake({"imu": Rubbish(spec(100.0), lost=False)}, {}, fresh_account(), live=True)
    made.start()
    try:
        taken: list[Arrival] = []
        while not (taken and taken[-1].change):
            arrival = made.take(60.0)
            assert arrival is not None
            taken.append(arrival)
        assert taken[-1].change == "ended"
        assert sum(arrival.block is not None for arrival in taken) == 5
        assert sum(arrival.unheard for arrival in taken) == 5
        assert made.failures == {"imu": "it delivered int, which is neither a block nor a mark nor a note"}
        assert len([record for record in caplog.records if "neither a block" in record.getMessage()]) == 1
    finally:
        made.stop()
