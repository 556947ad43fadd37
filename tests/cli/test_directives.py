"""`sensorium directives` and `keys new --operator`: wrong use is one line, and nothing is asked."""

import json
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from sensorium.cli.main import app
from sensorium.corpus.device_report import FLEET, DeviceReport
from sensorium.errors import SensoriumError
from sensorium.ingest.store import Store


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Store.open("store").close()
    assert CliRunner().invoke(app, ["keys", "new", "anna", "--operator", "--dir", "."]).exit_code == 0
    return tmp_path


def said(*words: str) -> str:
    """What it prints, or the error that it ends with."""
    result = CliRunner().invoke(app, ["directives", *words])
    if isinstance(result.exception, SensoriumError):
        return str(result.exception)
    assert result.exit_code == 0, result.output
    return result.output


KEY = ("--operator", "anna.operator_secret")


def test_a_campaign_of_another_store_is_stopped_by_the_device_s_name(place: Path) -> None:
    """The device has brought it; a slip in the name the device answers."""
    (place / "store" / FLEET).mkdir()
    report = msgspec.json.encode(DeviceReport(device="rig-1", state={"directive_version": 4}))
    (place / "store" / FLEET / "rig-1.json").write_bytes(report)
    none = CliRunner().invoke(app, ["campaign", "stop", "store", "dock", *KEY])
    assert "is stopped by the device's name" in str(none.exception)
    made = CliRunner().invoke(app, ["campaign", "stop", "store", "dock", *KEY, "rig-1"])
    assert (made.exit_code, "(version 5)" in made.output) == (0, True), made.output


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("settings", "store", "rig-1", *KEY), "nothing to do"),
        (("settings", "store", "rig-1", *KEY, "--set", "a"), "expected a.b=c"),
        (("settings", "store", "rig-1", *KEY, "--set", "a={"), "YAML"),
        (("settings", "store", "rig-1", *KEY, "--set", "uplink.hours="), "is blank"),
        (("stop", "store", "rig-*", *KEY), "knows no such device"),
        (("stop", "store", "../rig", *KEY, "--unknown"), "device '../rig'"),
        (
            ("stop", "store", "rig-1", *KEY),
            "rig-1: the store knows no such device (one that is still to come is asked with --unknown); it knows none",
        ),
        (("stop", "store", "rig-1", *KEY, "--expires", "soon"), "--expires soon"),
        (("stop", "store", "rig-1", *KEY, "--expires", "500d", "--unknown"), "400 days"),
        (("stop", "store", "rig-1", "--operator", "anna.operator"), "holds no secret"),
        (("stop", "nowhere", "rig-1", *KEY), "nowhere"),
        (("release", "store", "rig-1", *KEY), "which?"),
        (("release", "store", "rig-1", *KEY, "--where", "bytes >"), "does not parse at letter 7"),
        (("release", "store", "rig-1", *KEY, "--where", "byts > 5", "--unknown"), "did you mean 'bytes'"),
        (("list", "nowhere"), "nowhere"),
    ],
)
def test_wrong_use_is_said(place: Path, words: tuple[str, ...], says: str) -> None:
    assert says in said(*words)
    assert not (place / "store" / "directives").exists()


def test_what_was_asked_is_listed(place: Path) -> None:
    assert "nothing was asked" in said("list", "store")
    sets = ("--set", "trigger={kind: manual}", "--set", "mission.name=hall")
    said("settings", "store", "rig-1", "rig-2", *KEY, *sets, "--unknown")
    said("release", "store", "rig-1", *KEY, "--where", "bytes > 5")
    rows = json.loads(said("list", "store", "--format", "json"))
    assert [(row["device"], row["version"], row["kind"], row["state"]) for row in rows] == [
        ("rig-1", 1, "settings", "waits"),
        ("rig-1", 2, "release", "waits"),
        ("rig-2", 1, "settings", "waits"),
    ]
    assert rows[0]["body"]["set"] == {"trigger": {"kind": "manual"}, "mission.name": "hall"}
    assert len(json.loads(said("list", "store", "--device", "*-2", "--format", "json"))) == 1


def test_a_pattern_stands_for_devices_that_were_asked_before(place: Path) -> None:
    said("stop", "store", "rig-1", "lab-1", *KEY, "--unknown")
    assert said("stop", "store", "rig-*", *KEY).count("version 2") == 1


def test_of_a_misspelt_name_the_nearest_is_said_and_nothing_is_asked(place: Path) -> None:
    said("stop", "store", "rover-north", "rover-south", *KEY, "--unknown")
    before = json.loads(said("list", "store", "--json"))
    assert "is asked with --unknown), did you mean 'rover-north'?" in said(
        "stop", "store", "rover-south", "rover-nroth", *KEY
    )
    several = said("stop", "store", "rover-suoth", "rover-south", "rover-nroth", "x-*", "rover-nroth", *KEY)
    assert [line.split(":")[0] for line in several.splitlines()] == ["rover-suoth", "rover-nroth", "x-*"]
    assert "did you mean 'rover-south'?" in several
    assert "did you mean 'rover-north'?" in several
    assert "; it knows rover-north, rover-south" in said("stop", "store", "zz", *KEY)
    assert json.loads(said("list", "store", "--json")) == before
    assert "rover-nroth: stop" in said("stop", "store", "rover-nroth", *KEY, "--unknown")


@pytest.mark.parametrize("also", [(), ("b",), ("b", "c")])
def test_where_devices_share_a_name_whoever_asks_is_told_so(place: Path, also: tuple[str, ...]) -> None:
    (place / "store" / FLEET).mkdir()
    report = DeviceReport(device="rig-1", spool_id="a", heard_ns=1, also=also)
    (place / "store" / FLEET / "rig-1.json").write_bytes(msgspec.json.encode(report))
    (place / "dock.yaml").write_text("name: dock\nwhere: 'front.sharpness > 40'\nbudget: {share: 0.02}\n")
    (place / "hall.yaml").write_text("mission: {name: hall}\ndevices: [rig-1]\n")
    for words in (
        ("directives", "stop", "store", "rig-1", *KEY),
        ("campaign", "apply", "store", "dock.yaml", "rig-*", *KEY),
        ("campaign", "stop", "store", "dock", *KEY),
        ("mission", "apply", "store", "hall.yaml", *KEY),
    ):
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 0, result.output
        told = f"rig-1: more than one device has this name (spools {', '.join(['a', *also])})"
        assert (told in result.stderr) == bool(also)
        assert "more than one" not in result.stdout


def test_what_was_asked_of_a_device_that_nobody_knows_is_not_nothing(place: Path) -> None:
    said("stop", "store", "rover-north", *KEY, "--unknown")
    misspelt = said("list", "store", "--device", "rover-nroth")
    assert misspelt == "rover-nroth: the store knows no such device, did you mean 'rover-north'?"
    assert "zz-*: the store knows no such device (rover-north)" in said("list", "store", "--device", "zz-*")
    for words in (("--device", "rover-nroth"), ("--device", "zz-*", "--json")):
        result = CliRunner().invoke(app, ["ledger", "store", *words])
        assert "the store knows no such device" in str(result.exception)
    result = CliRunner().invoke(app, ["ledger", "store", "--device", "rover-*", "--json"])
    assert (result.exit_code, json.loads(result.output)) == (0, [])
