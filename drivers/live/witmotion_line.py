"""The serial line that a WitMotion sensor is on: packets as they come, and when each of their bytes arrived."""

import errno
from collections import deque
from pathlib import Path

import serial

from sensorium.drivers.clock import boottime_ns
from sensorium.drivers.live import witmotion_protocol as wit
from sensorium.drivers.live.v4l2_identity import serial_of
from sensorium.errors import ConfigError, SensorLost

TTYS = Path("/sys/class/tty")
WAIT_S = 0.05
"""`receive` waits at most so long for a byte, and so may `read` and `close` of the sensor be late by it."""


class Line:
    """An open port with a sensor behind it; one thread uses it at a time.

    A byte arrived when the read that brought it returned, less the time on the wire of those that came behind it.
    """

    def __init__(self, port: serial.Serial, lost_after_s: float) -> None:
        self.title = f"IMU on {port.port}"
        self._port = port
        self._lost_after_s = lost_after_s
        self._parser = wit.Parser()
        self._arrivals: deque[tuple[int, int]] = deque()
        self._byte_ns = 10 * 10**9 / port.baudrate
        self._heard_ns = self._valid_ns = boottime_ns()

    def receive(self) -> list[wit.Packet]:
        """The packets of what has come within `WAIT_S`.

        Raises:
            SensorLost: the sensor is gone, or has sent nothing that can be read for `lost_after_s`.
        """
        try:
            data = self._port.read(max(1, self._port.in_waiting))
        except OSError as error:
            raise SensorLost(f"{self.title}: {error}; was it unplugged?") from error
        now_ns = boottime_ns()
        packets = self._parser.feed(data)
        if data:
            self._heard_ns = now_ns
            self._arrivals.append((self._parser.offset, now_ns))
        if packets:
            self._valid_ns = now_ns
        silent_s = (now_ns - self._valid_ns) / 1e9
        if silent_s > self._lost_after_s:
            raise SensorLost(self.silence(silent_s))
        return packets

    def silence(self, silent_s: float) -> str:
        """What to say of a sensor of which nothing could be read for so long."""
        if self._heard_ns > self._valid_ns:
            baud = self._port.baudrate
            return f"{self.title}: bytes, but no valid packet for {silent_s:.1f} s; wrong baud rate? (it is {baud})"
        return f"{self.title}: nothing received for {silent_s:.1f} s; is it powered, and set to send?"

    def arrival_ns(self, offset: int) -> int:
        """When the byte at `offset`, counted since the port was opened, arrived."""
        for end, now_ns in self._arrivals:
            if end > offset:
                return now_ns - int((end - offset - 1) * self._byte_ns)
        raise LookupError(f"byte {offset} has not arrived")

    def forget_before(self, offset: int) -> None:
        """Nobody will ask for the arrival of bytes before this one, which has arrived."""
        while self._arrivals[0][0] <= offset:
            self._arrivals.popleft()

    def close(self) -> None:
        """Let go of the port."""
        self._port.close()


def port_of(port: str, serial: str, ttys: Path = TTYS) -> str:
    """Where the adapter of a serial number is now: at its port, or at another; without a number, at its port.

    Raises:
        SensorLost: it is nowhere, and at its port is another.
    """
    if not serial or (found := serial_of(Path(port), ttys)) == serial:
        return port
    for place in sorted([*ttys.glob("ttyACM*"), *ttys.glob("ttyUSB*")]):
        if serial_of(Path("/dev") / place.name, ttys) == serial:
            return f"/dev/{place.name}"
    if Path(port).exists():
        raise SensorLost(f"port {port} is another adapter: its serial is {found!r}, not {serial!r}; put that one back")
    return port


def open_port(path: str, baud: int) -> serial.Serial:
    """Open a serial port, for this process alone.

    Raises:
        SensorLost: it is not there, or in use.
        ConfigError: it may not be used by this user, is no serial port, or has no such baud rate.
    """
    try:
        port = serial.Serial(path, baud, timeout=WAIT_S, exclusive=True)
        port.reset_input_buffer()
    except ValueError as error:
        raise ConfigError(f"port {path}: {error}; choose a baud rate that it has, such as 9600 or 115200") from error
    except OSError as error:
        if error.errno == errno.ENOENT:
            raise SensorLost(f"port {path} is not there; plug it in, `sensorium devices` lists what is") from error
        if error.errno in (errno.EACCES, errno.EPERM):
            raise ConfigError(
                f"port {path}: permission denied; add yourself to the group dialout and log in again"
            ) from error
        if error.errno in (errno.EAGAIN, errno.EBUSY):
            raise SensorLost(f"port {path} is in use by another program; stop that one first") from error
        if isinstance(error, serial.SerialException) and error.errno not in (None, errno.ENOTTY):
            raise SensorLost(f"port {path}: {error}") from error
        raise ConfigError(f"port {path}: {error}; expected a serial port, such as /dev/ttyUSB0") from error
    return port
