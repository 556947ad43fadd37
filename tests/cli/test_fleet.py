"""`sensorium fleet`: what devices said last, kept bounded; what is silent and what is wrong comes first."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from sensorium.cli.main import app
from sensorium.corpus import device_report
from sensorium.corpus.device_report import DeviceReport
from sensorium.corpus.fleet import history, namesakes, reports, wrong
from sensorium.ingest import fleet_states
from sensorium.ingest.fleet_states import FleetStates
from sensorium.ingest.store import Store
from sensorium.link.server.messenger import Reported

SECOND = 1_000_000_000


def keep(store: Path, *said: tuple[str, dict[str, Any]]) -> None:
    with Store.open(store) as opened:
        states = FleetStates(opened)
        for name, state in said:
            states.keep(Reported.of(name, "ab", state))


def test_the_last_is_kept_and_of_the_history_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet_states, "MOST_HISTORY_BYTES", 2000)
    said = [("rig-1", {"state": f"{n}"}) for n in range(100)]
    keep(tmp_path, *said, ("rig-2", {"state": "x" * 100_000}))
    assert [(each.device, each.state) for each in reports(tmp_path)] == [("rig-1", {"state": "99"})]
    kept = [each.state["state"] for each in history(tmp_path, "rig-1")]
    assert kept == [f"{n}" for n in range(100 - len(kept), 100)]
    assert 5 < len(kept) < 40
    assert sum(path.stat().st_size for path in (tmp_path / "fleet").glob("*.jsonl*")) <= 2000


def test_devices_whose_names_are_alike_keep_their_own_history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet_states, "MOST_HISTORY_BYTES", 2000)
    names = ("rig", "rig.before", "rig.jsonl", "rig.json", "Rig")
    keep(tmp_path, *[(name, {"state": f"{name} {n}"}) for n in range(20) for name in names])
    for name in names:
        told = history(tmp_path, name)
        assert {each.device for each in told} == {name}
        assert told[-1].state == {"state": f"{name} 19"}
    assert [each.device for each in reports(tmp_path)] == sorted(names)


def test_the_same_state_goes_into_the_history_once_a_minute(tmp_path: Path) -> None:
    keep(tmp_path, *[("rig-1", {"state": "collecting"})] * 5)
    assert len(history(tmp_path, "rig-1")) == 1


def test_two_devices_of_one_name_are_said_and_a_spool_that_was_replaced_is_none(tmp_path: Path) -> None:
    now_s = 1000.0

    def found(states: FleetStates, spool: str, state: str = "collecting") -> list[str]:
        nonlocal now_s
        now_s += 5
        states.keep(Reported.of("rig-1", spool, {"state": state}))
        (report,) = reports(tmp_path)
        assert wrong(report, time.time_ns()) == [
            f"another device has this name, with the spool {each}" for each in report.also
        ]
        return list(report.also)

    with Store.open(tmp_path) as opened:
        states = FleetStates(opened, lambda: now_s)
        assert [found(states, spool) for spool in ("a", "a", "b", "b")] == [[], [], [], []]
        assert [found(states, spool) for spool in ("a", "b", "a")] == [["b"], ["a"], ["b"]]
        assert found(states, "b", "left") == ["a"]
        assert [found(states, "a") for _ in range(2)] == [[], []]
        now_s += 100
        assert [found(states, spool) for spool in ("b", "b")] == [[], []]
    row = json.loads(CliRunner().invoke(app, ["fleet", str(tmp_path), "--json"]).output)[0]
    assert (row["spool_id"], row["also"]) == ("b", [])


def test_of_devices_of_one_name_each_has_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while another joins, and of one that is silent since when, for a day; none holds what others hold, and no
    more than a bound."""
    now_s = 1000.0

    def rows() -> dict[str, Any]:
        found = json.loads(CliRunner().invoke(app, ["fleet", str(tmp_path), "--json"]).output)
        assert {each["device"] for each in found} == {"rig-1"}
        return {each["spool_id"]: each["report"].get("n") for each in found}

    def keep(spool: str, n: int, state: str = "collecting", after_s: float = 1.0) -> None:
        nonlocal now_s
        now_s += after_s
        states.keep(Reported.of("rig-1", spool, {"state": state, "n": n}))

    with Store.open(tmp_path) as opened:
        states = FleetStates(opened, lambda: now_s)
        for n, spool in enumerate("abab"):
            keep(spool, n)
        assert rows() == {"a": 2, "b": 3}
        shown = CliRunner().invoke(app, ["fleet", str(tmp_path)]).output
        assert "rig-1 (a)" in shown
        assert "rig-1 (b)" in shown
        for n, spool in enumerate("cabc"):
            keep(spool, 10 + n)
        assert rows() == {"a": 11, "b": 12, "c": 13}
        assert all(not each.others for report in reports(tmp_path) for each in report.others)
        assert all(not each.others for each in history(tmp_path, "rig-1"))
        keep("c", 19, "left")
        keep("a", 20, after_s=30)
        keep("a", 21, after_s=30)
        assert rows() == {"a": 21, "b": 12}, "one has left, the other is silent"
        states = FleetStates(opened, lambda: now_s)
        keep("a", 22)
        assert rows() == {"a": 22, "b": 12}, "an ingest that was started again knows it"
        (report,) = reports(tmp_path)
        assert (report.also, [each.spool_id for each in report.others]) == ((), ["b"])
        (other,) = report.others
        assert wrong(other, other.heard_ns + 36 * SECOND)[0].startswith("silent since ")
        assert "rig-1 (a)" in CliRunner().invoke(app, ["fleet", str(tmp_path)]).output
        assert (found := namesakes(tmp_path, ["rig-1"]))
        assert "(spools a, b)" in found[0]
        monkeypatch.setattr(fleet_states, "SILENT_SHOWN_S", 0.0)
        keep("a", 23)
        assert rows() == {"a": 23}
        monkeypatch.setattr(fleet_states, "MOST_OTHERS", 2)
        for n in range(20):
            keep("abcde"[n % 5], n)
        assert rows() == {"c": 17, "d": 18, "e": 19}
        keep("e", 20, "left")
    (report,) = reports(tmp_path)
    assert {each.spool_id for each in report.others} == {"c", "d"}


