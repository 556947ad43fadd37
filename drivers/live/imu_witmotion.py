"""WitMotion IMUs on a serial port: what they send, in SI units and as raw counts."""

import math
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from msgspec.structs import replace
from pydantic import Field

from sensorium.drivers.clock import Clock, live_clock
from sensorium.drivers.driver import DriverConfig
from sensorium.drivers.live import witmotion_protocol as wit
from sensorium.drivers.live.v4l2_identity import serial_of
from sensorium.drivers.live.witmotion_line import TTYS, Line, open_port, port_of
from sensorium.drivers.stream import Block, StreamSpec
from sensorium.errors import ConfigError, SensorLost

STANDARD_GRAVITY = 9.80665
"""m/s^2 in one g (ISO 80000-3), which the sensor's counts are fractions of."""

RATES_HZ = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 125.0, 200.0)
"""The rates that these sensors can be set to."""

USB = "usb_serial"
"""Under this name a spec says the serial number of the adapter that its sensor is behind."""
_SETTLE_S = 0.5
_RAW_CHANNELS = {
    wit.ACCELERATION: ("ax", "ay", "az", "a_word4"),
    wit.ANGULAR_RATE: ("gx", "gy", "gz", "g_word4"),
    wit.ANGLE: ("roll", "pitch", "yaw", "angle_word4"),
    wit.MAGNETIC: ("hx", "hy", "hz", "h_word4"),
    wit.QUATERNION: ("q0", "q1", "q2", "q3"),
    wit.ALL_IN_ONE: ("ax", "ay", "az", "gx", "gy", "gz", "roll", "pitch", "yaw"),
}


class ImuWitmotionConfig(DriverConfig):
    """A WitMotion sensor (WT901, WT61, BWT901, ...) that speaks the 0x55 protocol, or the 0x61 of newer ones, which has
    no checksum; its own settings are not changed.

    Streams, of what the sensor is set to send: `imu` float64 [gx gy gz ax ay az] rad/s and m/s^2, `angle` roll pitch
    yaw in rad, `mag`, `quaternion` w x y z, and `raw`, every int16 as it was sent. `accel_range_g`, `gyro_range_dps`
    are the full scales that the sensor is set to. Magnetic counts differ by model: `mag_ut_per_count` makes them T.
    """

    kind: Literal["imu-witmotion"] = "imu-witmotion"
    port: str
    baud: Annotated[int, Field(ge=1200, le=4_000_000)] = 115200
    accel_range_g: Annotated[float, Field(gt=0, le=64)] = 16.0
    gyro_range_dps: Annotated[float, Field(gt=0, le=10_000)] = 2000.0
    mag_ut_per_count: Annotated[float, Field(gt=0)] | None = None
    raw: bool = True
    rate_hz: Annotated[float, Field(gt=0, le=1000)] | None = None
    lost_after_s: Annotated[float, Field(gt=0, le=3600)] = 3.0
    open_timeout_s: Annotated[float, Field(gt=0, le=3600)] = 5.0
    frame: str = ""
    calibration: dict[str, Any] = Field(default_factory=dict)

    def expected(self, name: str) -> tuple[StreamSpec, ...]:
        """Of these it may have some; what is in `raw` nobody knows."""
        all_alone = (wit.ACCELERATION, wit.ANGULAR_RATE, wit.ANGLE, wit.MAGNETIC, wit.QUATERNION)
        config, rate_hz = self.model_copy(update={"raw": False}), self.rate_hz or 1.0
        sent = (all_alone, all_alone[:1], all_alone[1:2])
        found = [each.spec for kinds in sent for each in _streams(name, config, kinds, False, rate_hz)]
        return tuple(found)

    def open(self, name: str, base: Path) -> "ImuWitmotion":  # noqa: ARG002 (a port is no path of the device file's folder)
        """Open the port alone and learn what the sensor sends (two cycles) and how fast (half a second more).

        A stated `rate_hz` is believed.
        """
        return self._open(name, self.port)

    def open_again(self, name: str, base: Path, before: Sequence[StreamSpec]) -> "ImuWitmotion":  # noqa: ARG002
        """The very adapter, if its serial number is known, under whatever number its port has now."""
        return self._open(name, port_of(self.port, before[0].calibration.get(USB, "")))

    def _open(self, name: str, port: str) -> "ImuWitmotion":
        serial = serial_of(Path(port), TTYS)
        config = self.model_copy(update={"calibration": {**self.calibration, USB: serial}}) if serial else self
        line = Line(open_port(port, self.baud), self.lost_after_s)
        try:
            return ImuWitmotion(name, config, line)
        except BaseException:
            line.close()
            raise

    def plugged_in(self, base: Path) -> bool:  # noqa: ARG002
        """Whether its port is there, or another that may be its."""
        return Path(self.port).exists() or any(TTYS.glob("ttyACM*")) or any(TTYS.glob("ttyUSB*"))


