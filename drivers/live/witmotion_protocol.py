"""The WitMotion protocols, sans-I/O: bytes in; packets, and the cycles they belong to, out.

    0x55 | kind u8 | four int16 little-endian | sum of the ten bytes before, u8
    0x55 | 0x61 | nine int16 little-endian: acceleration, angular rate, angle; no sum

A sensor repeats one cycle of kinds, in the order of their codes, as it is set up; newer ones and those on Bluetooth
repeat 0x61 alone. Source: WitMotion's standard communication protocol, the WT901 and the WT901BLE data sheets.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

HEAD = 0x55
PACKET_BYTES = 11
TIME, ACCELERATION, ANGULAR_RATE, ANGLE, MAGNETIC, QUATERNION = 0x50, 0x51, 0x52, 0x53, 0x54, 0x59
KINDS = range(0x50, 0x60)
ALL_IN_ONE = 0x61
ALL_IN_ONE_BYTES = 20
_NEXT = bytes((HEAD, ALL_IN_ONE))


@dataclass(frozen=True, slots=True)
class Packet:
    """One checked packet. `offset` is where its first byte stands in all the bytes fed; `body` is its 8 (of 0x61: 18)
    bytes; `after` are the first two of the bytes just before it that belong to no packet."""

    kind: int
    body: bytes
    offset: int
    after: bytes = b""

    @property
    def words(self) -> tuple[int, ...]:
        """The four (nine) counts, as they were sent."""
        return struct.unpack(f"<{words_of(self.kind)}h", self.body)

    @property
    def size(self) -> int:
        """How many bytes it was sent as."""
        return size_of(self.kind)


def size_of(kind: int) -> int:
    """How many bytes a packet of `kind` has.

    >>> size_of(ACCELERATION), size_of(ALL_IN_ONE)
    (11, 20)
    """
    return ALL_IN_ONE_BYTES if kind == ALL_IN_ONE else PACKET_BYTES


def words_of(kind: int) -> int:
    """How many counts a packet of `kind` has."""
    return 9 if kind == ALL_IN_ONE else 4


def encode(kind: int, words: Sequence[int]) -> bytes:
    """The packet of `kind` with four (of 0x61: nine) int16 `words`: what a sensor sends.

    >>> encode(ACCELERATION, (0, 0, 2048, 2500)).hex(" ")
    '55 51 00 00 00 00 00 08 c4 09 7b'
    """
    head = bytes((HEAD, kind)) + struct.pack(f"<{words_of(kind)}h", *words)
    return head if kind == ALL_IN_ONE else head + bytes((sum(head) & 0xFF,))


class Parser:
    """Finds packets in bytes that may be cut anywhere, damaged, or mixed with others; never raises.

    One of 0x61, which has no sum, is believed where the next of them begins right behind it, and is told of then.

    `offset` counts all bytes fed, `skipped` those that belong to no packet.
    """

    def __init__(self) -> None:
        self.offset = 0
        self.skipped = 0
        self._pending = b""
        self._rubbish = b""

    def feed(self, data: bytes) -> list[Packet]:
        """The packets that `data` completes. A wrong sum costs one byte, and the search goes on at the next."""
        self._pending += data
        self.offset += len(data)
        buffer, at, packets = self._pending, 0, []
        start = self.offset - len(buffer)
        while True:
            found = buffer.find(HEAD, at)
            self._skip(buffer[at:] if found < 0 else buffer[at:found])
            if found < 0:
                at = len(buffer)
                break
            at = found
            if len(buffer) - at < PACKET_BYTES:
                break
            if buffer[at + 1] == ALL_IN_ONE:
                if len(buffer) - at < ALL_IN_ONE_BYTES + 2:
                    break
                if buffer.startswith(_NEXT, at + ALL_IN_ONE_BYTES):
                    body = buffer[at + 2 : at + ALL_IN_ONE_BYTES]
                    packets.append(Packet(ALL_IN_ONE, body, start + at, self._rubbish))
                    self._rubbish = b""
                    at += ALL_IN_ONE_BYTES
                    continue
            packet = buffer[at : at + PACKET_BYTES]
            if packet[1] in KINDS and sum(packet[:10]) & 0xFF == packet[10]:
                packets.append(Packet(packet[1], packet[2:10], start + at, self._rubbish))
                self._rubbish = b""
                at += PACKET_BYTES
            else:
                self._skip(packet[:1])
                at += 1
        self._pending = buffer[at:]
        return packets

    def _skip(self, rubbish: bytes) -> None:
        self.skipped += len(rubbish)
        self._rubbish = (self._rubbish + rubbish)[:2]


def find_cycle(packets: Sequence[Packet]) -> tuple[int, ...] | None:
    """The kinds of one cycle, once two whole cycles in a row came undamaged; None until then."""
    run: list[Packet] = []
    starts: list[int] = []
    for packet in packets:
        if run and packet.offset != run[-1].offset + run[-1].size:
            run, starts = [], []
        if run and packet.kind <= run[-1].kind:
            starts.append(len(run))
        run.append(packet)
        if len(starts) >= 3:
            kinds = [tuple(p.kind for p in run[a:b]) for a, b in zip(starts[-3:], starts[-2:], strict=False)]
            if kinds[0] == kinds[1]:
                return kinds[0]
    return None


@dataclass(frozen=True, slots=True)
class Cycle:
    """The packets of one cycle by kind; one that is missing was damaged. `offset` is where its first byte stands, or
    would; `lost_before` whole cycles are missing before it."""

    offset: int
    packets: dict[int, Packet]
    lost_before: int


class Cycles:
    """Groups packets by cycle, by where they stand: damage changes bytes, not their number, so packets of two
    cycles are never taken for one. Bytes lost or added move the grid; up to half a cycle of them is recognised, and a
    cycle of which no more than its first bytes are left."""

    def __init__(self, kinds: Sequence[int]) -> None:
        self.kinds = tuple(kinds)
        self._slot = {kind: number for number, kind in enumerate(kinds)}
        self._bytes = sum(map(size_of, kinds))
        self._open: dict[int, Packet] = {}
        self._start: int | None = None
        self._lost = 0

    def add(self, packet: Packet) -> list[Cycle]:
        """The cycles that `packet` ends: the one before it, if it begins another, and its own, if it is the last."""
        slot = self._slot.get(packet.kind)
        if slot is None:
            return []
        start = packet.offset - sum(map(size_of, self.kinds[:slot]))
        ended = []
        if self._start is None:
            self._start = start
        # By the packet's place; the nearest cycle, as some bytes may have been lost or added since this one began.
        passed = round((start - self._start) / self._bytes)
        # In this cycle it would stand before a packet that came already, yet kinds come in order: it is of a later one.
        if passed < 0 or (passed == 0 and any(slot <= self._slot[kind] for kind in self._open)):
            passed = 1  # many bytes vanished: not this cycle, but nothing says how many
        # After a whole cycle the next one begins late. If what fills the gap begins as this packet does, it is all that
        # is left of a cycle that was cut off; else bytes were added.
        elif passed == 1 and slot == 0 and not self._open and start - self._start > self._bytes:
            passed += bool(packet.after) and bytes((HEAD, packet.kind)).startswith(packet.after)
        if passed > 0:
            ended += self._end()
            self._lost += passed - 1
            self._start = start
        self._open[packet.kind] = packet
        if slot == len(self.kinds) - 1:
            ended += self._end()
        return ended

    def _end(self) -> list[Cycle]:
        if not self._open or self._start is None:
            return []
        cycle = Cycle(self._start, self._open, self._lost)
        self._open, self._lost = {}, 0
        return [cycle]


def sensor_time_ns(body: bytes) -> int | None:
    """The sensor's clock (kind 0x50) in ns since 1970, as if it were set to UTC; None where it is no date.

    >>> sensor_time_ns(bytes((26, 11, 22, 1, 2, 3, 0xF4, 0x01)))
    1795309323500000000
    """
    year, month, day, hour, minute, second, milliseconds = struct.unpack("<6BH", body)
    try:
        # Sensors that were never set count from month and day 0.
        whole = datetime(2000 + year, max(month, 1), max(day, 1), hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None
    return (int(whole.timestamp()) * 1000 + int(milliseconds)) * 1_000_000