def test_what_is_wrong_comes_first(tmp_path: Path) -> None:
    keep(
        tmp_path,
        ("a-well", {"state": "collecting", "streams": {"cam": {"rate_hz": 20.0, "lost": {"overrun": 3}}}}),
        ("b-away", {"state": "collecting", "away": {"imu": "unplugged"}}),
        ("c-left", {"state": "left"}),
        ("d-silent", {"state": "collecting"}),
    )
    for name in ("c-left", "d-silent"):
        path = tmp_path / "fleet" / f"{name}.json"
        report = msgspec.json.decode(path.read_bytes(), type=DeviceReport)
        old = msgspec.structs.replace(report, heard_ns=time.time_ns() - 3600 * SECOND)
        path.write_bytes(msgspec.json.encode(old))
    rows = json.loads(CliRunner().invoke(app, ["fleet", str(tmp_path), "--json"]).output)
    assert [(row["device"], row["state"]) for row in rows] == [
        ("b-away", "collecting"),
        ("d-silent", "silent"),
        ("a-well", "collecting"),
        ("c-left", "left"),
    ]
    assert rows[0]["wrong"] == ["imu is away: unplugged"]
    assert rows[1]["wrong"][0].startswith("silent since 20")
    text = CliRunner().invoke(app, ["fleet", str(tmp_path)]).output
    assert "1.0 h" in text
    assert "overrun 3" in text


def test_a_clock_that_is_set_wrong_is_wrong() -> None:
    for offset_s, says in ((-3600.0, "behind"), (7e7, "ahead")):
        report = DeviceReport(device="a", heard_ns=1, state={"clock": {"offset_s": offset_s}})
        assert [says in each for each in wrong(report, 2)] == [True]
    assert not wrong(DeviceReport(device="a", heard_ns=1, state={"clock": {"offset_s": 1.0}}), 2)
    years = DeviceReport(device="a", heard_ns=1, state={"clock": {"offset_s": -2e8}})
    assert wrong(years, 2) == ["its clock is 200000000 s behind the ingest's; or the ingest's is ahead"]


def test_a_disk_that_is_nearly_full_and_an_error_are_wrong() -> None:
    report = DeviceReport(device="a", heard_ns=1, state={"error": "no room", "disk_free_bytes": 1, "disk_bytes": 100})
    assert wrong(report, 2) == ["no room", "1.0% of its disk is free"]
    assert not wrong(DeviceReport(device="a"), 10**18)
    assert device_report.SILENT_S > 30


@pytest.mark.parametrize("form", ["table", "json"])
def test_watched_through_a_pipe_it_prints_as_it_goes(tmp_path: Path, form: str) -> None:
    keep(tmp_path, ("rig-1", {"state": "collecting"}))
    command = [str(Path(sys.executable).with_name("sensorium")), "fleet", str(tmp_path), "--watch", "--format", form]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            seen = 0
            while seen < 2:  # while it runs
                line = process.stdout.readline()
                assert line, "it has ended"
                seen += "rig-1" in line
        finally:
            process.terminate()