@dataclass(frozen=True, slots=True)
class _PacketStream:
    """One stream: which packets' words make its sample, in which columns, and the value of one count."""

    spec: StreamSpec
    kinds: tuple[int, ...]
    columns: tuple[int, ...]
    scale: tuple[float, ...] | None

    def data(self, cycles: Sequence[wit.Cycle]) -> Any:
        """`[n, *shape]` of cycles that hold all `kinds`."""
        words = b"".join(cycle.packets[kind].body for cycle in cycles for kind in self.kinds)
        width = sum(map(wit.words_of, self.kinds))
        counts = np.frombuffer(words, "<i2").reshape(len(cycles), width)[:, self.columns]
        return counts.astype(np.int16) if self.scale is None else counts * np.array(self.scale)


class ImuWitmotion:
    """An open sensor (see `sensorium.drivers.driver.Driver`).

    All samples of one cycle have one stamp: when its first byte arrived, reckoned back from the last byte of the read
    by the time that bytes take on the wire. A cycle with a damaged packet is lost to the streams that need the packet.
    """

    def __init__(self, name: str, config: ImuWitmotionConfig, line: Line) -> None:
        self._line = line
        self._clock = live_clock()
        self._captured_ns = 0
        self._reading = threading.Lock()
        self._closed = False
        packets = self._listen(config)
        kinds = self._sent_kinds(packets, config)
        rate_hz = config.rate_hz or self._measured_rate(packets, kinds[0])
        times = [wit.sensor_time_ns(packet.body) for packet in packets if packet.kind == wit.TIME]
        self._keeps_time = bool(times) and None not in times
        self._cycles = wit.Cycles(kinds)
        for packet in packets:  # not delivered; a cycle that is under way goes on in the first read
            self._cycles.add(packet)
        self._streams = _streams(name, config, kinds, self._keeps_time, rate_hz)
        self._lost = [0] * len(self._streams)
        self._config, self._name = config, name

    def keep_to(self, specs: Sequence[StreamSpec]) -> None:
        """Deliver these streams, as before it was plugged in again, if what it sends now holds them; before `read`."""
        kinds, wanted = self._cycles.kinds, [replace(spec, rate_hz=None) for spec in specs]
        for count in range(len(kinds), 0, -1):
            for sent in combinations(kinds, count):
                keeps_time = self._keeps_time and wit.TIME in sent
                streams = _streams(self._name, self._config, sent, keeps_time, self._streams[0].spec.rate_hz)
                if [replace(stream.spec, rate_hz=None) for stream in streams] == wanted:
                    self._streams, self._keeps_time = streams, keeps_time
                    self._lost = [0] * len(streams)
                    return

    @property
    def specs(self) -> tuple[StreamSpec, ...]:
        return tuple(stream.spec for stream in self._streams)

    @property
    def clock(self) -> Clock:
        return self._clock

    def read(self, timeout_s: float) -> Sequence[Block] | None:
        deadline = time.monotonic() + timeout_s
        with self._reading:
            while not self._closed:
                cycles = [cycle for packet in self._line.receive() for cycle in self._cycles.add(packet)]
                if cycles:
                    return self._blocks(cycles)
                if time.monotonic() >= deadline:
                    return ()
        return None

    def close(self) -> None:
        self._closed = True
        with self._reading:
            self._line.close()

    def _listen(self, config: ImuWitmotionConfig) -> list[wit.Packet]:
        """What comes until a cycle is known and, if its rate was not stated, for as long after it as that takes."""
        deadline = time.monotonic() + config.open_timeout_s
        packets: list[wit.Packet] = []
        settled = math.inf
        while time.monotonic() < min(deadline, settled):
            packets += self._line.receive()
            if settled == math.inf and wit.find_cycle(packets):
                settled = time.monotonic() + (_SETTLE_S if config.rate_hz is None else 0.0)
        return packets

    def _sent_kinds(self, packets: Sequence[wit.Packet], config: ImuWitmotionConfig) -> tuple[int, ...]:
        kinds = wit.find_cycle(packets)
        if kinds is None and packets:
            why = f"{self._line.title}: valid packets, but no two equal cycles in a row; is the line disturbed?"
            raise SensorLost(why)
        if kinds is None:
            raise SensorLost(self._line.silence(config.open_timeout_s))
        if kinds == (wit.TIME,):
            raise ConfigError(
                f"{self._line.title}: it sends its time alone; set it to send acceleration and angular rate"
            )
        return kinds

    def _measured_rate(self, packets: Sequence[wit.Packet], kind: int) -> float | None:
        """The nearest of `RATES_HZ`, or None if none is near."""
        starts = [packet.offset for packet in packets if packet.kind == kind]
        span_ns = self._line.arrival_ns(starts[-1]) - self._line.arrival_ns(starts[0])
        if span_ns <= 0:
            return None
        measured_hz = (len(starts) - 1) * 1e9 / span_ns
        nearest = min(RATES_HZ, key=lambda rate: abs(math.log(rate / measured_hz)))
        return nearest if abs(nearest / measured_hz - 1) < 0.15 else None

    def _blocks(self, cycles: Sequence[wit.Cycle]) -> list[Block]:
        whole: list[list[tuple[int, int, wit.Cycle]]] = [[] for _ in self._streams]
        blocks: list[Block] = []
        for cycle in cycles:
            self._line.forget_before(cycle.offset)
            self._captured_ns = max(self._captured_ns, self._line.arrival_ns(cycle.offset))
            sensor_ns = self._sensor_ns(cycle)
            for number, stream in enumerate(self._streams):
                complete = sensor_ns is not None and all(kind in cycle.packets for kind in stream.kinds)
                lost = cycle.lost_before + (not complete)
                if lost:
                    blocks += self._block(number, whole[number])
                    self._lost[number] += lost
                if sensor_ns is not None and complete:
                    whole[number].append((self._captured_ns, sensor_ns, cycle))
        for number, samples in enumerate(whole):
            blocks += self._block(number, samples)
        return blocks

    def _sensor_ns(self, cycle: wit.Cycle) -> int | None:
        """The sensor's time of `cycle`; 0 where it keeps none, None where it is damaged."""
        if not self._keeps_time:
            return 0
        packet = cycle.packets.get(wit.TIME)
        return None if packet is None else wit.sensor_time_ns(packet.body)

    def _block(self, number: int, samples: list[tuple[int, int, wit.Cycle]]) -> list[Block]:
        """One block of the samples gathered so far, which are then forgotten, or of a loss alone."""
        lost, self._lost[number] = self._lost[number], 0
        if not samples and not lost:
            return []
        stream = self._streams[number]
        captured_ns, sensor_ns = (np.array([sample[i] for sample in samples], np.int64) for i in (0, 1))
        data = stream.data([sample[2] for sample in samples])
        samples.clear()
        return [Block(stream.spec.name, captured_ns, data, lost, sensor_ns if self._keeps_time else None)]


