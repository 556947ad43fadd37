"""Tables of any form: exact stamps, SI units, several streams; what is bad is counted and named by line."""

import csv
import gzip
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from sensorium.drivers.driver import DriverConfig
from sensorium.drivers.replay import replay_csv
from sensorium.drivers.replay.replay_csv import ReplayCsvConfig
from sensorium.drivers.replay.row_times import iso_ns
from sensorium.drivers.replay.table import read_rows
from sensorium.drivers.stream import Block, StreamSpec
from sensorium.drivers.testing import DriverTests
from sensorium.errors import ConfigError

SMALL = "t [ms],a,b,c\n0,1,10,\n10,2,20,5\n20,3,30,\n30,4,40,6\n"
MAPPED = {"x": {"channels": {"a": "a", "b": {"column": "b", "unit": "g"}}}, "y": {"channels": {"c": "c"}}}


G = 9.80665

Delivered = dict[str, tuple[list[int], list[Any], list[int | None]]]
"""Stamps, data, and stamps with None for what was lost, by stream."""

Played = tuple[dict[str, StreamSpec], Delivered]


def config(tmp_path: Path, text: str = SMALL, **options: Any) -> ReplayCsvConfig:
    (tmp_path / "t.csv").write_text(text)
    document = {"path": "t.csv", "time": {"column": "t [ms]", "unit": "ms"}, "pace": "fast"}
    if "stream" not in options:
        document["streams"] = MAPPED
    return ReplayCsvConfig.model_validate({**document, **options})


def play(config: ReplayCsvConfig, base: Path, name: str = "s") -> Played:
    driver = config.open(name, base)
    specs = {spec.name: spec for spec in driver.specs}
    out: Delivered = {stream: ([], [], []) for stream in specs}
    while (got := driver.read(1.0)) is not None:
        for block in got:
            block.check(specs[block.stream])
            stamps, data, items = out[block.stream]
            stamps.extend(block.captured_ns.tolist())
            data.extend(block.data.tolist())
            items.extend([None] * block.lost_before + block.captured_ns.tolist())
    driver.close()
    return specs, out


class TestConformance(DriverTests):
    expected_rows = {"x": 4, "y": 2}
    expected_lost = {}

    def config(self, tmp_path: Path) -> DriverConfig:
        return config(tmp_path, pace=2.0)


class TestConformanceWithDamage(DriverTests):
    expected_rows = {"dut": 2}
    expected_lost = {"dut": 3}
    expected_lost_at = {"dut": [20_000_000, 40_000_000]}

    def config(self, tmp_path: Path) -> DriverConfig:
        text = "t [ms],a,b,c\nx,1,10,\n10,2,20,5\n20,3\n30,4,40,6\n40,four,4,4\n"
        return config(tmp_path, text, stream={"channels": {"a": "a"}})


def test_xio_fusion_equals_an_independent_reading(recordings: Path) -> None:
    path = recordings / "imu/xio_fusion.csv"
    turn, pull = "Gyroscope {} (deg/s)", "Accelerometer {} (g)"
    channels = {f"g{axis.lower()}": {"column": turn.format(axis), "unit": "deg/s"} for axis in "XYZ"}
    channels |= {f"a{axis.lower()}": {"column": pull.format(axis), "unit": "g"} for axis in "XYZ"}
    field = {f"m{axis.lower()}": {"column": f"Magnetometer {axis} (uT)", "unit": "uT"} for axis in "XYZ"}
    streams = {"imu": {"channels": channels, "modality": "imu"}, "mag": {"channels": field}}
    document = {"path": path, "time": {"column": "Time (s)"}, "streams": streams, "pace": "fast"}
    specs, out = play(ReplayCsvConfig.model_validate(document), recordings)
    with path.open() as file:
        rows = list(csv.reader(file))[1:]
    stamps, data, _ = out["s.imu"]
    assert stamps == [int(Decimal(row[0]) * 10**9) for row in rows]
    assert stamps[1] == 10_078_907
    raw = np.array(rows, np.float64)
    assert np.allclose(data, np.hstack([np.radians(raw[:, 1:4]), raw[:, 4:7] * 9.80665]), rtol=1e-15, atol=0)
    assert np.allclose(out["s.mag"][1], raw[:, 7:] * 1e-6, rtol=1e-15, atol=0)
    assert (specs["s.imu"].unit, specs["s.mag"].unit) == ("rad/s, rad/s, rad/s, m/s^2, m/s^2, m/s^2", "T, T, T")
    assert 95 < (specs["s.imu"].rate_hz or 0) < 105
    assert specs["s.imu"].channels == ("gx", "gy", "gz", "ax", "ay", "az")


