"""What a device says of its state: in time, when it changed, and no more than fits."""

from pathlib import Path
from typing import Any

import msgspec

from sensorium.agents.agent import Agent
from sensorium.agents.device_file import check_device
from sensorium.agents.reporting import EVERY_NS, LOOK_NS, MOST_SCORES, Reporting, battery_percent, temperature_c
from sensorium.episode.documents import Account
from sensorium.link.server.messenger import MAX_REPORT_BYTES

SECOND = 1_000_000_000


def status(**changes: Any) -> dict[str, Any]:
    streams = {"cam": Account(captured=10, stored=8, filtered={"rate": 1}, lost={"overrun": 1})}
    return {"state": "collecting", "error": "", "streams": streams, "away": {}, "absent": {}, **changes}


def test_it_reports_every_ten_seconds_and_when_it_changed(tmp_path: Path) -> None:
    now = status()
    reporting = Reporting(lambda: now, tmp_path, lambda: "hall")
    first = reporting.due(SECOND)
    assert first is not None
    assert (first["state"], first["mission"], first["streams"]["cam"]["lost"]) == ("collecting", "hall", {"overrun": 1})
    assert first["disk_free_bytes"] > 0
    assert [reporting.due(SECOND + n * LOOK_NS) for n in range(1, 10)] == [None] * 9
    now["streams"] = {"cam": Account(captured=110, stored=110)}
    second = reporting.due(SECOND + EVERY_NS)
    assert second is not None
    assert second["streams"]["cam"]["rate_hz"] == 10.0
    now["away"] = {"imu": "unplugged"}
    third = reporting.due(SECOND + EVERY_NS + LOOK_NS)
    assert third is not None
    assert third["away"] == {"imu": "unplugged"}
    reporting.begin()
    assert reporting.due(SECOND + EVERY_NS + LOOK_NS + 1) is not None
    assert reporting.last()["state"] == "left"


def test_it_says_what_waits_how_old_and_how_wrong_its_clock_is(tmp_path: Path) -> None:
    more = {"clock": {"offset_s": 0.1, "uncertainty_s": 0.01}, "directives": {"waits": 1}, "oldest_s": 3.0}
    more |= {"campaigns": {"dock": "asked"}}
    said = Reporting(lambda: status(**more), tmp_path, lambda: "m").due(SECOND)
    assert said is not None
    assert {key: said[key] for key in more} == more


def test_it_says_what_filters_said_last_of_what_is_left(tmp_path: Path) -> None:
    scores = {"cam.sharpness": 41.23456, **{f"cam.{n}": 1.0 for n in range(100)}}
    said = Reporting(lambda: status(scores=scores), tmp_path, lambda: "m").due(SECOND)
    assert said is not None
    assert said["scores"]["cam.sharpness"] == 41.23
    assert len(said["scores"]) == MOST_SCORES


def test_it_fits_whatever_there_is_to_say(tmp_path: Path) -> None:
    many = {f"{'s' * 90}{n}": Account(captured=2**50, lost={"overrun": 2**50}) for n in range(300)}
    away = {f"{'a' * 90}{n}": "w" * 5000 for n in range(300)}
    said = Reporting(lambda: status(streams=many, away=away, absent=away), tmp_path, lambda: "m").due(SECOND)
    assert len(msgspec.msgpack.encode(said)) < MAX_REPORT_BYTES


def test_what_the_system_knows_of_heat_and_batteries(tmp_path: Path) -> None:
    assert temperature_c(tmp_path) is None
    assert battery_percent(tmp_path) is None
    for name, text in (("thermal_zone0/temp", "41000\n"), ("thermal_zone1/temp", "x"), ("BAT0/capacity", "87\n")):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(text)
    assert (temperature_c(tmp_path), battery_percent(tmp_path)) == (41.0, 87.0)


def test_another_mission_is_said_at_once(tmp_path: Path) -> None:
    missions = ["hall", "hall", "yard"]
    reporting = Reporting(status, tmp_path, lambda: missions[0])
    assert reporting.due(SECOND) is not None
    missions.pop(0)
    assert reporting.due(SECOND + LOOK_NS) is None
    missions.pop(0)
    said = reporting.due(SECOND + 2 * LOOK_NS)
    assert said is not None
    assert said["mission"] == "yard"


def test_an_agent_knows_what_its_filters_said_last(tmp_path: Path) -> None:
    document = {
        "device": "rig",
        "spool": {"path": "spool"},
        "sensors": {"sim": {"kind": "sim-planar", "pace": "fast", "duration_s": 1, "size": [64, 48], "camera_hz": 5}},
        "filters": {"sim.cam": [{"kind": "sharpness"}]},
        "trigger": {"kind": "interval", "length_s": 1},
    }
    agent = Agent(check_device(document, tmp_path))
    agent.run()
    status = agent.status()
    assert status["scores"]["sim.cam.sharpness"] > 0
    said = Reporting(lambda: status, tmp_path, lambda: "m").due(SECOND)
    assert said is not None
    assert said["scores"].keys() == status["scores"].keys()
