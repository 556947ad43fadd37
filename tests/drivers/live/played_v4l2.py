"""A V4L2 device that plays buffers: ioctls as the kernel answers them, with a file where its memory would be."""

import errno
import os
import struct
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from sensorium.drivers.live import v4l2
from sensorium.drivers.live import v4l2_capture as capture

LENGTH = 1 << 16
MONOTONIC, START, ERROR = 0x2000, 0x10000, 0x40


@dataclass
class Played:
    """Gives `buffers` (sequence, flags, bytes), stamped now, then nothing; `gone` is when it was unplugged."""

    node: Path
    buffers: deque[tuple[int, int, bytes]] = field(default_factory=deque)
    pixel_format: str = "GREY"
    size: tuple[int, int] = (8, 4)
    line_bytes: int = 8
    field_order: int = 1
    card: str = "Webcam"
    bus: str = "usb-1"
    rate: tuple[int, int] = (1001, 30000)
    controls: dict[str, int] = field(default_factory=lambda: {"Brightness": 128, "Exposure Time, Absolute": 10})
    most: int = 255
    """Of each control, whatever is said of it."""
    refuses: str = ""
    """The control that cannot be set."""
    gone: bool = False
    off_ns: dict[int, int] = field(default_factory=dict)
    """By its number, how far a buffer's stamp is from what it should be."""
    stamps_ns: list[int] = field(default_factory=list)
    queued: deque[int] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self.node.write_bytes(bytes(LENGTH * capture.BUFFERS))

    def put(self, buffers: Iterable[tuple[int, int, bytes]]) -> None:
        self.buffers.extend(buffers)

    def __call__(self, descriptor: int, request: int, buffer: bytearray) -> int:
        os.fstat(descriptor)
        assert request >> 16 & 0x3FFF == len(buffer), "a request carries the size of its structure"
        if self.gone:
            raise OSError(errno.ENODEV, "No such device")
        if request == v4l2.QUERYCAP:
            names = (b"uvcvideo", self.card.encode(), self.bus.encode())
            buffer[:] = struct.pack("=16s32s32s3I12x", *names, 0, 0x84A00001, 1)
        elif request in (capture.G_FMT, capture.S_FMT):
            code = capture.code_of(self.pixel_format)
            buffer[:] = struct.pack("=I4x12I152x", 1, *self.size, code, self.field_order, self.line_bytes, *[0] * 7)
        elif request in (capture.G_PARM, capture.S_PARM):
            buffer[:] = struct.pack("=7I176x", 1, 0, 0, *self.rate, 0, 0)
        elif request == capture.REQBUFS:
            struct.pack_into("=I", buffer, 0, capture.BUFFERS)
        elif request in (capture.QUERYBUF, capture.QBUF, capture.DQBUF):
            self._buffer(descriptor, request, buffer)
        elif request in (capture.QUERYCTRL, capture.G_CTRL, capture.S_CTRL):
            self._control(request, buffer)
        return 0

    def _buffer(self, descriptor: int, request: int, buffer: bytearray) -> None:
        (index,) = struct.unpack_from("=I", buffer)
        if request == capture.QUERYBUF:
            struct.pack_into("=QI", buffer, 64, index * LENGTH, LENGTH)
        elif request == capture.QBUF:
            self.queued.append(index)
        elif not (self.buffers and self.queued):
            raise BlockingIOError(errno.EAGAIN, "")
        else:
            sequence, flags, data = self.buffers.popleft()
            index, stamp_ns = self.queued.popleft(), time.monotonic_ns() // 1000 * 1000 + self.off_ns.get(sequence, 0)
            self.stamps_ns.append(stamp_ns)
            os.pwrite(descriptor, data, index * LENGTH)
            head = struct.pack("=5I4x2q", index, 1, len(data), flags, 1, stamp_ns // 10**9, stamp_ns % 10**9 // 1000)
            buffer[: len(head)] = head
            struct.pack_into("=I", buffer, 56, sequence & 0xFFFFFFFF)

    def _control(self, request: int, buffer: bytearray) -> None:
        names = list(self.controls)
        (code,) = struct.unpack_from("=I", buffer)
        if request == capture.QUERYCTRL:
            number = code & 0x7FFFFFFF
            if number >= len(names):
                raise OSError(errno.EINVAL, "Invalid argument")
            buffer[:] = struct.pack("=2I32s4iI8x", number + 1, 1, names[number].encode(), 0, 255, 1, 0, 0)
        elif request == capture.G_CTRL:
            struct.pack_into("=i", buffer, 4, self.controls[names[code - 1]])
        else:
            (value,) = struct.unpack_from("=i", buffer, 4)
            if names[code - 1] == self.refuses:
                raise OSError(errno.EINVAL, "Invalid argument")
            self.controls[names[code - 1]] = min(value, self.most)
