"""Connections: how many there are, and that those that would be too many are hung up on before they cost files.

Each takes a descriptor from the moment that it is accepted, whoever it is, and libzmq accepts as long as there are any;
the store, and SQLite, need some of the same. Where there are as many as may be, one that comes is let in for one that
has shown no key yet, or has nothing to say: who only connects keeps nobody out.
"""

import contextlib
import itertools
import resource
import socket
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import zmq

from sensorium.ingest.hoards import Hoards
from sensorium.link.zap import Refusals

OPEN_FILES = 16384
"""256 transfers of some streams each and a thousand connections need more than the 1024 that many systems allow."""
SPARE_FILES = 64
"""Of those that are neither connections nor of episodes: the catalog, libraries, what is open for a moment."""
EVENTS = zmq.EVENT_ACCEPTED | zmq.EVENT_ACCEPT_FAILED | zmq.EVENT_DISCONNECTED

KEY_BYTES, WORDS_BYTES = 450, 1100
"""A handshake with CURVE has received some 560 bytes once a key is shown, and one that comes to nothing is cut; behind
it a session begins with about as much again."""
GO_AT_ONCE = 16
MUTE_S = 10.0
"""So long a device may have nothing to say before its connection is among those that are hung up on."""
NOBODY = (-1, -1)
_RECEIVED = struct.Struct("=128xQ")
"""Where the kernel's `tcp_info` has what came over a connection."""


def allow_open_files() -> int:
    """Raise the limit of descriptors as far as it may be; how many there may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return OPEN_FILES if soft == resource.RLIM_INFINITY else soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


def shares_of(files: int) -> tuple[int, int]:
    """Of so many descriptors, how many are for connections, and how many for files of episodes on their way in.

    >>> shares_of(1024), shares_of(16384)
    ((480, 480), (8160, 8160))
    """
    each = max(16, (files - SPARE_FILES) // 2)
    return each, each


Connection = tuple[int, int]
"""By the number of its monitor and its descriptor: one that is over is often told of behind the next of its number on
the other socket, which would then be counted no more."""


class Connections:
    """What the monitors of both sockets tell, of at most `most` connections."""

    def __init__(self, most: int, refusals: Refusals, now_s: Callable[[], float] = time.monotonic) -> None:
        self._most, self._refusals, self._now_s = most, refusals, now_s
        self._open: set[Connection] = set()
        self._strange: dict[Connection, float] = {}
        """Since when there are those that had shown no key when they were looked at last, the oldest first."""
        self._mute: dict[Connection, float] = {}
        """The same of those that had a key, and had said nothing else."""
        self.hoards = Hoards(_received)

    def __len__(self) -> int:
        return len(self._open)

    def told(self, event: Mapping[str, Any], by: int = 0) -> bool:
        """Take an event, told `by` the monitor of this number; whether it was of a connection that comes or goes."""
        kind, value = event["event"], int(event["value"])
        if kind == zmq.EVENT_ACCEPTED:
            self._accepted((by, value))
        elif kind == zmq.EVENT_DISCONNECTED:
            self._gone((by, value))
        elif kind == zmq.EVENT_ACCEPT_FAILED:  # libzmq tries it again and again, as fast as it can
            self._refusals.note("from somebody", f"cannot be accepted: {zmq.strerror(value)}")
            for stranger in itertools.islice(self._strangers(), GO_AT_ONCE):
                self._hang_up(stranger)
        else:
            return False
        return True

    def look(self) -> None:
        """Hang up on those who bring much that is no message."""
        for descriptor in self.hoards.look({descriptor for _, descriptor in self._open}):
            self._end(descriptor, "what came is no message, and too much to be held")

    def _gone(self, connection: Connection) -> None:
        self._open.discard(connection)
        self.hoards.gone(connection[1])
        self._strange.pop(connection, None)
        self._mute.pop(connection, None)

    def _accepted(self, connection: Connection) -> None:
        """It has the place of who has shown no key for longest; or else, of who has said nothing for long; or none."""
        self._gone(connection)
        goes = NOBODY
        if len(self._open) >= self._most:
            goes = next(itertools.chain(self._strangers(), self._silent()), connection)
            self._hang_up(goes)
        if goes != connection:
            self._strange[connection] = self._now_s()
        self._open.add(connection)

    def _strangers(self) -> Iterator[Connection]:
        """Who has shown no key yet, the oldest first; each is looked at once."""
        while self._strange:
            first, since_s = next(iter(self._strange.items()))
            del self._strange[first]
            if _received(first[1]) < KEY_BYTES:
                yield first
            else:
                self._mute[first] = since_s

    def _silent(self) -> Iterator[Connection]:
        """Who has said nothing since, for long; each is looked at once."""
        while self._mute:
            first, since_s = next(iter(self._mute.items()))
            if self._now_s() - since_s < MUTE_S:
                return
            del self._mute[first]
            if _received(first[1]) < WORDS_BYTES:
                yield first

    def _hang_up(self, connection: Connection) -> None:
        self._end(connection[1], f"{self._most} are open, as many as may be (ulimit -n)")

    def _end(self, descriptor: int, why: str) -> None:
        """What is told may be over: then the descriptor is nothing, or a file, to which this does nothing."""
        self._refusals.note("from somebody", f"hung up on: {why}")
        with contextlib.suppress(OSError), _borrowed(descriptor) as found:
            found.shutdown(socket.SHUT_RDWR)


def _received(descriptor: int) -> int:
    """How many bytes came over a connection; 0 of what is none."""
    try:
        with _borrowed(descriptor) as found:
            info = found.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _RECEIVED.size)
    except OSError:
        return 0
    return int(_RECEIVED.unpack(info)[0]) if len(info) == _RECEIVED.size else KEY_BYTES


@contextlib.contextmanager
def _borrowed(descriptor: int) -> Iterator[socket.socket]:
    found = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, fileno=descriptor)
    try:
        yield found
    finally:
        found.detach()
