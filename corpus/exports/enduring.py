"""A file for a library that does not survive a failed write, as HDF5: what the disk does not take stays in memory."""

import contextlib
import errno
import signal
import threading
from collections.abc import Iterator
from typing import Any

Buffer = bytes | memoryview


class Enduring:
    """A file, opened for reading and writing without a buffer, as h5py takes it: no call of its raises.

    From the first write that fails on all goes into memory; `check` raises what failed, and is to be asked often.
    """

    def __init__(self, file: Any) -> None:
        self._file = file
        self._at = self._end = 0
        self._failed: OSError | None = None
        self._kept: list[tuple[int, bytes]] = []

    def check(self) -> None:
        """Raise the `OSError` of the first write that failed, if one did."""
        if self._failed is not None:
            raise self._failed

    def stop(self) -> None:
        """Have `check` raise, and no more written."""
        self._failed = self._failed or InterruptedError(errno.EINTR, "interrupted")

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to an offset from the start (0), from here (1) or from the end (2)."""
        self._at = offset + (0, self._at, self._end)[whence]
        return self._at

    def tell(self) -> int:
        """Where the next byte is read or written."""
        return self._at

    def write(self, data: Buffer) -> int:
        """Write all of `data` here."""
        view = memoryview(data).cast("B")
        if self._failed is None:
            try:
                self._write(view)
            except OSError as error:
                self._failed = error
        if self._failed is not None:
            self._kept.append((self._at, bytes(view)))
        self._at += len(view)
        self._end = max(self._end, self._at)
        return len(view)

    def read(self, size: int) -> bytes:
        """The `size` bytes that stand here; where nothing does, zeros."""
        self._file.seek(self._at)
        found = bytearray(size)
        self._file.readinto(found)
        for at, data in self._kept:
            low, high = max(at, self._at), min(at + len(data), self._at + size)
            if low < high:
                found[low - self._at : high - self._at] = data[low - at : high - at]
        self._at += size
        return bytes(found)

    def truncate(self, size: int) -> int:
        """Let the file have `size` bytes."""
        try:
            self._file.truncate(size)
        except OSError as error:
            self._failed = self._failed or error
        self._end = size
        return size

    def flush(self) -> None:
        """Nothing waits."""

    def _write(self, view: memoryview) -> None:
        self._file.seek(self._at)
        while len(view):
            view = view[self._file.write(view) :]


@contextlib.contextmanager
def interrupted_behind(file: Enduring) -> Iterator[None]:
    """SIGINT and SIGTERM stop `file` meanwhile, and are answered at the end: what they raise would be raised in the
    middle of a call that the library does not survive."""
    if threading.current_thread() is not threading.main_thread():  # where Python answers no signal
        yield
        return
    former = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    former = {number: handler for number, handler in former.items() if callable(handler)}
    caught: list[int] = []

    def answer(number: int, _: object) -> None:
        caught.append(number)
        file.stop()

    for each in former:
        signal.signal(each, answer)
    try:
        yield
    finally:
        for each, handler in former.items():
            signal.signal(each, handler)
        for number in caught[:1]:
            signal.raise_signal(number)
