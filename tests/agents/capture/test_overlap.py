"""Recordings that have no moment in common."""

from itertools import count

import numpy as np
import pytest

from sensorium.agents.capture.arrival import Arrival, Change
from sensorium.agents.capture.overlap import Overlap
from sensorium.drivers.stream import Block

S = 1_000_000_000
ORDER = count()


def came(sensor: str, at_s: int) -> Arrival:
    return Arrival(sensor, next(ORDER), Block(sensor, np.array([at_s * S], np.int64), np.zeros((1, 1))), sensor)


def over(sensor: str, change: Change = "ended") -> Arrival:
    return Arrival(sensor, next(ORDER), change=change)


@pytest.mark.parametrize(
    ("arrivals", "said"),
    [
        ([came("film", 0), came("film", 9), over("film"), came("log", 100), came("log", 101), over("log")], ["film"]),
        ([came("film", 0), came("log", 5), over("film"), came("log", 100), came("film", 200)], []),
        ([came("film", 0), came("log", 5), over("film"), came("gps", 9), over("log")], []),
        ([came("film", 0), over("film", "failed"), came("log", 5), over("log"), came("gps", 9)], ["film", "film, log"]),
        ([over("film"), came("log", 5), over("log")], []),
        ([came("film", 0), came("film", 9), over("film"), came("log", 9)], []),
    ],
)
def test_what_begins_behind_the_end_of_all_others_is_said(
    caplog: pytest.LogCaptureFixture, arrivals: list[Arrival], said: list[str]
) -> None:
    overlap = Overlap()
    for arrival in arrivals:
        overlap.hear(arrival)
    assert [text.partition(":")[0] for text in caplog.messages] == said
    assert all("align them by `offset_s` or `utc`" in text for text in caplog.messages)
