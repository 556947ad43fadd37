"""What comes and goes with every picture is no line with every picture."""

import logging

import pytest

from sensorium.agents.filters.ailing import Ailing


def test_what_comes_and_goes_is_said_the_first_second_fourth_eighth_time(caplog: pytest.LogCaptureFixture) -> None:
    ailing = Ailing("encoder 'a'", "it is left out", logging.ERROR)
    ailing.is_well()
    for _ in range(100):
        for what in ("failed", "hung"):
            ailing.fails(what)
        ailing.is_well()
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2 * 7
    assert said[0] == "encoder 'a' failed; it is left out"
    assert said[1] == "encoder 'a' is well again: what was said of it (it hung) is over"
    assert said[-2] == "encoder 'a' failed (64 times so far); it is left out"
    assert {record.levelname for record in caplog.records} == {"ERROR", "WARNING"}
