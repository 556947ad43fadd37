"""An inertial sensor behind a HID sensor hub that this program is, over /dev/uhid: the kernel's own drivers bind to it.

    python -m tests.guest.inside.uhid_imu LOG.npz [SERIAL]

LOG.npz holds `t` s [n], `acc` m/s^2 [n, 3] and `gyro` rad/s [n, 3]. What is read on standard input says what to do:
`send N` sends the next N rows at the times that they were taken, `flood N` at once. Each is answered with a line.
Usages are of the HID Usage Tables 1.4, chapter 20 (sensors); the events of linux/uhid.h.
"""

import os
import struct
import sys
import time
from collections.abc import Iterator

import numpy as np

from sensorium.errors import ConfigError
from sensorium.threads import Thread

MICRO = 1_000_000
"""Counts a unit: the exponent that the descriptor states is -6."""

_CREATE, _INPUT, _GET, _GET_REPLY, _SET, _SET_REPLY = 11, 12, 9, 10, 13, 14
_EVENT_BYTES = 4380
_ACCEL, _GYRO = 1, 2
_STATES = ((0x0316, 0x0840, 0x0845), (0x0319, 0x0850, 0x0855))
"""Reporting and power state, with their selectors."""


def _selector(usage: int, first: int, last: int, item: int) -> bytes:
    """A field that names one of some states."""
    head = b"\x0a" + struct.pack("<H", usage) + bytes([0x15, 0, 0x25, last - first, 0x75, 8, 0x95, 1, 0xA1, 2])
    names = b"".join(b"\x0a" + struct.pack("<H", each) for each in range(first, last + 1))
    return head + names + bytes([item, 0, 0xC0])


def _sensor(report: int, usage: int, axes: range, sensitivity: int, unit: bytes) -> bytes:
    """One sensor of the hub: its settings as features, its axes as input of 32 bits each."""
    made = bytes([0x85, report, 0x05, 0x20, 0x09, usage, 0xA1, 0, 0x05, 0x20])
    made += b"".join(_selector(*state, 0xB1) for state in _STATES)
    made += bytes([0x0A, 0x0E, 0x03, 0x15, 0, 0x27]) + struct.pack("<i", 2**31 - 1)
    made += bytes([0x75, 32, 0x95, 1, 0x55, 0, 0xB1, 2])
    made += b"\x0a" + struct.pack("<H", sensitivity | 0x1000)
    made += bytes([0x15, 0, 0x26, 0xFF, 0x7F, 0x75, 16, 0x95, 1, 0x55, 0x0E, 0xB1, 2])
    made += _selector(0x0201, 0x0800, 0x0806, 0x81) + _selector(0x0202, 0x0810, 0x0815, 0x81)
    for axis in axes:
        made += b"\x0a" + struct.pack("<H", axis) + b"\x17" + struct.pack("<i", -(2**31) + 1)
        made += b"\x27" + struct.pack("<i", 2**31 - 1) + bytes([0x75, 32, 0x95, 1, 0x55, 0x0A]) + unit + b"\x81\x02"
    return made + b"\xc0"


def descriptor() -> bytes:
    """A hub with an accelerometer and a gyroscope of three axes."""
    accel = _sensor(_ACCEL, 0x73, range(0x453, 0x456), 0x452, bytes([0x66, 0xE0, 0x11]))
    gyro = _sensor(_GYRO, 0x76, range(0x457, 0x45A), 0x456, bytes([0x66, 0xF0, 0x12]))
    return bytes([0x05, 0x20, 0x09, 0x01, 0xA1, 0x01]) + accel + gyro + b"\xc0"


class Hub:
    """The device, which is there until this process ends."""

    def __init__(self, serial: str) -> None:
        self._uhid = os.open("/dev/uhid", os.O_RDWR)
        said = descriptor()
        names = b"Replay IMU".ljust(128, b"\0") + bytes(64) + serial.encode().ljust(64, b"\0")
        self._put(_CREATE, names + struct.pack("<HHIIII", len(said), 3, 0x8086, 0x09D8, 1, 0) + said)
        self._features = {n: bytes([n, 1, 1]) + struct.pack("<iH", 10, 0) for n in (_ACCEL, _GYRO)}
        self._last = dict.fromkeys(self._features, (0, 0, 0))
        Thread("uhid", "answers the kernel", self._answer, lambda error: print(error, flush=True), stop_s=0)

    def send(self, accel: tuple[int, int, int], gyro: tuple[int, int, int]) -> None:
        """One row of each sensor."""
        self._last = {_ACCEL: accel, _GYRO: gyro}
        for report in self._last:
            data = self._input(report)
            self._put(_INPUT, struct.pack("<H", len(data)) + data)

    def _put(self, event: int, payload: bytes) -> None:
        os.write(self._uhid, struct.pack("<I", event) + payload)

    def _input(self, report: int) -> bytes:
        return bytes([report, 2, 3]) + struct.pack("<3i", *self._last[report])

    def _answer(self) -> None:
        while True:
            event = os.read(self._uhid, _EVENT_BYTES)
            kind = struct.unpack_from("<I", event)[0]
            if kind == _GET:
                request, report, what = struct.unpack_from("<IBB", event, 4)
                data = self._input(report) if what else self._features[report]
                self._put(_GET_REPLY, struct.pack("<IHH", request, 0, len(data)) + data)
            elif kind == _SET:
                request, report, what, size = struct.unpack_from("<IBBH", event, 4)
                if not what:
                    self._features[report] = event[12 : 12 + size]
                self._put(_SET_REPLY, struct.pack("<IH", request, 0))


def counts(log: str) -> Iterator[tuple[float, tuple[int, int, int], tuple[int, int, int]]]:
    """Rows of a log: seconds, accelerations and angular rates in millionths."""
    with np.load(log) as held:
        rows = [np.rint(held[name] * MICRO).astype(np.int64).tolist() for name in ("acc", "gyro")]
        for at_s, accel, gyro in zip(held["t"].tolist(), *rows, strict=True):
            yield at_s, tuple(accel), tuple(gyro)


def main() -> None:
    """Be a hub, and do what is said."""
    if len(sys.argv) not in (2, 3):
        raise ConfigError("uhid_imu: expected LOG.npz [SERIAL]")
    rows = counts(sys.argv[1])
    hub = Hub(sys.argv[2] if len(sys.argv) > 2 else "replay-0")
    print("plugged", flush=True)
    for line in sys.stdin:
        how, _, number = line.partition(" ")
        first_s: float | None = None
        begun_s = time.monotonic()
        for _, (at_s, accel, gyro) in zip(range(int(number)), rows, strict=False):
            first_s = at_s if first_s is None else first_s
            if how == "send":
                time.sleep(max(0.0, begun_s + at_s - first_s - time.monotonic()))
            hub.send(accel, gyro)
        print("sent", flush=True)


if __name__ == "__main__":
    main()
