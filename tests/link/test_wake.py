"""A wake-up call reaches a poll once, and after the end nobody."""

import threading
import time

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
