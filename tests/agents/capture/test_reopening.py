"""Reopening: pauses double up to a bound, each try is told with why it failed, and what is told to stop has stopped."""

import logging
import threading

import pytest

from sensorium.agents.capture.intake import Intake
from sensorium.agents.capture.reopening import Nature, open_again
from sensorium.drivers.clock import Clock, live_clock
from sensorium.drivers.driver import Driver
from sensorium.drivers.stream import Block, StreamSpec
from sensorium.errors import SensorLost
from tests.agents.building import fresh_account
from tests.spine.commands import wait_for


class Lost:
    """A sensor that is lost when it is read."""

    def __init__(self) -> None:
        self.specs: tuple[StreamSpec, ...] = (StreamSpec(name="front", modality="x", dtype="float64", shape=(1,)),)
        self.clock: Clock = live_clock()
        self.closed = 0

    def read(self, timeout_s: float) -> list[Block] | None:
        raise SensorLost("unplugged")

    def close(self) -> None:
        self.closed += 1


def test_pauses_double_up_to_a_bound_and_the_log_says_the_next_one(caplog: pytest.LogCaptureFixture) -> None:
    pauses_s: list[float] = []
    why: list[str] = []

    class Stop(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            assert timeout is not None
            pauses_s.append(timeout)
            return len(pauses_s) == 8

    def absent() -> Driver:
        raise SensorLost("not there")

    with caplog.at_level(logging.INFO):
        assert open_again("front", absent, Stop(), why.append) is None
    assert pauses_s == [0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0, 15.0]
    assert why == ["not there"] * 7
    assert caplog.messages == [f"sensor 'front': not there; next try in {next_s:.1f} s" for next_s in pauses_s[1:]]


def test_while_the_device_is_there_it_is_tried_every_two_seconds() -> None:
    """Once it is there: while it is absent the long pauses hold, and where that cannot be told too."""
    waited_s: list[float] = []

    class Stop(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            assert timeout is not None
            waited_s.append(timeout)
            return sum(waited_s) > 60.0

    class Plugged:
        tried_s: list[float] = []
        asked = 0

        def plugged_in(self) -> bool:
            if sum(waited_s) < 50.0:
                return False
            self.asked += 1
            if self.asked == 1:
                raise OSError("not even its folder")
            return True

        def __call__(self) -> Driver:
            self.tried_s.append(sum(waited_s))
            raise SensorLost("not there")

    assert open_again("front", Plugged(), Stop(), lambda _: None) is None
    before = [at_s for at_s in Plugged.tried_s if at_s < 50.0]
    assert before == [0.5, 1.5, 3.5, 7.5, 15.5, 30.5, 45.5]
    assert Plugged.tried_s[7:] == [53.5, 55.5, 57.5, 59.5]


def test_what_came_back_with_more_is_asked_for_what_it_was() -> None:
    class More(Lost):
        def __init__(self) -> None:
            super().__init__()
            self.specs = (*self.specs, StreamSpec(name="more", modality="x", dtype="float64", shape=(1,)))

        def keep_to(self, specs: tuple[StreamSpec, ...]) -> None:
            self.specs = specs

    before = Nature.of(Lost())
    for was, names in ((before, ["front"]), (None, ["front", "more"])):
        driver = open_again("front", More, threading.Event(), lambda _: None, was)
        assert driver is not None
        assert [spec.name for spec in driver.specs] == names


def test_what_is_opened_while_all_is_closed_is_closed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sensorium.agents.capture.reopening.FIRST_BACKOFF_S", 0.01)
    opening, released, again = threading.Event(), threading.Event(), Lost()

    def reopen() -> Driver:
        opening.set()
        released.wait(60.0)
        return again

    intake = Intake({"front": Lost()}, {"front": reopen}, fresh_account(), live=True)
    intake.start()
    assert opening.wait(60.0)
    stopping = threading.Thread(target=intake.stop)
    stopping.start()
    wait_for(intake._stop.is_set, "it to be told to stop")
    released.set()
    stopping.join(60.0)
    assert again.closed == 1
    assert [arrival.change for arrival in iter(lambda: intake.take(0), None)] == ["away"]