def _streams(
    name: str, config: ImuWitmotionConfig, kinds: Sequence[int], keeps_time: bool, rate_hz: float | None
) -> list[_PacketStream]:
    """The streams that a cycle of `kinds` makes."""
    gyro = math.radians(config.gyro_range_dps)
    accel = config.accel_range_g * STANDARD_GRAVITY
    mag, mag_unit = (config.mag_ut_per_count * 1e-6 * 32768, "T") if config.mag_ut_per_count else (32768.0, "count")
    xyz, six = (0, 1, 2), (0, 1, 2, 4, 5, 6)  # the fourth word is a temperature or a voltage, by model
    rates, forces = ("gx", "gy", "gz"), ("ax", "ay", "az")
    streams: list[_PacketStream] = []

    def add(
        stream: str,
        modality: str,
        needs: Sequence[int],
        columns: Sequence[int],
        channels: Sequence[str],
        unit: str,
        full_scale: Sequence[float] = (),
    ) -> None:
        spec = StreamSpec(
            name=f"{name}.{stream}",
            modality=modality,
            dtype="float64" if full_scale else "int16",
            shape=(len(channels),),
            unit=unit,
            channels=tuple(channels),
            rate_hz=rate_hz,
            frame=config.frame,
            calibration=config.calibration,
            stamps_from="arrival",
            has_sensor_ns=keeps_time,
            full_scale=tuple(full_scale) or None,
            bits=16,
        )
        scale = tuple(side / 32768 for side in full_scale) or None
        streams.append(_PacketStream(spec, tuple(needs), tuple(columns), scale))

    unit = ", ".join(["rad/s"] * 3 + ["m/s^2"] * 3)
    if wit.ALL_IN_ONE in kinds:
        one = (wit.ALL_IN_ONE,)
        add("imu", "imu", one, (3, 4, 5, 0, 1, 2), rates + forces, unit, [gyro] * 3 + [accel] * 3)
        add("angle", "orientation", one, (6, 7, 8), ("roll", "pitch", "yaw"), "rad", [math.pi] * 3)
    elif wit.ACCELERATION in kinds and wit.ANGULAR_RATE in kinds:
        both = (wit.ANGULAR_RATE, wit.ACCELERATION)
        add("imu", "imu", both, six, rates + forces, unit, [gyro] * 3 + [accel] * 3)
    elif wit.ACCELERATION in kinds:
        add("accel", "imu", (wit.ACCELERATION,), xyz, forces, "m/s^2", [accel] * 3)
    elif wit.ANGULAR_RATE in kinds:
        add("gyro", "imu", (wit.ANGULAR_RATE,), xyz, rates, "rad/s", [gyro] * 3)
    if wit.ANGLE in kinds:
        add("angle", "orientation", (wit.ANGLE,), xyz, ("roll", "pitch", "yaw"), "rad", [math.pi] * 3)
    if wit.MAGNETIC in kinds:
        add("mag", "magnetometer", (wit.MAGNETIC,), xyz, ("x", "y", "z"), mag_unit, [mag] * 3)
    if wit.QUATERNION in kinds:
        add("quaternion", "orientation", (wit.QUATERNION,), range(4), ("w", "x", "y", "z"), "", [1.0] * 4)
    sent = [kind for kind in kinds if kind != wit.TIME]
    if config.raw or not streams:
        names = [n for kind in sent for n in _RAW_CHANNELS.get(kind, tuple(f"{kind:02x}_{i}" for i in range(4)))]
        add("raw", "imu", sent, range(len(names)), names, "count")
    return streams
