"""Hoards: what came over a connection and is no message yet, such as the parts of one that never ends.

libzmq bounds a frame and the messages that wait, and neither how many frames a message has nor how many connections
have begun one: it holds all of it until the last has come. So what came over each connection is compared with when it
gave a message last, and who brings much and says nothing is hung up on.
"""

import fcntl
import os
import struct
import termios
import time
from collections.abc import Callable, Iterable
from pathlib import Path

MOST_BYTES = 24 << 20
"""Of one connection: what waits for a pump that is held up by the disk is less, 16 messages of 1 MiB and a part."""
MOST_OF_ALL_BYTES = 272 << 20
"""Of all together: what is on its way by their credit is 256 MiB at the most."""
SMALL_BYTES = 128 << 20
"""A process that takes no more memory holds nothing of this kind that would be worth a look."""
LOOK_S = 0.05
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_STATM = Path("/proc/self/statm")
_UNREAD = struct.Struct("i")


class Hoards:
    """Of connections by their descriptors. The pumps say whom they heard; one thread looks.

    `received(descriptor)` is what came over a connection in all, `unread(descriptor)` what of that the kernel has;
    `held()` is the memory that this process takes.
    """

    def __init__(
        self,
        received: Callable[[int], int],
        unread: Callable[[int], int] | None = None,
        held: Callable[[], int] | None = None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._received, self._unread, self._held = received, unread or _unread, held or _held
        self._now_s, self._looked_s = now_s, 0.0
        self._heard: set[int] = set()
        self._at: dict[int, int] = {}
        """What had come over each when it gave a message last, or was looked at first."""

    def heard(self, descriptor: int) -> None:
        """A whole message came over a connection; from any thread."""
        self._heard.add(descriptor)

    def gone(self, descriptor: int) -> None:
        """There is no such connection, or another by its descriptor."""
        self._at.pop(descriptor, None)

    def look(self, connections: Iterable[int]) -> list[int]:
        """Whom to hang up on, of those that are open, who has most first; nobody, where it is not time to look."""
        if self._now_s() - self._looked_s < LOOK_S:
            return []
        self._looked_s = self._now_s()
        heard = self._heard.copy()
        self._heard -= heard
        if self._held() < SMALL_BYTES:
            self._at.clear()
            return []
        hoarded: dict[int, int] = {}
        for descriptor in connections:
            came = self._received(descriptor) - self._unread(descriptor)
            if descriptor in heard:
                self._at[descriptor] = came
            hoarded[descriptor] = came - self._at.setdefault(descriptor, came)
        found, left = [], sum(hoarded.values())
        for descriptor in sorted(hoarded, key=lambda each: -hoarded[each]):
            if hoarded[descriptor] <= MOST_BYTES and left <= MOST_OF_ALL_BYTES:
                break
            found.append(descriptor)
            left -= hoarded[descriptor]
        return found


def _held() -> int:
    """Where there is no descriptor left to ask by, enough for a look."""
    try:
        return int(_STATM.read_bytes().split()[1]) * _PAGE_BYTES
    except OSError:
        return SMALL_BYTES


def _unread(descriptor: int) -> int:
    """What the kernel has of a connection that nobody has read; 0 of what is none."""
    try:
        return int(_UNREAD.unpack(fcntl.ioctl(descriptor, termios.FIONREAD, bytes(_UNREAD.size)))[0])
    except OSError:
        return 0
