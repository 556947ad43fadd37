"""Tables of text: lines are told, times are exact."""

import logging
import tempfile
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensorium.drivers.replay.table import BadRows, decimal_ns, read_rows
from sensorium.errors import ConfigError


def test_rows_with_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b'\xef\xbb\xbf#a,b\r\n1, x \r\n\r\n  \r\n# note\r\n2,"y, z"\r\n')
    assert list(read_rows(path)) == [(2, ["1", "x"]), (6, ["2", "y, z"])]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ('t,a,b\n1,"x\ny",2\n3,4,5\n', {2: ["1", "x\ny", "2"], 4: ["3", "4", "5"]}),
        ('t,a,b\n1,"x,2\n3,4,5\n6,"7,8\n', {2: ["1", '"x', "2"], 3: ["3", "4", "5"], 4: ["6", '"7', "8"]}),
        ('t,a\n"1","2"\n3,"4"5\n', {2: ["1", "2"], 3: ["3", '"4"5']}),
        ('t,a,b\n1,"x""y, z",2\n1,5" pipe,3\n', {2: ["1", 'x"y, z', "2"], 3: ["1", '5" pipe', "3"]}),
        ('t,a\r"1","x\r\r2"\r3,"', {2: ["1", "x\r\r2"], 5: ["3", '"']}),
        ('t,a,b\n1,"x,2\n3,4,5\n6,7",8\n', {2: ["1", '"x', "2"], 3: ["3", "4", "5"], 4: ["6", '7"', "8"]}),
        ('t\n"x\n7,8\n9"\n', {2: ['"x'], 3: ["7", "8"], 4: ['9"']}),
    ],
)
def test_a_quote_reaches_no_further_than_its_row(tmp_path: Path, text: str, rows: dict[int, list[str]]) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(text.encode())
    assert dict(list(read_rows(path))[1:]) == rows


@pytest.mark.parametrize("lines", [1, 19, 20, 500])
def test_a_quote_is_looked_for_in_the_next_19_lines(tmp_path: Path, lines: int) -> None:
    """Of a table of one column none of its lines shows that a quote is stray."""
    path = tmp_path / "t.csv"
    path.write_text('t\n"x\n' + "7\n" * (lines - 1) + '8"\n9\n')
    found = dict(read_rows(path))
    assert len(found) == (3 if lines < 20 else lines + 3)
    assert found[2] == (["x\n" + "7\n" * (lines - 1) + "8"] if lines < 20 else ['"x'])
    assert found[lines + 3] == ["9"]


@given(st.sets(st.integers(1, 40)), st.integers(2, 5))
def test_of_rows_with_stray_quotes_all_others_come(strays: set[int], width: int) -> None:
    rows = [[f"{row}", *["7"] * (width - 1)] for row in range(41)]
    for row in strays:
        rows[row][-1] = '"7'
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.csv"
        path.write_text("\n".join(map(",".join, rows)))
        assert [cells for _, cells in read_rows(path)] == rows


def test_unicode_as_spreadsheets_write_it(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes("t;µ\r\n1;2\r\n".encode("utf-16"))
    assert [cells for _, cells in read_rows(tmp_path / "t.csv", ";")] == [["t", "µ"], ["1", "2"]]


@pytest.mark.parametrize("is_folder", [False, True])
def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path, is_folder: bool) -> None:
    if is_folder:
        (tmp_path / "t.csv").mkdir()
    with pytest.raises(ConfigError, match=r"t\.csv: .*check the path"):
        list(read_rows(tmp_path / "t.csv"))


@given(st.integers(-(2**63), 2**63 - 1))
def test_seconds_are_exact(ns: int) -> None:
    assert decimal_ns(str(Decimal(ns).scaleb(-9)), 10**9) == ns
    assert decimal_ns(str(ns), 1) == ns


@pytest.mark.parametrize("text", ["", "x", "nan", "inf", "-Infinity", "1e400", "1e999999999", "9223372036.854775808"])
def test_what_is_no_time_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match="time"):
        decimal_ns(text, 10**9)


def test_lost_rows_have_a_place_and_few_lines(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bad = BadRows(tmp_path / "t.csv")
    for line in range(10):
        bad.lose(line, "text", 1 if line else 0)
    assert bad.lost_before(2).tolist() == [1, 9, 0]
    assert "t.csv:3: text: counted lost" in caplog.messages[3]
    assert len(caplog.messages) == 6
    assert all(record.levelno == logging.WARNING for record in caplog.records)
