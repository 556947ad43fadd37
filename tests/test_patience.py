"""Patience: a call that takes too long is left behind, and a loop of Python is ended, whatever the collector does."""

import threading
import weakref

import pytest

from sensorium import patience
from sensorium.patience import within

BOUND_S = 60.0


class Thing:
    """What a weak reference can be of."""


def test_a_loop_is_ended_though_a_callback_of_the_collector_drops_the_first_interrupt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(patience, "AGAIN_S", (0.1,) * 100)
    dropped, over = threading.Event(), threading.Event()

    def spins(_: object) -> None:
        try:
            while True:
                pass
        finally:
            dropped.set()

    def call() -> None:
        thing = Thing()
        _ = weakref.ref(thing, spins)
        try:
            del thing
            while True:
                pass
        finally:
            over.set()

    with pytest.raises(TimeoutError):
        within(0.05, call)
    assert dropped.is_set()
    assert over.wait(BOUND_S)
