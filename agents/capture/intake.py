"""The intake: one thread a sensor reads its driver; blocks come out one by one, in an order that a replay repeats."""

import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import msgspec

from sensorium.drivers.driver import Driver
from sensorium.drivers.marks import Mark, SourceNote
from sensorium.drivers.stream import Block, StreamSpec
from sensorium.episode.account import Tally
from sensorium.episode.device_account import DeviceAccount
from sensorium.errors import SensoriumError, SensorLost
from sensorium.threads import Thread, Told, join, reason

log = logging.getLogger(__name__)

READ_S = 0.2
MAX_QUEUED_BYTES = 64 << 20
FIRST_BACKOFF_S = 0.5
MAX_BACKOFF_S = 15.0
SAY_EVERY_S = 10.0
STOP_S = 10.0
SAID_BYTES = 256
"""More than a mark or a note takes beside its value."""
Change = Literal["", "ended", "failed", "away", "back"]


@dataclass(frozen=True, slots=True)
class Arrival:
    """What came from a sensor: a block, what it says, or a change. `lost` counts samples of `stream` lost before it,
    `unheard` what it said before it and was not taken."""

    sensor: str
    order: int
    block: Block | None = None
    stream: str = ""
    lost: Tally = field(default_factory=Tally)
    change: Change = ""
    said: Mark | SourceNote | None = None
    unheard: int = 0

    @property
    def nbytes(self) -> int:
        """What it counts for in the queue."""
        note_bytes = self.said.nbytes if isinstance(self.said, SourceNote) else 0
        return (0 if self.block is None else self.block.nbytes) + (SAID_BYTES + note_bytes) * (self.said is not None)


@dataclass(slots=True)
class _Sensor:
    driver: Driver
    reopen: Callable[[], Driver] | None
    thread: Thread | None = None
    queue: deque[Arrival] = field(default_factory=deque)
    queued_bytes: int = 0
    lost: dict[str, Tally] = field(default_factory=dict)
    unheard: int = 0
    overruns: int = 0
    said_s: float = -SAY_EVERY_S
    away: bool = False
    ended: bool = False
    failed: bool = False


