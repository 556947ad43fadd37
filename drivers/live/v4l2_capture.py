"""Capturing through V4L2: the kernel's buffers, mapped, with its stamps, sequence numbers and flags as it gives them.

Structures and numbers are those of linux/videodev2.h on 64-bit machines.
"""

import contextlib
import errno
import fcntl
import mmap
import os
import select
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from sensorium.drivers.live import v4l2
from sensorium.drivers.live.v4l2 import Ioctl
from sensorium.errors import ConfigError, SensorLost

BUFFERS = 8
WAIT_S = 0.05
"""`receive` waits at most so long, and so may `read` and `close` of the camera be late by it."""

_BUFFER = struct.Struct("=5I4x2q16s2IQ2Ii4x")
_FORMAT = struct.Struct("=I4x12I152x")
_PARM = struct.Struct("=7I176x")
_REQUEST = struct.Struct("=5I")
_CONTROL = struct.Struct("=Ii")
_QUERY = struct.Struct("=2I32s4iI8x")
G_FMT, S_FMT, REQBUFS, QUERYBUF, QBUF, DQBUF = 0xC0D05604, 0xC0D05605, 0xC0145608, 0xC0585609, 0xC058560F, 0xC0585611
STREAMON, STREAMOFF, G_PARM, S_PARM = 0x40045612, 0x40045613, 0xC0CC5615, 0xC0CC5616
G_CTRL, S_CTRL, QUERYCTRL = 0xC008561B, 0xC008561C, 0xC0445624
_CAPTURE, _MMAP, _NEXT = 1, 1, 0x80000000
_PROGRESSIVE = (0, 1)
"""V4L2_FIELD_ANY and _NONE: all else has two fields of two moments in one picture, or half a picture."""
_ERROR, _CLOCK_MASK, _MONOTONIC, _START_OF_EXPOSURE = 0x40, 0xE000, 0x2000, 0x10000


@dataclass(frozen=True, slots=True)
class PixelLayout:
    """How the pictures of an open device lie in memory, by a FourCC (`Y16 -BE` if its bytes are swapped)."""

    pixel_format: str
    width: int
    height: int
    line_bytes: int


@dataclass(frozen=True, slots=True)
class Grabbed:
    """One buffer as the kernel gave it back: its bytes, its stamp in the kernel's clock, and what its flags say."""

    data: bytes
    stamp_ns: int
    sequence: int
    is_monotonic: bool
    is_start_of_exposure: bool
    is_damaged: bool


