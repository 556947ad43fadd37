"""The intake: one thread a sensor reads its driver; blocks come out one by one, in an order that a replay repeats."""

import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from sensorium.agents.capture.arrival import Arrival, Change
from sensorium.agents.capture.delivered import delivered
from sensorium.agents.capture.queue_room import Overrun, has_room
from sensorium.agents.capture.reopening import Absent, Nature, close_quietly, fault_of_closing, open_again
from sensorium.drivers.driver import Driver
from sensorium.drivers.marks import Mark, Passed, SourceNote
from sensorium.drivers.stream import Block
from sensorium.episode.account import Tally
from sensorium.episode.device_account import DeviceAccount
from sensorium.errors import SensoriumError, SensorLost
from sensorium.threads import Thread, Told, join, reason

log = logging.getLogger(__name__)

READ_S = 0.2
MAX_QUEUED_BYTES = 64 << 20
STOP_S, LEAST_S, POLL_S = 10.0, 0.5, 0.01
AT_ONCE, AT_ONCE_BYTES = 64, 64 << 10


@dataclass(slots=True)
class _Sensor:
    driver: Driver
    nature: Nature
    reopen: Callable[[], Driver] | None
    thread: Thread | None = None
    queue: deque[Arrival] = field(default_factory=deque)
    queued_bytes: int = 0
    lost: dict[str, Tally] = field(default_factory=dict)
    unheard: int = 0
    overrun: Overrun = field(default_factory=Overrun)
    ended: bool = False
    failed: bool = False
    why_away: str | None = None
    admitted: bool | None = None
    left: bool = False

    @property
    def away(self) -> bool:
        """Whether it is not there, and may come back."""
        return self.why_away is not None


