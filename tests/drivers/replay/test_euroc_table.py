"""Tables of EuRoC folders, with the commas, comments, titles and stamps that people write."""

from pathlib import Path

import numpy as np
import pytest

from sensorium.drivers.replay.euroc_table import Numbers, head_of, read_numbers
from sensorium.drivers.replay.replay_euroc import ReplayEurocConfig
from sensorium.drivers.replay.table import BadRows

START_NS = 1_403_636_579_763_555_584
TRUTH = "#timestamp, p_x [m], p_y [m], q_w [], bw_x, ba_z,\n"
ROWS = "".join(f"{START_NS + i * 5_000_000},0.{i:03},1,2,3,4,\n" for i in range(40))


def read(tmp_path: Path, text: str) -> tuple[Numbers, int]:
    table = tmp_path / "data.csv"
    table.write_text(text)
    bad = BadRows(table)
    found = read_numbers(table, head_of(table), bad)
    assert found is not None
    return found, int(bad.lost_before(len(found.data)).sum()) + len(bad.lost_at)


@pytest.mark.parametrize(
    "text",
    [
        TRUTH + ROWS,
        TRUTH.replace("#", "") + ROWS,
        "# ground truth\n\n" + TRUTH + "# of Tuesday, the fifth\n" + ROWS.replace(",\n", "\n"),
        TRUTH.replace(",\n", "\n") + ROWS.replace(",\n", ",,,\n"),
        TRUTH.replace("timestamp", "timestamp [s]")
        + "".join(f"1403636579.{763555584 + i * 5_000_000},0.{i:03},1,2,3,4\n" for i in range(40)),
    ],
)
def test_every_row_comes(tmp_path: Path, text: str) -> None:
    found, lost = read(tmp_path, text)
    assert found.captured_ns.tolist() == [START_NS + i * 5_000_000 for i in range(40)]
    assert np.array_equal(found.data, [[i / 1000, 1, 2, 3, 4] for i in range(40)])
    assert (found.titles, found.units) == (("p_x", "p_y", "q_w", "bw_x", "ba_z"), ("m", "m", "", "", ""))
    assert lost == 0


@pytest.mark.parametrize("between", [", ", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_other_signs_between_the_cells(tmp_path: Path, between: str, encoding: str) -> None:
    table = tmp_path / "data.csv"
    table.write_text((TRUTH + ROWS).replace(", ", ",").replace(",", between), encoding=encoding, newline="\r\n")
    found = read_numbers(table, head_of(table), BadRows(table))
    assert found is not None
    assert np.array_equal(found.data, [[i / 1000, 1, 2, 3, 4] for i in range(40)])
    assert found.titles == ("p_x", "p_y", "q_w", "bw_x", "ba_z")


@pytest.mark.parametrize("titles", ["#t [ns],p_x [m],p_y [m],q_w,bw_x,ba_z\n", "# t p_x p_y q_w bw_x ba_z\n", ""])
def test_any_number_of_spaces_between_the_cells(tmp_path: Path, titles: str) -> None:
    found, lost = read(tmp_path, titles + ROWS.replace(",\n", "\n").replace(",", "   "))
    assert (found.data.shape, lost) == ((40, 5), 0)
    assert found.titles == (("p_x", "p_y", "q_w", "bw_x", "ba_z") if titles else ())


@pytest.mark.parametrize("unit", [" [us]", " [µs]", " (us)", "_us", " [usec]", " (microseconds)", " [US]"])
def test_units_of_stamps_as_they_are_written(tmp_path: Path, unit: str) -> None:
    found, _ = read(tmp_path, TRUTH.replace("timestamp", f"timestamp{unit}") + ROWS.replace("584,", ","))
    assert found.captured_ns[0] == START_NS // 1000 * 1000


def test_columns_of_one_name_and_numbers_that_are_not_exact(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    found, _ = read(tmp_path, f"#timestamp,x,x\n1,1,{2**53 + 1}\n2,nan,inf\n")
    assert found.titles == ("x", "x_2")
    assert caplog.messages == [f"{tmp_path / 'data.csv'}: x: whole numbers beyond 2^53 are not exact as float64"]


def test_without_titles(tmp_path: Path) -> None:
    found, lost = read(tmp_path, ROWS)
    assert (found.data.shape, found.titles, lost) == ((40, 5), (), 0)


def test_columns_without_numbers_are_said_and_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    found, lost = read(tmp_path, "#timestamp,state,x\n1,OK,2\n3,BAD,4\n")
    assert (found.data.tolist(), found.titles, lost) == ([[2.0], [4.0]], ("x",), 0)
    assert "not taken, for want of numbers: state" in caplog.text


def test_rows_with_other_counts_are_lost(tmp_path: Path) -> None:
    found, lost = read(tmp_path, TRUTH + "1,1,2,3,4,5\n2,1,2,3,4\n3,1,2,3,4,5,6\n4,1,2,3,4,\n")
    assert (found.captured_ns.tolist(), lost) == ([1], 3)


def test_an_imu_whose_columns_stand_in_another_order(tmp_path: Path) -> None:
    (tmp_path / "mav0/imu0").mkdir(parents=True)
    titles = [f"{kind}_RS_S_{axis} [{unit}]" for kind, unit in (("a", "m s^-2"), ("w", "rad s^-1")) for axis in "xyz"]
    text = f"#timestamp [ns],{','.join(titles)},temp [C]\n" + "".join(f"{i},1,2,3,4,5,6,20\n" for i in range(3))
    (tmp_path / "mav0/imu0/data.csv").write_text(text)
    driver = ReplayEurocConfig(path=Path("mav0"), pace="fast").open("r", tmp_path)
    (spec,) = driver.specs
    driver.close()
    assert spec.channels == ("ax", "ay", "az", "gx", "gy", "gz", "temp")
    assert spec.unit == "m/s^2, m/s^2, m/s^2, rad/s, rad/s, rad/s, C"
