"""What a V4L2 device offers, asked of the kernel: its name, pixel formats, sizes and rates (linux/videodev2.h)."""

import fcntl
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

CAPABILITY = struct.Struct("=16s32s32s6I")
FORMAT = struct.Struct("=3I32s5I")
SIZE = struct.Struct("=11I")
INTERVAL = struct.Struct("=13I")
QUERYCAP, ENUM_FMT, ENUM_SIZES, ENUM_INTERVALS = 0x80685600, 0xC0405602, 0xC02C564A, 0xC034564B

_VIDEO_CAPTURE = 1
_DISCRETE = 1
_MOST = 256

Ioctl = Callable[[int, int, bytearray], int]


@dataclass(frozen=True, slots=True)
class VideoFormat:
    """One way in which a device can deliver: FourCC, size, and rates from the fastest (none where it does not say)."""

    pixel_format: str
    width: int
    height: int
    rates_hz: tuple[float, ...]


def query(path: Path, ioctl: Ioctl = fcntl.ioctl) -> tuple[str, tuple[VideoFormat, ...]] | None:
    """The device's own name and its formats; None where it is no video capture device (metadata, output, a decoder).

    Raises:
        OSError: it cannot be opened or asked.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        buffer = bytearray(CAPABILITY.size)
        ioctl(descriptor, QUERYCAP, buffer)
        _, card, _, _, capabilities, device_caps, *_ = CAPABILITY.unpack(buffer)
        if not (device_caps or capabilities) & _VIDEO_CAPTURE:
            return None
        formats = []
        for code in _formats(descriptor, ioctl):
            name = struct.pack("=I", code).decode("ascii", "replace")
            for width, height in _sizes(descriptor, ioctl, code):
                rates_hz = sorted(set(_rates(descriptor, ioctl, code, width, height)), reverse=True)
                formats.append(VideoFormat(name, width, height, tuple(rates_hz)))
        return card.split(b"\0")[0].decode("utf-8", "replace"), tuple(formats)
    finally:
        os.close(descriptor)


def _enumerate(
    descriptor: int, ioctl: Ioctl, request: int, layout: struct.Struct, *asked: int
) -> Iterator[tuple[int, ...]]:
    """The driver's answers to a request that counts an index up, until it has no more."""
    for index in range(_MOST):
        buffer = bytearray(layout.size)
        struct.pack_into(f"={1 + len(asked)}I", buffer, 0, index, *asked)
        try:
            ioctl(descriptor, request, buffer)
        except OSError:  # EINVAL ends the list; ENOTTY: the driver does not tell
            return
        yield layout.unpack(buffer)


def _formats(descriptor: int, ioctl: Ioctl) -> list[int]:
    return [answer[4] for answer in _enumerate(descriptor, ioctl, ENUM_FMT, FORMAT, _VIDEO_CAPTURE)]


def _sizes(descriptor: int, ioctl: Ioctl, code: int) -> Iterator[tuple[int, int]]:
    """Widths and heights; of a range, its ends."""
    for _, _, kind, *sides in _enumerate(descriptor, ioctl, ENUM_SIZES, SIZE, code):
        if kind == _DISCRETE:
            yield sides[0], sides[1]
        else:
            yield sides[1], sides[4]
            yield sides[0], sides[3]
            return


def _rates(descriptor: int, ioctl: Ioctl, code: int, width: int, height: int) -> Iterator[float]:
    """Frames a second; of a range, its ends."""
    for answer in _enumerate(descriptor, ioctl, ENUM_INTERVALS, INTERVAL, code, width, height):
        kind, fractions = answer[4], answer[5:9]
        for numerator, denominator in (fractions[:2],) if kind == _DISCRETE else (fractions[:2], fractions[2:]):
            if numerator:
                yield round(denominator / numerator, 3)
        if kind != _DISCRETE:
            return
