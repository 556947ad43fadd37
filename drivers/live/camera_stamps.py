"""Where a live camera's stamps come from: the source's own time on this machine's clock, or the arrival."""

import time
from typing import NamedTuple, Protocol

from sensorium.drivers.clock import boottime_ns
from sensorium.drivers.live.frame_stamps import FrameStamps
from sensorium.drivers.live.sensor_clock import Gaps, SensorClock
from sensorium.errors import SensorLost

_AHEAD_NS, _LASTS = 10**9, 3


class Stamp(NamedTuple):
    """When a frame was captured (boottime), the source's own time if it has one, and how many are missing before it;
    with `is_guess` that was told from stamps."""

    captured_ns: int
    sensor_ns: int | None = None
    lost_before: int = 0
    is_guess: bool = False


class Stamper(Protocol):
    """Stamps a source's frames, one after the other; None for a frame that tells no time yet, which is passed over."""

    @property
    def stamps_from(self) -> str: ...

    @property
    def has_sensor_ns(self) -> bool: ...

    def stamp(self, arrival_ns: int, position_ms: float) -> Stamp | None: ...


class ArrivalStamps:
    """A frame's stamp is when it arrived, decoding not included: late by exposure, transport and buffers."""

    stamps_from = "arrival"
    has_sensor_ns = False

    def stamp(self, arrival_ns: int, position_ms: float) -> Stamp:  # noqa: ARG002 (the protocol's)
        return Stamp(arrival_ns)


class StreamStamps:
    """RTSP: the sender's media time, mapped onto boottime; it is kept as `sensor_ns`.

    While a stream is being opened its first frames pile up and then come in one burst. They were captured before
    anybody collected and their arrival says nothing, so they are passed over: the first frame that took its time
    (half its own interval) to arrive is the first of the stream.

    A stamp that runs ahead of its arrival by more than a second is wrong: its frame has the time of its arrival. If
    that lasts, the sender's clock was set.
    """

    stamps_from = "source"
    has_sensor_ns = True

    def __init__(self) -> None:
        self._clock = SensorClock()
        self._gaps = Gaps()
        self._last: tuple[int, int] | None = None
        self._live = False
        self._wrong = 0

    def stamp(self, arrival_ns: int, position_ms: float) -> Stamp | None:
        sensor_ns = position_ns(position_ms)
        last = self._last
        if self._live and last is not None and sensor_ns - last[0] > arrival_ns - last[1] + _AHEAD_NS:
            self._wrong += 1
            if self._wrong >= _LASTS:
                ahead_s = (sensor_ns - last[0] - arrival_ns + last[1]) / 1e9
                raise SensorLost(f"the source's clock stepped ahead by {ahead_s:.1f} s; open it again")
            guess_ns = self._clock.map(last[0] + arrival_ns - last[1], arrival_ns)
            return Stamp(guess_ns, sensor_ns, self._gaps.missing(last[0] + arrival_ns - last[1]), is_guess=True)
        self._last, self._wrong = (sensor_ns, arrival_ns), 0
        if last is not None and sensor_ns < last[0]:
            raise SensorLost(f"the source's clock stepped back by {(last[0] - sensor_ns) / 1e6:.0f} ms; open it again")
        if not self._live:
            interval_ns = 0 if last is None else sensor_ns - last[0]
            if last is None or interval_ns == 0 or arrival_ns - last[1] < interval_ns / 2:
                return None
            self._live = True
        missing = self._gaps.missing(sensor_ns)
        return Stamp(self._clock.map(sensor_ns, arrival_ns), sensor_ns, missing, is_guess=True)


class DeviceStamps:
    """V4L2: the kernel's stamp of the frame's buffer, where the driver makes them on CLOCK_MONOTONIC, as most do.

    That is boottime less what was spent suspended, so the mapping is exact. A driver that stamps otherwise (its first
    frame is of another time) gets arrival stamps. `by_kernel` is what was decided when it was opened before.
    """

    has_sensor_ns = False

    def __init__(self, by_kernel: bool | None = None, rate_hz: float | None = None) -> None:
        self._gaps = Gaps(rate_hz=rate_hz)
        self._checked = FrameStamps()
        self._by_kernel = by_kernel

    @property
    def stamps_from(self) -> str:
        return "source" if self._by_kernel else "arrival"

    def stamp(self, arrival_ns: int, position_ms: float) -> Stamp:
        suspended_ns = boottime_ns() - time.monotonic_ns()
        kernel_ns = position_ns(position_ms) + suspended_ns
        if self._by_kernel is None:
            self._by_kernel = position_ms > 0 and self._checked.is_near(kernel_ns, arrival_ns)
        if not self._by_kernel:
            return Stamp(arrival_ns)
        checked = self._checked.take(kernel_ns, arrival_ns)
        missing = self._gaps.missing(checked.captured_ns)
        return Stamp(checked.captured_ns, lost_before=missing, is_guess=True)


def position_ns(position_ms: float) -> int:
    """OpenCV's CAP_PROP_POS_MSEC in whole nanoseconds, exact to its microsecond.

    >>> position_ns(300.00000000000006)
    300000000
    """
    return round(position_ms * 1e3) * 1000