def test_several_streams_from_one_table_and_cells_left_empty(tmp_path: Path) -> None:
    specs, out = play(config(tmp_path), tmp_path)
    assert out["s.x"][0] == [0, 10_000_000, 20_000_000, 30_000_000]
    assert out["s.x"][1][1] == [2.0, 20 * 9.80665]
    assert out["s.y"] == ([10_000_000, 30_000_000], [[5.0], [6.0]], [10_000_000, 30_000_000])
    assert (specs["s.x"].rate_hz, specs["s.y"].rate_hz) == (100.0, None)


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("0;1;2;\n10;3;4;\n", {"delimiter": ";", "header": False}),
        ("0,1,2\n10,3,4,,\n", {"header": False}),
        ("# made by hand\r\n0,1,2,\r\n\r\n#more\r\n10,3,4,\r\n", {"comment": "#", "header": False}),
    ],
)
def test_other_forms_of_table(tmp_path: Path, text: str, options: dict[str, Any]) -> None:
    made = config(tmp_path, text, time={"column": 0, "unit": "us"}, stream={"channels": {"p": 1, "q": 2}}, **options)
    _, out = play(made, tmp_path)
    assert out["s"][:2] == ([0, 10_000], [[1.0, 2.0], [3.0, 4.0]])


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("t\ta\n0\t1\n1\t2\n", {"delimiter": "\t"}),
        ("  t   a\n  0 1\n  1     2\n", {"delimiter": " "}),
        ('"t","a"\r"0","1"\r"1","2"\r', {}),
        ("t,a\r\r\n0,1\r\r\n1,2", {}),
        ("sep=;\nt;a\n0,0;1,0\n1,0;2,0\n", {"delimiter": ";", "decimal": ",", "skip_rows": 1}),
        ("t , a\n\n0 , +1e0\n\n1 , 2.\n", {}),
    ],
    ids=["tabs", "spaces", "quotes and CR", "CRCRLF", "of a spreadsheet", "blank"],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_however_it_is_written(tmp_path: Path, text: str, options: dict[str, Any], encoding: str) -> None:
    made = config(tmp_path, "", time={"column": "t"}, stream={"channels": {"a": "a"}}, **options)
    (tmp_path / "t.csv").write_bytes(text.encode(encoding))
    assert play(made, tmp_path)[1]["s"][:2] == ([0, 10**9], [[1.0], [2.0]])


def test_titles_of_older_programs(tmp_path: Path) -> None:
    made = config(tmp_path, "", time={"column": "t"}, stream={"channels": {"a": "gyro [°/s]"}})
    (tmp_path / "t.csv").write_bytes("t,gyro [°/s]\n0,1\n".encode("cp1252"))
    assert play(made, tmp_path)[1]["s"][1] == [[1.0]]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (gzip.compress(SMALL.encode(), mtime=0), "is packed by gzip and no text; unpack it, or save it as CSV"),
        (b"PK\x03\x04 a workbook", "is a ZIP or a workbook and no text"),
        (SMALL.replace(",", ";").encode(), "no column 't [ms]', is `delimiter` ';'?; found 't [ms];a;b;c'"),
        (b"t [ms],a,b,c\n0,9.8 m/s^2,9.8 m/s^2,1\n", "s.x: no row with numbers in all of its columns (line 2: could"),
        (b'"t [ms],a,b,c\n0,1,2,3\n', "no column 't [ms]', did you mean '\"t [ms]'?"),
    ],
)
def test_what_is_no_such_table_is_one_line(tmp_path: Path, text: bytes, says: str) -> None:
    made = config(tmp_path)
    (tmp_path / "t.csv").write_bytes(text)
    with pytest.raises(ConfigError) as refused:
        made.open("s", tmp_path)
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_whole_numbers_that_are_not_exact_are_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    text = f"t [ms],a,b\n0,{2**53},1e300\n1,{2**53 + 1},inf\n2,-{2**60 + 1},nan\n"
    _, out = play(config(tmp_path, text, stream={"channels": {"a": "a", "b": "b"}}), tmp_path)
    assert [row[0] for row in out["s"][1]] == [2.0**53, 2.0**53, -(2.0**60)]
    assert caplog.messages == [f"{tmp_path / 't.csv'}: s.a: whole numbers beyond 2^53 are not exact as float64"]


