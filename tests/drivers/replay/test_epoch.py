"""Stamps that are said to be UTC, and cannot be, are said by every kind of recording."""

import logging
from pathlib import Path
from typing import Any

import pytest

from sensorium.drivers.replay.epoch import check_epoch
from sensorium.drivers.replay.replay_csv import ReplayCsvConfig
from sensorium.drivers.replay.replay_euroc import ReplayEurocConfig

IN_2023_S = 1_700_000_000


@pytest.mark.parametrize(
    ("first", "time", "says"),
    [
        (IN_2023_S, {"unit": "s"}, ""),
        (IN_2023_S, {"unit": "ms"}, "is of the year 1970, as UTC; in s it would be 2023"),
        (IN_2023_S * 1000, {"unit": "ns"}, "is of the year 1970, as UTC; in ms it would be 2023"),
        (5, {"unit": "s"}, "is of the year 1970, as UTC; do its stamps count from 1970?"),
        (9 * 10**9, {"unit": "s"}, "is of the year 2255, as UTC; do its stamps count from 1970?"),
        ("1970-01-01T00:00:07Z", {"unit": "iso"}, "is of the year 1970, as UTC; do its stamps count"),
        ("2023-11-14T22:13:20Z", {"unit": "iso"}, ""),
    ],
)
def test_a_table_of_another_unit_or_epoch(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, first: Any, time: dict[str, Any], says: str
) -> None:
    (tmp_path / "t.csv").write_text(f"t,a\nnone,1\n{first},1\n")
    document = {"path": "t.csv", "time": {"column": "t", **time}, "stream": {"channels": {"a": "a"}}, "utc": True}
    ReplayCsvConfig.model_validate(document).open("s", tmp_path).close()
    assert [f"{tmp_path / 't.csv'}: its first stamp {says}" in message for message in caplog.messages] == (
        [True] if says else []
    )
    caplog.clear()
    ReplayCsvConfig.model_validate({**document, "utc": False}).open("s", tmp_path).close()
    assert bool(caplog.messages) == ("iso" in time.values() and bool(says)), "who states no UTC is told nothing"


@pytest.mark.parametrize(("title", "utc"), [("timestamp [s]", True), ("timestamp", False)])
def test_of_stamps_of_another_epoch_a_euroc_recording_states_no_utc(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, title: str, utc: bool
) -> None:
    (tmp_path / "mav0/imu0").mkdir(parents=True)
    rows = "".join(f"{IN_2023_S + n},1,2,3,4,5,6\n" for n in range(3))
    (tmp_path / "mav0/imu0/data.csv").write_text(f"#{title},a,b,c,d,e,f\n{rows}")
    driver = ReplayEurocConfig(path=Path("mav0")).open("r", tmp_path)
    driver.close()
    assert driver.clock.states_utc is utc
    said = "so their UTC is unknown; a title like `timestamp [us]` says another unit than ns"
    assert [message.split("as UTC; ")[1] for message in caplog.messages] == ([] if utc else [said])


def test_the_years_that_can_be(caplog: pytest.LogCaptureFixture) -> None:
    year_ns = 31_556_952 * 10**9
    with caplog.at_level(logging.WARNING):
        assert [check_epoch("x", (year - 1970) * year_ns) for year in (1989, 1990, 2099, 2100)] == [0, 1, 1, 0]
    assert len(caplog.messages) == 2