class Intake:
    """Reads all drivers of a device.

    Live (`live`), blocks come in the order of arrival, and what is not taken in time is dropped and counted. Else,
    drivers wait, and of the blocks at hand the one with the earliest stamp comes first, so that a replay gives the
    same order whatever the threads do.

    Args:
        drivers: The open drivers by sensor. The intake closes them.
        reopen: How to open a sensor again after `SensorLost`, live after any error; one not in it ends with its loss.
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
        self._sensors = {name: _Sensor(driver, reopen.get(name)) for name, driver in drivers.items()}
        self._order = itertools.count()
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
        """The next arrival, or None if there was none in time."""
        with self._changed:
            self._changed.wait_for(lambda: self._next() is not None or self._stop.is_set(), timeout_s)
            sensor = self._next()
            if sensor is None:
                return None
            arrival = sensor.queue.popleft()
            sensor.queued_bytes -= arrival.nbytes
            self._changed.notify_all()
            return arrival

    @property
    def exhausted(self) -> bool:
        """Whether every sensor has ended and everything was taken."""
        with self._changed:
            return all(sensor.ended and not sensor.queue for sensor in self._sensors.values())

    def stop(self) -> None:
        """Close the drivers and end the threads. What was read before can still be taken; twice is no error.

        A driver that hangs in `read` or `close` is left behind after `STOP_S`.
        """
        with self._changed:
            if self._stop.is_set():
                return
            self._stop.set()
            self._changed.notify_all()
        closing = [
            Thread(f"close-{name}", f"closes sensor {name!r}", sensor.driver.close, self._died)
            for name, sensor in self._sensors.items()
        ]
        join([*closing, *(sensor.thread for sensor in self._sensors.values() if sensor.thread is not None)], STOP_S)

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
                read = sensor.driver.read(READ_S)
                delivered = None if read is None else list(read)
            except Exception as error:  # a driver is anybody's code, and its faults are its sensor's alone
                if self._stop.is_set() or not self._regain(name, sensor, error):
                    break
                continue
            if delivered is None:
                break
            self._take_in(name, sensor, delivered)
        self._end(name, sensor)

    def _take_in(self, name: str, sensor: _Sensor, delivered: Sequence[object]) -> None:
        streams = {spec.name for spec in sensor.driver.specs}
        for each in delivered:
            if isinstance(each, Block) and each.stream not in streams:
                self._accuse(name, f"{len(each)} samples of {each.stream!r}, which is none of its streams")
            elif isinstance(each, Block):
                if self._is_sound(name, sensor, each):
                    self._put(name, sensor, each)
            elif isinstance(each, Mark | SourceNote):
                self._hear(name, sensor, each)
            else:
                sensor.unheard += 1
                self._accuse(name, f"{type(each).__name__}, which is neither a block nor a mark nor a note")
        if self._live and (sensor.lost or sensor.unheard):
            with self._changed:  # of a sensor that delivers nothing else it must not wait for the end
                if not sensor.queue:
                    self._tell_lost(name, sensor)
                    self._changed.notify_all()

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
        spec = next(spec for spec in sensor.driver.specs if spec.name == block.stream)
        try:
            block.check(spec)
        except ValueError as error:
            log.error("sensor %r delivered what it must not, %d samples are lost: %s", name, len(block), error)
            with self._changed:
                self._lose(sensor, block, "malformed")
            return False
        return True

    def _regain(self, name: str, sensor: _Sensor, why: Exception) -> bool:
        """Close the driver and open it again, with back-off, until it is there or the intake stops.

        A replay or a world that fails would fail again at the same place: it ends.
        """
        if sensor.reopen is None or not (self._live or isinstance(why, SensorLost)):
            log.error("sensor %r has ended by an error: %s", name, reason(why))
            log.debug("where it failed", exc_info=why)
            self.failures[name], sensor.failed = reason(why), True
            _close(name, sensor.driver)
            return False
        log.warning("sensor %r is lost: %s", name, reason(why))
        self._away(name, sensor)
        _close(name, sensor.driver)
        pause_s = FIRST_BACKOFF_S
        while not self._stop.wait(pause_s):
            try:
                driver = sensor.reopen()
            except Exception as error:
                log.info("sensor %r: %s; next try in %.0f s", name, reason(error), pause_s)
                pause_s = min(2 * pause_s, MAX_BACKOFF_S)
                continue
            if _content(driver) != _content(sensor.driver):
                _close(name, driver)
                log.error("sensor %r came back with other streams; restart the agent to record them", name)
                return False
            with self._changed:
                if not self._stop.is_set():  # whose closing is of the drivers that are known then
                    self._back(name, sensor, driver)
                    log.warning("sensor %r is back", name)
                    return True
            _close(name, driver)
        return False

    def _away(self, name: str, sensor: _Sensor) -> None:
        with self._changed:
            self._tell_lost(name, sensor)
            sensor.queue.append(Arrival(name, next(self._order), change="away"))
            sensor.away = True
            self._changed.notify_all()

    def _back(self, name: str, sensor: _Sensor, driver: Driver) -> None:
        """Called with the lock held."""
        sensor.driver, sensor.away = driver, False
        sensor.queue.append(Arrival(name, next(self._order), change="back"))
        self._changed.notify_all()

    def _put(self, name: str, sensor: _Sensor, block: Block) -> None:
        size = block.nbytes
        with self._changed:
            if self._live and sensor.queued_bytes + size > MAX_QUEUED_BYTES:
                sensor.overruns += self._lose(sensor, block, "overrun")
                _say_overrun(name, sensor)
                return
            self._wait_for_room(sensor, size)
            self._account.enter(block.stream, block.lost_before + len(block))
            lost = sensor.lost.pop(block.stream, Tally())
            sensor.queue.append(Arrival(name, next(self._order), block, block.stream, lost))
            sensor.queued_bytes += size
            self._changed.notify_all()

    def _hear(self, name: str, sensor: _Sensor, said: Mark | SourceNote) -> None:
        """Take a mark or a note, if it is sound and there is room."""
        try:
            said.check()
            if isinstance(said, SourceNote) and said.stream not in {"", *(spec.name for spec in sensor.driver.specs)}:
                raise ValueError(f"note of {said.stream!r}, which is none of the sensor's streams")
        except ValueError as error:
            log.error("sensor %r said what it must not: %s", name, error)
            with self._changed:
                sensor.unheard += 1
            return
        with self._changed:
            arrival = Arrival(name, next(self._order), said=said, unheard=sensor.unheard)
            if self._live and sensor.queued_bytes + arrival.nbytes > MAX_QUEUED_BYTES:
                log.error("sensor %r says more than can be taken: %s is lost", name, type(said).__name__)
                sensor.unheard += 1
                return
            self._wait_for_room(sensor, arrival.nbytes)
            sensor.unheard = 0
            sensor.queue.append(arrival)
            sensor.queued_bytes += arrival.nbytes
            self._changed.notify_all()

    def _wait_for_room(self, sensor: _Sensor, size: int) -> None:
        self._changed.wait_for(
            lambda: not sensor.queue or sensor.queued_bytes + size <= MAX_QUEUED_BYTES or self._stop.is_set()
        )

    def _lose(self, sensor: _Sensor, block: Block, cause: str) -> int:
        """The samples of a block that is not taken are lost, before the next of its stream; how many."""
        n = max(block.lost_before, 0) + len(block)
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


def _close(name: str, driver: Driver) -> None:
    """Close a driver that failed; that it does not manage even this changes nothing."""
    try:
        driver.close()
    except Exception as error:
        log.error("sensor %r could not be closed: %s", name, reason(error))


def _say_overrun(name: str, sensor: _Sensor) -> None:
    """Not for every block that is dropped."""
    now_s = time.monotonic()
    if now_s - sensor.said_s < SAY_EVERY_S:
        return
    sensor.said_s = now_s
    log.warning(
        "sensor %r delivers more than can be encoded and written: %d samples dropped so far, counted as lost (overrun);"
        " lower its rate or size, add the filter `rate`, or choose another encoding",
        name,
        sensor.overruns,
    )


def _content(driver: Driver) -> list[StreamSpec]:
    """What a driver's streams hold, without the rates: where they are measured, each opening finds another."""
    return [msgspec.structs.replace(spec, rate_hz=None) for spec in driver.specs]


def _head_ns(sensor: _Sensor) -> int:
    """When the head of a queue was captured; a change, and what a sensor says, come before every block."""
    block = sensor.queue[0].block
    return int(block.captured_ns[0]) if block is not None and len(block) else -(2**63)
