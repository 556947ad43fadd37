"""A wake-up call from one thread to another that waits in a poll of sockets."""

import contextlib
import os
import select
import threading


class Wake:
    """An eventfd: register `fd` with a poller; `set` makes it readable until `clear`."""

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._called = False
        self._lock = threading.Lock()

    def set(self) -> None:
        """Wake the poll; nothing once it is closed. May be called from any thread."""
        if self._called:  # and not taken yet: who takes it looks at what there is only afterwards
            return
        with self._lock:  # between a look at `fd` and the write its number may become another file's
            if self.fd >= 0:
                self._called = True
                os.eventfd_write(self.fd, 1)

    def clear(self) -> None:
        """Take the call, then look at what there is; of several at once there is one."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self.fd)
        self._called = False  # in this order: a call between the two is one that is looked at, and after both it writes

    def wait(self, timeout_ms: int) -> None:
        """Wait for a call alone, and take it, or until the time is over."""
        poll = select.poll()
        poll.register(self.fd, select.POLLIN)
        if poll.poll(timeout_ms):
            self.clear()

    def close(self) -> None:
        """Give the descriptor back; whoever still calls `set` wakes nobody. May be called twice."""
        with self._lock:
            if self.fd >= 0:
                os.close(self.fd)
                self.fd = -1