class V4l2Device:
    """A capture device that is open for this process, and is not capturing yet; one thread uses it at a time.

    Raises:
        SensorLost: it is not there, or does not answer.
        ConfigError: this user may not use it, or it captures no pictures.
    """

    def __init__(self, path: Path, ioctl: Ioctl = fcntl.ioctl) -> None:
        self.title = f"camera {path}"
        self.path = path
        self._ioctl = ioctl
        self._maps: list[mmap.mmap] = []
        self._captures = False
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except PermissionError as error:
            why = "permission denied; add yourself to the group video and log in again"
            raise ConfigError(f"{self.title}: {why}") from error
        except OSError as error:
            why = "is not there" if error.errno == errno.ENOENT else f"does not open: {error.strerror}"
            raise SensorLost(f"{self.title} {why}; plug it in, `sensorium devices` lists what is") from error
        try:
            _, card, bus, _, capabilities, device, *_ = v4l2.CAPABILITY.unpack(
                self._ask(v4l2.QUERYCAP, bytearray(v4l2.CAPABILITY.size), "says nothing of itself")
            )
            if not (device or capabilities) & _CAPTURE:
                raise ConfigError(f"{self.title} captures no pictures; `sensorium devices` lists what does")
        except BaseException:
            os.close(self._descriptor)
            raise
        self.card, self.bus = (text.split(b"\0")[0].decode("utf-8", "replace") for text in (card, bus))

    def settle(self, pixel_format: str | None, size: tuple[int, int] | None, rate_hz: float | None) -> PixelLayout:
        """Set what is asked for, and say what it is: a device may have chosen otherwise.

        Raises:
            ConfigError: it is not what was asked for, or its pictures are interlaced.
        """
        now = list(_FORMAT.unpack(self._ask(G_FMT, bytearray(_FORMAT.pack(_CAPTURE, *[0] * 12)), "has no format")))
        if size:
            now[1:3] = size
        if pixel_format:
            now[3] = code_of(pixel_format)
        now[4:7] = 1, 0, 0
        answer = self._ask(S_FMT, bytearray(_FORMAT.pack(*now)), "takes no format")
        _, width, height, code, field, line_bytes, *_ = _FORMAT.unpack(answer)
        layout = PixelLayout(name_of(code), width, height, line_bytes)
        if field not in _PROGRESSIVE:
            raise ConfigError(
                f"{self.title}: its pictures are interlaced (field {field}), which is not read; use another"
            )
        wanted = (pixel_format or layout.pixel_format, *(size or (width, height)))
        if wanted != (layout.pixel_format, width, height):
            raise ConfigError(
                f"{self.title}: asked for {wanted[0]} {wanted[1]}x{wanted[2]}, got {layout.pixel_format}"
                f" {width}x{height}; `sensorium devices` lists what it has"
            )
        if rate_hz:
            fraction = (1000, round(rate_hz * 1000))
            self._ask(S_PARM, bytearray(_PARM.pack(_CAPTURE, 0, 0, *fraction, 0, 0)), f"takes no rate_hz {rate_hz:g}")
        return layout

    @property
    def rate_hz(self) -> float | None:
        """What it says to capture at."""
        try:
            answer = self._ask(G_PARM, bytearray(_PARM.pack(_CAPTURE, *[0] * 6)), "says no rate")
        except (ConfigError, SensorLost):
            return None
        _, _, _, numerator, denominator, *_ = _PARM.unpack(answer)
        return round(denominator / numerator, 3) if numerator and denominator else None

    def controls(self, is_wanted: Callable[[str], bool] = lambda _: True) -> dict[str, int]:
        """Every control that has a number and can be read now, by its name in small letters, such as
        exposure_time_absolute."""
        found = {}
        for name, code in self._codes():
            if is_wanted(name):
                with contextlib.suppress(ConfigError):
                    found[name] = self._control(code)
        return found

    def set_controls(self, wanted: Mapping[str, int]) -> None:
        """Set some, in their order.

        Raises:
            ConfigError: there is no such control, or it takes no such value.
        """
        codes = dict(self._codes())
        for name, value in wanted.items():
            if name not in codes:
                raise ConfigError(f"{self.title} has no control {name!r}; it has {', '.join(sorted(codes)) or 'none'}")
            self._ask(S_CTRL, bytearray(_CONTROL.pack(codes[name], value)), f"takes no {name} of {value}")
            if (now := self._control(codes[name])) != value:
                raise ConfigError(f"{self.title}: {name} was to be {value} and is {now}; set what governs it before it")

    def start(self) -> None:
        """Map the buffers and capture."""
        asked = self._ask(REQBUFS, bytearray(_REQUEST.pack(BUFFERS, _CAPTURE, _MMAP, 0, 0)), "gives no buffers")
        for index in range(_REQUEST.unpack(asked)[0]):
            _, _, _, _, _, _, _, _, _, _, offset, length, *_ = _BUFFER.unpack(self._buffer(QUERYBUF, index))
            self._maps.append(mmap.mmap(self._descriptor, length, offset=offset))
            self._buffer(QBUF, index)
        self._captures = True
        self._ask(STREAMON, bytearray(struct.pack("=I", _CAPTURE)), "does not begin")

    def receive(self) -> Grabbed | None:
        """The next buffer within `WAIT_S`, copied.

        Raises:
            SensorLost: the camera is gone.
        """
        select.select([self._descriptor], [], [], WAIT_S)
        try:
            answer = self._buffer(DQBUF, 0)
        except BlockingIOError:
            return None
        except OSError as error:
            raise SensorLost(f"{self.title}: {error.strerror}; was it unplugged?") from error
        index, _, used, flags, _, seconds, micros, _, sequence, *_ = _BUFFER.unpack(answer)
        grabbed = Grabbed(
            data=self._maps[index][:used],
            stamp_ns=seconds * 10**9 + micros * 1000,
            sequence=sequence,
            is_monotonic=flags & _CLOCK_MASK == _MONOTONIC,
            is_start_of_exposure=bool(flags & _START_OF_EXPOSURE),
            is_damaged=bool(flags & _ERROR),
        )
        try:
            self._buffer(QBUF, index)
        except OSError as error:
            raise SensorLost(f"{self.title}: {error.strerror}; was it unplugged?") from error
        return grabbed

    def close(self) -> None:
        """Stop capturing, and let go of the device."""
        try:
            if self._captures:  # or it may be another's capture
                self._ioctl(self._descriptor, STREAMOFF, bytearray(struct.pack("=I", _CAPTURE)))
        except OSError:
            pass  # it is gone
        finally:
            for each in self._maps:
                each.close()
            os.close(self._descriptor)

    def ranges(self) -> dict[str, tuple[int, int]]:
        """The least and the most of every control that has a number and can be set, by its name in small letters."""
        return {name: limits for name, _, limits, is_set in self._queried() if is_set}

    def _codes(self) -> Iterator[tuple[str, int]]:
        for name, code, _, _ in self._queried():
            yield name, code

    def _queried(self) -> Iterator[tuple[str, int, tuple[int, int], bool]]:
        code = 0
        while True:
            try:
                answer = bytearray(_QUERY.pack(code | _NEXT, 0, b"", 0, 0, 0, 0, 0))
                self._ioctl(self._descriptor, QUERYCTRL, answer)
            except OSError:  # EINVAL ends the list; ENOTTY: it has none
                return
            code, kind, name, low, high, *_, flags = _QUERY.unpack(answer)
            is_readable = kind in (1, 2, 3, 9) and not flags & 0x41  # integer, boolean, menu; not disabled, write-only
            if is_readable:
                text = name.split(b"\0")[0].decode("ascii", "replace").lower()
                named = "_".join("".join(c if c.isalnum() else " " for c in text).split())
                yield named, code, (low, high), not flags & 0x4  # read-only

    def _control(self, code: int) -> int:
        answer = self._ask(G_CTRL, bytearray(_CONTROL.pack(code, 0)), "does not say a control")
        return int(_CONTROL.unpack(answer)[1])

    def _buffer(self, request: int, index: int) -> bytearray:
        buffer = bytearray(_BUFFER.pack(index, _CAPTURE, 0, 0, 0, 0, 0, b"", 0, _MMAP, 0, 0, 0, 0))
        self._ioctl(self._descriptor, request, buffer)
        return buffer

    def _ask(self, request: int, buffer: bytearray, failure: str) -> bytearray:
        try:
            self._ioctl(self._descriptor, request, buffer)
        except OSError as error:
            if error.errno == errno.EBUSY:
                raise SensorLost(f"{self.title} is in use by another program; stop that one first") from error
            if error.errno == errno.ENODEV:
                raise SensorLost(f"{self.title} is gone; was it unplugged?") from error
            raise ConfigError(f"{self.title} {failure}: {error.strerror}; `sensorium devices` lists it") from error
        return buffer


def code_of(pixel_format: str) -> int:
    """The number of a FourCC.

    >>> hex(code_of("MJPG")), name_of(code_of("Y16 -BE"))
    ('0x47504a4d', 'Y16 -BE')
    """
    (code,) = struct.unpack("=I", pixel_format[:4].ljust(4).encode("ascii"))
    return int(code) | (_NEXT if pixel_format.endswith("-BE") else 0)


def name_of(code: int) -> str:
    """The FourCC of a number."""
    text = struct.pack("=I", code & ~_NEXT).decode("ascii", "replace")
    return text + ("-BE" if code & _NEXT else "")
