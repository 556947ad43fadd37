"""What is printed and logged of text from outside is one line, and moves no terminal."""

import doctest
import logging
import sys

import pytest

from sensorium.cli.main import OneLine
from sensorium.episode.plain import plain

FORGED = "mission 'a\x1b[2J\n2026-01-01 ERROR forged\r\x07'"


def test_examples_hold() -> None:
    assert doctest.testmod(sys.modules[plain.__module__]) == (0, 2)


@pytest.mark.parametrize("text", [FORGED, "[/red] [link=x]", "\u202e\u2028\x85", "grüße, 測試"])
def test_a_text_is_one_line_of_what_can_be_seen(text: str) -> None:
    assert plain(text).isprintable()
    assert len(plain(text).splitlines()) == 1
    assert plain("grüße, 測試 [/red]") == "grüße, 測試 [/red]"


def test_a_line_of_the_log_is_one_line_and_a_traceback_stands_below() -> None:
    form = OneLine("%(levelname)s %(message)s")
    record = logging.LogRecord("x", logging.ERROR, "f", 1, "of %s: 100%%", (FORGED,), None)
    assert form.format(record) == f"ERROR of {plain(FORGED)}: 100%"
    assert record.args == (FORGED,)
    bare = logging.LogRecord("x", logging.ERROR, "f", 1, "50% of it", None, None)
    assert form.format(bare) == "ERROR 50% of it"
    try:
        raise ValueError("a\nb")
    except ValueError as error:
        record.exc_info = (ValueError, error, error.__traceback__)
    assert len(form.format(record).splitlines()) > 2
