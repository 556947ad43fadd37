"""A wake-up call reaches a poll once, and after the end nobody."""

import os
import select
import threading
import time

import pytest

from sensorium.link.wake import Wake


def test_a_call_ends_a_wait_and_calls_before_it_are_one() -> None:
    wake = Wake()
    wake.set()
    wake.set()
    wake.wait(60_000)
    began = time.monotonic()
    wake.wait(50)  # taken: there is nothing to end this one
    assert time.monotonic() - began >= 0.04
    threading.Timer(0.05, wake.set).start()
    wake.wait(60_000)
    wake.clear()
    wake.close()


def test_a_call_after_the_end_wakes_nobody() -> None:
    wake = Wake()
    wake.close()
    wake.set()
    wake.close()
    assert wake.fd == -1


def is_readable(wake: Wake) -> bool:
    return bool(select.select([wake.fd], [], [], 0)[0])


def test_calls_that_are_not_taken_are_one_write(monkeypatch: pytest.MonkeyPatch) -> None:
    wake, writes, write = Wake(), [0], os.eventfd_write

    def counted(fd: int, value: int) -> None:
        writes[0] += 1
        write(fd, value)

    monkeypatch.setattr(os, "eventfd_write", counted)
    for turn in range(1, 4):
        for _ in range(5):
            wake.set()
        assert is_readable(wake)
        wake.clear()
        assert not is_readable(wake)
        assert writes == [turn]
    wake.close()


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("after", [False, True])
def test_a_call_while_another_is_being_taken_keeps_no_later_one_from_waking(
    monkeypatch: pytest.MonkeyPatch, before: bool, after: bool
) -> None:
    wake, read = Wake(), os.eventfd_read

    def amid(fd: int) -> int:
        if before:
            wake.set()
        value = read(fd)
        if after:
            wake.set()
        return value

    wake.set()
    monkeypatch.setattr(os, "eventfd_read", amid)
    wake.clear()
    wake.set()
    assert is_readable(wake)
    wake.close()