class Intake:
    """Reads all drivers of a device.

    Live (`live`), blocks come in the order of arrival, and what is not taken in time is dropped and counted. Else,
    drivers wait, and of the blocks at hand the one with the earliest stamp comes first, so that a replay gives the
    same order whatever the threads do.

    Args:
        drivers: The open drivers by sensor. The intake closes them. One that is `Absent` is told of as `opened` when
            it is there, and is read once it was admitted.
        reopen: How to open a sensor again, live after any error, else after `SensorLost`; one not in it ends with it.
        account: Where what the drivers deliver, or say is lost, enters.
        died: Who is told of the death of a thread that reads or closes a sensor; what that one read has `ended`.
    """

    def __init__(
        self,
        drivers: Mapping[str, Driver],
        reopen: Mapping[str, Callable[[], Driver]],
        account: DeviceAccount,
        *,
        live: bool,
        died: Told = lambda _: None,
    ) -> None:
        self._account = account
        self._live = live
        self._died = died
        self.failures: dict[str, str] = {}
        """Why, by sensor, of those that were ended by an error, or delivered what no stream can count."""
        self._sensors = {name: _Sensor(driver, Nature.of(driver), reopen.get(name)) for name, driver in drivers.items()}
        self._order = itertools.count()
        self._taken: deque[Arrival] = deque()
        self._changed = threading.Condition()
        self._stop = threading.Event()

    def start(self) -> None:
        """Begin to read."""
        for name, sensor in self._sensors.items():
            sensor.thread = Thread(
                f"read-{name}",
                f"reads sensor {name!r}",
                partial(self._read, name, sensor),
                partial(self._reader_died, name, sensor),
            )

    def take(self, timeout_s: float) -> Arrival | None:
        """The next arrival, or None if there was none in time. One thread calls it.

        What is there is taken out of the queues together: to have them to oneself is as much work as to take one."""
        if not self._taken:
            with self._changed:
                if self._next() is None:
                    self._changed.wait_for(lambda: self._next() is not None or self._stop.is_set(), timeout_s)
                self._take_some()
        return self._taken.popleft() if self._taken else None

    @property
    def at_hand(self) -> bool:
        """Whether the next arrival is there without a look at the queues."""
        return bool(self._taken)

    def _take_some(self) -> None:
        taken_bytes = 0
        while len(self._taken) < AT_ONCE and taken_bytes < AT_ONCE_BYTES and (sensor := self._next()) is not None:
            self._taken.append(arrival := sensor.queue.popleft())
            sensor.queued_bytes -= arrival.nbytes
            taken_bytes += arrival.nbytes
        if self._taken:
            self._changed.notify_all()

    @property
    def exhausted(self) -> bool:
        """Whether every sensor has ended and everything was taken."""
        with self._changed:
            return not self._taken and all(sensor.ended and not sensor.queue for sensor in self._sensors.values())

    @property
    def away(self) -> dict[str, str]:
        """Why, by sensor, of those that are not there now."""
        with self._changed:
            away = {name: s.why_away for name, s in self._sensors.items() if s.why_away is not None}
            return {name: why for name, why in away.items() if name not in self.failures}

    def driver(self, sensor: str) -> Driver:
        """That of a sensor, as it is open now."""
        return self._sensors[sensor].driver

    def missing(self) -> set[str]:
        """The streams of sensors that are away, or were left behind."""
        gone = [sensor for sensor in self._sensors.values() if sensor.away or sensor.left]
        return {spec.name for sensor in gone for spec in sensor.nature.specs}

    def admit(self, name: str, refused: str = "") -> None:
        """A sensor that was `opened` may be read, or is `refused`: why."""
        sensor = self._sensors[name]
        with self._changed:
            if refused:
                self.failures[name], sensor.failed = refused, True
            sensor.admitted = not refused
            self._changed.notify_all()

    def stop(self, hurry: Callable[[], bool] = lambda: False) -> None:
        """Close the drivers and end the threads. What was read before can still be taken; twice is no error.

        A driver that hangs in `read`, `open` or `close` is left behind after `STOP_S`, or as soon as there is `hurry`:
        what its sensor would have delivered since its last sample is said to be missed.
        """
        with self._changed:
            if self._stop.is_set():
                return
            self._stop.set()
            self._changed.notify_all()
        closing = [
            Thread(f"close-{name}", f"closes sensor {name!r}", partial(self._close, name, sensor), self._died)
            for name, sensor in self._sensors.items()
        ]
        threads = [*closing, *(sensor.thread for sensor in self._sensors.values() if sensor.thread is not None)]
        begun_s = time.monotonic()
        while any(thread.alive for thread in threads) and (waited_s := time.monotonic() - begun_s) < STOP_S:
            if waited_s > LEAST_S and hurry():
                break
            time.sleep(POLL_S)
        join(threads, 0.0)
        with self._changed:
            for name, sensor in self._sensors.items():
                if sensor.thread is not None and sensor.thread.alive and not sensor.ended:
                    sensor.left = True
                    self._tell_lost(name, sensor)
                    sensor.queue.append(Arrival(name, next(self._order), change="away"))

    def _close(self, name: str, sensor: _Sensor) -> None:
        if why := fault_of_closing(name, sensor.driver):
            self.failures.setdefault(name, f"it could not be closed: {why}")

    def _next(self) -> _Sensor | None:
        """The sensor whose head comes next; None if it is not known yet."""
        ready = [sensor for sensor in self._sensors.values() if sensor.queue]
        if self._live or not ready:
            return min(ready, key=lambda sensor: sensor.queue[0].order, default=None)
        waiting = any(not (s.queue or s.away or s.ended) for s in self._sensors.values())
        if waiting and not self._stop.is_set():
            return None
        return min(ready, key=_head_ns)

    def _read(self, name: str, sensor: _Sensor) -> None:
        while not self._stop.is_set():
            try:
                found = delivered(sensor.driver.read(READ_S))
            except BaseException as error:  # a driver is anybody's code, and its faults are its sensor's alone
                if self._stop.is_set() or not self._regain(name, sensor, error):
                    break
                continue
            if found is None:
                break
            self._take_in(name, sensor, found)
        self._end(name, sensor)

    def _take_in(self, name: str, sensor: _Sensor, found: Sequence[object]) -> None:
        for each in found:
            try:
                fault = self._sort(name, sensor, each)
            except (TypeError, AttributeError, IndexError) as error:  # not even its parts are what they must be
                fault = f"{type(each).__name__} of a wrong make ({reason(error)})"
            if fault:
                sensor.unheard += not isinstance(each, Block)
                self._accuse(name, fault)
        if self._live and (sensor.lost or sensor.unheard):
            with self._changed:  # of a sensor that delivers nothing else it must not wait for the end
                if not sensor.queue:
                    self._tell_lost(name, sensor)
                    self._changed.notify_all()

    def _sort(self, name: str, sensor: _Sensor, each: object) -> str:
        """Take one thing that a driver delivered; what it is, if that can be counted in no stream."""
        if isinstance(each, Block):
            if not any(each.stream == spec.name for spec in sensor.nature.specs):
                return f"{len(each)} samples of {each.stream!r}, which is none of its streams"
            if self._is_sound(name, sensor, each):
                self._put(name, sensor, each)
            return ""
        if isinstance(each, Mark | SourceNote | Passed):
            self._hear(name, sensor, each)
            return ""
        return f"{type(each).__name__}, which is neither a block nor a mark nor a note"

    def _accuse(self, name: str, what: str) -> None:
        """A driver delivered what can be counted in none of its streams: said once, and at the end by the exit status;
        what else it delivers is good."""
        if name not in self.failures:
            self.failures[name] = f"it delivered {what}"
            log.error("sensor %r said what it must not: %s; this is lost, as is what follows of the kind", name, what)

    def _reader_died(self, name: str, sensor: _Sensor, death: SensoriumError) -> None:
        self.failures[name], sensor.failed = str(death), True
        self._end(name, sensor)
        self._died(death)

    def _end(self, name: str, sensor: _Sensor) -> None:
        """Nothing more comes from this sensor."""
        with self._changed:
            self._tell_lost(name, sensor)
            if not self._stop.is_set():  # else it was closed, and might have gone on
                change: Change = "failed" if sensor.failed else "ended"
                sensor.queue.append(Arrival(name, next(self._order), change=change))
            sensor.ended = True
            self._changed.notify_all()

    def _is_sound(self, name: str, sensor: _Sensor, block: Block) -> bool:
        """Whether a block is as its spec says; else a driver is at fault, which must not end the others."""
        spec = next(spec for spec in sensor.nature.specs if spec.name == block.stream)
        try:
            block.check(spec)
        except Exception as error:  # what it is made of is anybody's too
            log.error("sensor %r delivered what it must not, %d samples are lost: %s", name, len(block), error)
            with self._changed:
                self._lose(sensor, block, "malformed")
            return False
        return True

    def _regain(self, name: str, sensor: _Sensor, why: BaseException) -> bool:
        """Close the driver and open it again, with back-off, until it is there or the intake stops. A replay or a world
        that fails would fail again at the same place: it ends, unless a world says that its sensor was pulled. So does
        one that comes back as another.
        """
        if sensor.reopen is None or not (self._live or isinstance(why, SensorLost)):
            return self._give_up(name, sensor, reason(why), why)
        if not isinstance(sensor.driver, Absent):
            log.warning("sensor %r is lost: %s", name, reason(why))
        self._away(name, sensor, reason(why))
        close_quietly(name, sensor.driver)
        driver = open_again(name, sensor.reopen, self._stop, partial(setattr, sensor, "why_away"), sensor.nature)
        if driver is None:
            return False
        is_new, nature = isinstance(sensor.driver, Absent), Nature.of(driver)
        if not is_new and (how := sensor.nature.differs(nature)):
            close_quietly(name, driver)
            return self._give_up(name, sensor, f"it came back {how}; restart the agent to record it")
        with self._changed:
            is_taken = not self._stop.is_set()  # whose closing is of the drivers that are known then
            if is_taken:
                sensor.driver, sensor.nature = driver, nature
        if not is_taken or (is_new and not self._is_admitted(name, sensor)):
            close_quietly(name, driver)
            return False
        self._back(name, sensor)
        log.warning("sensor %r is back", name)
        return True

    def _is_admitted(self, name: str, sensor: _Sensor) -> bool:
        """Tell that it is open, and wait for the word of who takes what comes."""
        with self._changed:
            sensor.queue.append(Arrival(name, next(self._order), change="opened"))
            self._changed.notify_all()
            self._changed.wait_for(lambda: sensor.admitted is not None or self._stop.is_set())
        return bool(sensor.admitted)

    def _give_up(self, name: str, sensor: _Sensor, why: str, error: BaseException | None = None) -> bool:
        """The sensor ends by an error."""
        log.error("sensor %r has ended by an error: %s", name, why)
        log.debug("where it failed", exc_info=error)
        self.failures[name], sensor.failed = why, True
        close_quietly(name, sensor.driver)
        return False

    def _away(self, name: str, sensor: _Sensor, why: str) -> None:
        with self._changed:
            self._tell_lost(name, sensor)
            sensor.queue.append(Arrival(name, next(self._order), change="away"))
            sensor.why_away = why
            self._changed.notify_all()

    def _back(self, name: str, sensor: _Sensor) -> None:
        with self._changed:
            sensor.why_away = None
            sensor.queue.append(Arrival(name, next(self._order), change="back"))
            self._changed.notify_all()

    def _put(self, name: str, sensor: _Sensor, block: Block) -> None:
        size = block.nbytes
        with self._changed:
            if self._live and not self._has_room(sensor, size):
                sensor.overrun.add(name, self._lose(sensor, block, "overrun"))
                return
            self._wait_for_room(sensor, size)
            if sensor.left:  # nobody takes it any more
                return
            self._account.enter(block.stream, block.lost_before + len(block))
            lost = sensor.lost.pop(block.stream, Tally())
            sensor.queue.append(Arrival(name, next(self._order), block, block.stream, lost))
            sensor.queued_bytes += size
            self._changed.notify_all()

    def _hear(self, name: str, sensor: _Sensor, said: Mark | SourceNote | Passed) -> None:
        """Take a mark or a note, if it is sound and there is room."""
        try:
            said.check()
            if isinstance(said, SourceNote) and said.stream not in {"", *(spec.name for spec in sensor.nature.specs)}:
                raise ValueError(f"note of {said.stream!r}, which is none of the sensor's streams")
        except Exception as error:  # what it is made of is anybody's too
            log.error("sensor %r said what it must not: %s", name, error)
            with self._changed:
                sensor.unheard += 1
            return
        with self._changed:
            arrival = Arrival(name, next(self._order), said=said, unheard=sensor.unheard)
            if self._live and not self._has_room(sensor, arrival.nbytes):
                log.error("sensor %r says more than can be taken: %s is lost", name, type(said).__name__)
                sensor.unheard += 1
                return
            self._wait_for_room(sensor, arrival.nbytes)
            sensor.unheard = 0
            sensor.queue.append(arrival)
            sensor.queued_bytes += arrival.nbytes
            self._changed.notify_all()

    def _has_room(self, sensor: _Sensor, size: int) -> bool:
        everyone = (each.queued_bytes for each in self._sensors.values())
        return has_room(sensor.queued_bytes, size, everyone, MAX_QUEUED_BYTES)

    def _wait_for_room(self, sensor: _Sensor, size: int) -> None:
        """A recording's first always has some: whose turn is next shows only once each has one."""
        self._changed.wait_for(lambda: not sensor.queue or self._has_room(sensor, size) or self._stop.is_set())

    def _lose(self, sensor: _Sensor, block: Block, cause: str) -> int:
        """The samples of a block that is not taken are lost, before the next of its stream; how many."""
        if sensor.left:
            return 0
        n = (block.lost_before if block.is_countable else 0) + len(block)
        self._account.enter(block.stream, n)
        sensor.lost.setdefault(block.stream, Tally()).count(cause, n)
        return n

    def _tell_lost(self, name: str, sensor: _Sensor) -> None:
        """What was lost since the last blocks is told alone."""
        for stream, lost in sensor.lost.items():
            sensor.queue.append(Arrival(name, next(self._order), stream=stream, lost=lost))
        sensor.lost.clear()
        if sensor.unheard:
            sensor.queue.append(Arrival(name, next(self._order), unheard=sensor.unheard))
            sensor.unheard = 0


def _head_ns(sensor: _Sensor) -> int:
    """When the head of a queue was captured; a change, and what a sensor says, come before every block."""
    block = sensor.queue[0].block
    return int(block.captured_ns[0]) if block is not None and len(block) else -(2**63)
