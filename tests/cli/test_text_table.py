"""Tables: at any width what is copied stands whole, nothing is cut, and what is left out is said; live ones fit."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from sensorium.cli.live import LiveTable
from sensorium.cli.screen import OUT
from sensorium.cli.text_table import TextTable
from sensorium.episode.documents import Account

ID = "01a218f3-2333-71de-8369-909368751137"
PATH = "/dev/v4l/by-id/usb-046d_HD_Pro_Webcam_C920_8E3A2F-video-index0"
COLUMNS = ["ordinal>", "episode", "mission", "state", "bytes>", "why"]
ROW = ["12", ID, "a long mission's name", "rejected", "2.10 MB", f"the server has no room; see {PATH} and make some"]


def printed(table: TextTable, width: int) -> list[str]:
    return [str(line) for line in table.lines(width)]


@settings(max_examples=40)
@given(st.integers(10, 260))
def test_at_any_width_nothing_that_is_copied_is_cut(width: int) -> None:
    lines = printed(TextTable("", COLUMNS, [ROW, ROW]), width)
    whole = " ".join(" ".join(lines).split())
    for said in (ID, PATH, "rejected", "the server has no room;"):
        assert said in whole
    for name, cell in (("mission", ROW[2]), ("bytes", ROW[4])):
        assert cell in whole or any(line.startswith("(no room for") and name in line for line in lines), "it is said"
    widest = max(
        len(ROW[0]) + 6, len(f"    {PATH}"), len(f"ordinal  {ID}  rejected"), len("(no room for mission, bytes)")
    )
    assert all(len(line) <= max(width, widest) for line in lines)


def test_what_there_is_room_for_is_one_line_a_row() -> None:
    assert printed(TextTable("t", ["a>", "b"], [["1", "x"], ["22", ""]]), 80) == ["t", " a  b", " 1  x", "22"]
    at_80 = printed(TextTable("", COLUMNS, [ROW]), 80)
    assert at_80[0] == "ordinal  episode                               mission                state"
    assert at_80[2].startswith("    why: the server has no room; see")
    assert at_80[-1] == "(no room for bytes)"
    assert printed(TextTable("", ["a", ""], [["1", ""]]), 80) == ["a", "1"]
    empty = printed(TextTable("", ["name", "start_utc>", "kept"], [["n" * 70, "", "yes"]]), 80)
    assert empty[-1] == "(no room for start_utc)", "what says nothing goes first"


def test_wide_letters_are_as_wide_as_they_are() -> None:
    lines = printed(TextTable("", ["name", "x"], [["東京", "1"], ["ab", "2"]]), 80)
    assert lines[1:] == ["東京  1", "ab    2"]


@pytest.mark.parametrize("said", ["pick [/place]", "[bold]x", ":smile:", "tab\there", "\x1b[2J", "two\nrows"])
def test_a_cell_is_printed_as_it_is_and_moves_no_cursor(said: str, capsys: pytest.CaptureFixture[str]) -> None:
    OUT.print(TextTable(said, ["mission"], [[said]]))
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == said.encode("unicode_escape").decode()
    assert "\x1b" not in lines[-1]


def status(sensors: int, error: str = "", away: dict[str, str] | None = None) -> dict[str, Any]:
    lossy = {"camera-6": {"late": 3}}
    streams = {
        f"{kind}-{number}": Account(captured=100, stored=97, lost=lossy.get(f"{kind}-{number}", {}))
        for number in range(sensors)
        for kind in ("camera", "imu", "depth")
    }
    whole = {"device": "rig-in-the-hall-1", "state": "full" if error else "collecting", "episodes": 12}
    link = {"state": "up", "sent_bytes": 10**9}
    more = {"spool_bytes": 2 * 10**10, "ordinals": {"pending": 1234, "committed": 8}, "link": link}
    return whole | more | {"error": error, "away": away or {}, "streams": streams}


@pytest.mark.parametrize("sensors", [1, 8])
def test_the_live_table_fits_a_small_terminal_and_shows_state_and_error(sensors: int) -> None:
    error = f"spool {PATH}: 812 bytes free on its file system, 2000000000 must stay: make room, or lower it"
    away = {"front": f"no answer from {PATH}", "side": "no answer"}
    for given_status, said in (
        (status(sensors, error), ["full", PATH, "make room, or lower it"]),
        (status(sensors, away=away), ["collecting", "front is away", "side is away"]),
        (status(sensors), ["collecting"]),
    ):
        console = Console(width=80, height=24, record=True)
        console.print(LiveTable().render([given_status], "keys: space, x, s, f, q", 80, 24))
        lines = console.export_text().splitlines()
        assert len(lines) <= 24
        assert all(len(line) <= 80 for line in lines)
        shown = " ".join(" ".join(lines).split())
        for word in [*said, "rig-in-the-hall-1"]:
            assert word in shown
        if sensors == 8:
            assert "camera-6" in shown, "what loses samples is shown"
            assert "more; of all 2400 captured, 3 lost" in shown