def test_text_in_a_number_costs_that_row_of_that_stream(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _, out = play(config(tmp_path, SMALL.replace("2,20,5", "2,oops,5")), tmp_path)
    assert out["s.x"][2] == [0, None, 20_000_000, 30_000_000]
    assert out["s.y"][2] == [10_000_000, 30_000_000]
    assert "t.csv:3: s.x: could not convert string to float: 'oops': counted lost" in caplog.text


@pytest.mark.parametrize("row", ["never,2,20,5", "10,2,20", ",2,20,5", "10,2,20,5,7", "1e300,2,20,5"])
def test_a_row_without_a_time_costs_every_stream(tmp_path: Path, caplog: pytest.LogCaptureFixture, row: str) -> None:
    _, out = play(config(tmp_path, SMALL.replace("10,2,20,5", row)), tmp_path)
    assert out["s.x"][2] == [0, None, 20_000_000, 30_000_000]
    assert out["s.y"][2] == [None, 30_000_000]
    assert "t.csv:3: " in caplog.text


def test_time_that_runs_backwards_by_up_to_a_second_is_said_and_put_in_order(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _, out = play(config(tmp_path, SMALL.replace("20,3", "5,3")), tmp_path)
    assert out["s.x"][:2] == (
        [0, 5_000_000, 10_000_000, 30_000_000],
        [[1, 10 * G], [3, 30 * G], [2, 20 * G], [4, 40 * G]],
    )
    assert "t.csv:4: time steps back by 5000000 ns" in caplog.text
    _, out = play(config(tmp_path, SMALL.replace("20,3", "-5000,3")), tmp_path)
    assert out["s.x"][0] == [0, 10_000_000, -5_000_000_000, 30_000_000]


def test_a_long_loss_at_the_end_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _, out = play(config(tmp_path, SMALL + "x,1,1,1\n" * 100), tmp_path)
    assert out["s.x"][2][4:] == [None] * 100
    assert len(caplog.messages) == 6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"streams": {"x": {"channels": {"a": "aa"}}}},
            r"t\.csv: no column 'aa', did you mean 'a'\?; found 't \[ms\]', 'a'",
        ),
        ({"time": {"column": "time [ms]"}}, r"no column 'time \[ms\]', did you mean 't \[ms\]'"),
        ({"time": {"column": 7}}, "no column 7; expected 0 to 3"),
        ({"header": False}, "without a header columns are numbers from 0"),
        ({"path": "u.csv"}, r"u\.csv: No such file or directory"),
    ],
)
def test_what_cannot_be_mapped_is_one_line(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        config(tmp_path, **change).open("s", tmp_path)
    assert "\n" not in str(error.value)


def test_an_empty_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no row in it"):
        config(tmp_path, "").open("s", tmp_path)


@pytest.mark.parametrize("streams", [{}, {"stream": {"channels": {"a": "a"}}, "streams": MAPPED}])
def test_streams_are_given_in_one_way(streams: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="either `stream`"):
        ReplayCsvConfig.model_validate({"path": "t.csv", "time": {"column": 0}, **streams})


def test_dates_are_exact(tmp_path: Path) -> None:
    text = "t [ms],a,b,c\n1970-01-01 00:00:01.000000001,1,2,3\n1970-01-01T01:00:02+01:00,1,2,3\n"
    made = config(tmp_path, text, time={"column": 0, "unit": "iso"})
    driver = made.open("s", tmp_path)
    assert driver.clock.states_utc
    driver.close()
    assert play(made, tmp_path)[1]["s.x"][0] == [1_000_000_001, 2_000_000_000]


@pytest.mark.parametrize("text", ["", "noon", "2024-13-01", "2024-01-01T00:00:00.1234567890"])
def test_what_is_no_date_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        iso_ns(text)


def test_decimal_commas(tmp_path: Path) -> None:
    text = "t [ms];a\n0,5;1,25\n10,5;-2,5e1\n"
    _, out = play(config(tmp_path, text, delimiter=";", decimal=",", stream={"channels": {"a": "a"}}), tmp_path)
    assert out["s"][:2] == ([500_000, 10_500_000], [[1.25], [-25.0]])
    with pytest.raises(ValidationError, match="decimal and delimiter are both ','"):
        config(tmp_path, decimal=",")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("t [ms],a\n", "there is none but the first"),
        ("t [ms],a\nx,1\ny,2\n", "line 2: 'x' is not a time"),
        ("t [ms],a\n2024-01-01T00:00:00Z,1\n", "is not a time"),
    ],
)
def test_a_table_without_any_time_is_one_line(tmp_path: Path, text: str, why: str) -> None:
    made = config(tmp_path, text, stream={"channels": {"a": "a"}})
    with pytest.raises(ConfigError, match=r"no row with a time in column 't \[ms\]'") as refused:
        made.open("s", tmp_path)
    assert why in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_title_that_is_there_twice_is_not_guessed_at(tmp_path: Path) -> None:
    text = "t [ms],a,a\n0,1,7\n10,2,8\n"
    with pytest.raises(ConfigError, match=r"column 'a' is there twice; give the number of one \(1, 2\)"):
        config(tmp_path, text, stream={"channels": {"a": "a"}}).open("s", tmp_path)
    _, out = play(config(tmp_path, text, stream={"channels": {"a": 2}}), tmp_path)
    assert out["s"][1] == [[7.0], [8.0]]


