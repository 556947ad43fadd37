"""BatchMemory serves again only when nobody has an array of it, nor a view of one."""

import numpy as np

from sensorium.corpus.loaders.memory import BatchMemory

BYTE = np.dtype(np.uint8)


def address(array: "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]") -> int:
    return int(array.ctypes.data)


def test_what_is_let_go_serves_again() -> None:
    memory = BatchMemory(4)
    first = memory.take((4, 1000), BYTE)
    view = first[2:3].reshape(-1)[10:]
    where = address(first)
    assert address(memory.take((4, 1000), BYTE)) != where, "it is in use"
    del first
    assert address(memory.take((4, 1000), BYTE)) != where, "a view of it is in use"
    del view
    again = memory.take((3, 1000), BYTE)
    assert address(again) == where
    assert again.flags.c_contiguous
    assert address(memory.take((4, 1000), BYTE)) != where


def test_it_keeps_no_more_than_it_is_told() -> None:
    memory = BatchMemory(2)
    kept = [memory.take((1000,), BYTE) for _ in range(5)]
    for number, each in enumerate(kept):
        each[:] = number
    assert [int(each[0]) for each in kept] == list(range(5))
    assert len(memory._blocks) == 2


def test_a_large_block_is_not_taken_for_a_little() -> None:
    memory = BatchMemory(4)
    where = address(memory.take((10_000,), BYTE))
    assert address(memory.take((100,), BYTE)) != where
    assert address(memory.take((8_000,), BYTE)) == where
