"""A file that does not raise: what is written is read, on a disk that is full at any byte too, and `check` tells."""

import errno
import io
import signal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensorium.corpus.exports.enduring import Enduring, interrupted_behind

WRITES = st.lists(st.tuples(st.integers(0, 40), st.binary(min_size=1, max_size=20)), max_size=8)


class SmallDisk(io.BytesIO):
    """Takes bytes up to a place, and then none."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self._room = room

    def write(self, data: Any) -> int:
        taken = min(len(data), self._room - self.tell())
        if taken <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(data[:taken])


@given(writes=WRITES, room=st.integers(0, 70))
def test_what_is_written_is_read(writes: list[tuple[int, bytes]], room: int) -> None:
    file, expected = Enduring(SmallDisk(room)), bytearray()
    for at, data in writes:
        expected.extend(bytes(max(0, at + len(data) - len(expected))))
        expected[at : at + len(data)] = data
        file.seek(at)
        assert file.write(data) == len(data)
        assert file.tell() == at + len(data)
    assert file.seek(0, 2) == len(expected)
    file.seek(0)
    assert file.read(len(expected)) == bytes(expected)
    if any(at + len(data) > room for at, data in writes):
        with pytest.raises(OSError, match="No space left"):
            file.check()
    else:
        file.check()


class Interrupting(io.BytesIO):
    """One is interrupted while it is written."""

    def write(self, data: Any) -> int:
        signal.raise_signal(signal.SIGINT)
        return super().write(data)


def test_an_interrupt_waits_until_the_library_has_ended() -> None:
    former, file = signal.getsignal(signal.SIGINT), Enduring(Interrupting())
    with pytest.raises(KeyboardInterrupt):
        _interrupted(file)
    assert signal.getsignal(signal.SIGINT) is former


def _interrupted(file: Enduring) -> None:
    h5py = pytest.importorskip("h5py")
    with interrupted_behind(file), h5py.File(file, "w") as written:
        written["a"] = range(100)
        written.flush()
        with pytest.raises(InterruptedError):
            file.check()
