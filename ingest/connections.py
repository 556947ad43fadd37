"""Connections: how many there are, and that those that would be too many are hung up on before they cost files.

Each takes a descriptor from the moment that it is accepted, whoever it is, and libzmq accepts as long as there are any;
the store, and SQLite, need some of the same.
"""

import contextlib
import resource
import socket
from collections.abc import Mapping
from typing import Any

import zmq

from sensorium.link.zap import Refusals

OPEN_FILES = 16384
"""256 transfers of some streams each and a thousand connections need more than the 1024 that many systems allow."""
SPARE_FILES = 64
"""Of those that are neither connections nor of episodes: the catalog, libraries, what is open for a moment."""
EVENTS = zmq.EVENT_ACCEPTED | zmq.EVENT_ACCEPT_FAILED | zmq.EVENT_DISCONNECTED


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


class Connections:
    """What the monitors of both sockets tell, of at most `most` connections."""

    def __init__(self, most: int, refusals: Refusals) -> None:
        self._most, self._refusals = most, refusals
        self._open: set[int] = set()

    def __len__(self) -> int:
        return len(self._open)

    def told(self, event: Mapping[str, Any]) -> bool:
        """Take an event; whether it was one of a connection that comes or goes."""
        kind, value = event["event"], int(event["value"])
        if kind == zmq.EVENT_ACCEPTED:
            if len(self._open) >= self._most:
                self._hang_up(value)
            self._open.add(value)
        elif kind == zmq.EVENT_DISCONNECTED:
            self._open.discard(value)
        elif kind == zmq.EVENT_ACCEPT_FAILED:
            self._refusals.note("from somebody", f"cannot be accepted: {zmq.strerror(value)}")
        else:
            return False
        return True

    def _hang_up(self, descriptor: int) -> None:
        """What is told may be over: then the descriptor is nothing, or a file, to which this does nothing."""
        self._refusals.note("from somebody", f"hung up on: {self._most} are open, as many as may be (ulimit -n)")
        with contextlib.suppress(OSError):
            found = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, fileno=descriptor)
            try:
                found.shutdown(socket.SHUT_RDWR)
            finally:
                found.detach()