def test_a_table_that_cannot_be_read_on_keeps_what_was_read_and_known_to_be_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind the rows that are looked at first, the disk gives no more."""
    rows = [f"{i},{i}" for i in range(2500)] + ["2500,x", "2501,y"]
    driver = config(tmp_path, "t [ms],a\n" + "\n".join(rows), stream={"channels": {"a": "a"}}).open("s", tmp_path)

    def broken(*args: Any) -> Iterator[tuple[int, list[str]]]:
        yield from read_rows(*args)
        raise ConfigError("t.csv: Input/output error")

    monkeypatch.setattr(replay_csv, "read_rows", broken)
    blocks: list[Block] = []
    with pytest.raises(ConfigError, match="Input/output error"):
        blocks.extend(block for got in iter(lambda: driver.read(1.0), None) for block in got)
    driver.close()
    assert (sum(map(len, blocks)), sum(block.lost_before for block in blocks)) == (2500, 2)


@pytest.mark.parametrize("strays", [(501,), (101, 901), (999,), (3, 4, 5)])
def test_a_stray_quote_costs_its_row(tmp_path: Path, strays: tuple[int, ...]) -> None:
    rows = [f'{i},"{i},x' if i in strays else f"{i},{i},x" for i in range(1000)]
    made = config(tmp_path, "t [ms],a,b\n" + "\n".join(rows), stream={"channels": {"a": "a"}})
    _, out = play(made, tmp_path)
    assert out["s"][2] == [None if i in strays else i * 1_000_000 for i in range(1000)]


def test_rows_that_cannot_be_read_are_counted_alike_wherever_they_stand(tmp_path: Path) -> None:
    lost = []
    for bad in (range(200, 300), range(500, 600)):
        text = "".join(f"{i * 10},{'garbage' if i in bad else i}\n" for i in range(600))
        driver = config(tmp_path, "t [ms],a\n" + text, stream={"channels": {"a": "a"}}).open("s", tmp_path)
        blocks = [block for got in iter(lambda driver=driver: driver.read(1.0), None) for block in got]  # type: ignore[misc]
        driver.close()
        lost.append([(block.lost_before, block.lost_at_ns) for block in blocks if block.lost_before])
        assert lost[-1] == [(1, i * 10_000_000) for i in bad]


def test_titles_in_two_rows_and_rows_that_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    text = "made by hand\n\nleft,,right,right,\nacc_x,gyr_x,acc_x,gyr_x,\n" + "".join(
        f"{i},0,-{i},1,\n" for i in range(50)
    )
    mapped = {"channels": {"l": "left.acc_x", "r": "right.acc_x"}}
    made = config(tmp_path, text, header=2, skip_rows=1, time={"rate_hz": 204.8}, stream=mapped)
    specs, out = play(made, tmp_path)
    assert out["s"][0] == [round(i * 10**10 / 2048) for i in range(50)]
    assert out["s"][1] == [[i, -i] for i in range(50)]
    assert (specs["s"].rate_hz, specs["s"].stamps_from) == (204.8, "row")
    assert caplog.messages == [f"{tmp_path / 't.csv'}: not taken: columns left.gyr_x, right.gyr_x"]


def test_a_column_that_counts_samples_tells_which_are_missing(tmp_path: Path) -> None:
    text = "n,a\n10,0\n11,1\n14,4\n15,x\n17,7\n18\n19,9\n"
    made = config(tmp_path, text, time={"column": "n", "rate_hz": 100}, stream={"channels": {"a": "a"}})
    specs, out = play(made, tmp_path)
    stamps = [None if n in (12, 13, 15, 16, 18) else n * 10_000_000 for n in range(10, 20)]
    assert out["s"][2] == stamps
    assert specs["s"].stamps_from == "index"


def test_a_stated_rate_that_the_stamps_contradict_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    text = "t [ms],a\n" + "".join(f"{i * 1000},{i}\n" for i in range(20))
    for rate_hz, said in ((204.8, 1), (1.05, 0)):
        caplog.clear()
        play(config(tmp_path, text, stream={"channels": {"a": "a"}, "rate_hz": rate_hz}), tmp_path)
        assert [message.count("rate_hz says 204.8 Hz, its stamps show 1 Hz") for message in caplog.messages] == [
            1
        ] * said
