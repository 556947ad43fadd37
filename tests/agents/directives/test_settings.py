"""Settings from afar: put over a device file, checked by its models, by who may, and by the charter."""

from pathlib import Path
from typing import Any

import pytest

from sensorium.agents.bound import SettingBound
from sensorium.agents.charter import PARTS, Charter, ObeyPart, read_charter
from sensorium.agents.device_file import DeviceFile, check_device
from sensorium.agents.directives.settings import Refused, changed, check_settings, said_of, with_settings
from sensorium.errors import ConfigError

WORTH: dict[str, Any] = {"kind": "worth", "budget": {"share": 0.1}}
DOCK: dict[str, Any] = {**WORTH, "campaigns": [{"name": "dock", "where": "sim.cam.blur > 1", "budget": {"share": 0.1}}]}
REDACT: dict[str, Any] = {"kind": "redact", "detector": {"kind": "centerface"}}


def device(**parts: Any) -> DeviceFile:
    document: dict[str, Any] = {
        "device": "rig-1",
        "sensors": {"sim": {"kind": "sim-planar"}},
        "trigger": {"kind": "interval", "length_s": 10},
        "uplink": {"bytes_per_s": "100kB"},
        **parts,
    }
    return check_device(document, Path("/base"))


def refusal(given: DeviceFile, said: dict[str, Any], may: list[str], charter: dict[str, Any] | None = None) -> str:
    """Why settings are refused; empty if they are not."""
    after = with_settings(given, [{"set": said}])
    part = ObeyPart(operator=Path("anna.operator"), may=tuple(may))
    try:
        check_settings(given, given, after, said, part, Charter.model_validate(charter or {}))
    except Refused as error:
        return str(error)
    return ""


def test_the_later_of_one_place_is_in_force_and_others_stay() -> None:
    given = device()
    bodies: list[dict[str, Any]] = [
        {"set": {"trigger.length_s": 5, "mission.name": "a"}},
        {"set": {"trigger.length_s": 2}},
    ]
    after = with_settings(given, bodies)
    assert changed(given, after) == ["trigger.length_s", "mission.name"]
    assert after.model_dump(serialize_as_any=True)["trigger"]["length_s"] == 2
    assert after.base == given.base
    assert changed(given, with_settings(given, [*bodies, {"set": {}, "reset": True}])) == []
    assert changed(given, with_settings(given, [*bodies, {"set": {"mission.name": "b"}, "reset": True}])) == [
        "mission.name"
    ]


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ({"trigger.length_s": "long"}, "trigger.length_s"),
        ({"trigger.lenght_s": 5}, "did you mean 'length_s'"),
        ({"trigger": {"kind": "no-such"}}, "no-such"),
        ({"uplink.bytes_per_s": 1}, "greater than or equal to 256"),
        ({"device.name": "x"}, "is no mapping"),
    ],
)
def test_what_does_not_validate_is_said(said: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        with_settings(device(), [{"set": said}])


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"set": []},
        {"set": {"a..b": 1}},
        {"set": {"a": 1}, "more": 1},
        {"reset": 1},
        {"back": "a"},
        {"set": {"a": 1}, "back": [1]},
        {"back": []},
    ],
)
def test_what_is_no_settings_is_said(body: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="settings"):
        said_of(body)


@pytest.mark.parametrize(
    ("said", "may", "charter", "why"),
    [
        ({"trigger.length_s": 5}, ["settings"], {}, ""),
        ({"trigger.length_s": 5}, ["trigger"], {}, ""),
        ({"trigger": {"kind": "manual"}}, ["trigger"], {}, ""),
        ({"uplink.bytes_per_s": 5000}, ["rate"], {}, ""),
        ({"trigger.length_s": 5}, ["rate", "filters.sim.cam"], {}, "may change rate, filters.sim.cam, not trigger"),
        ({"filters": {"sim.imu": [{"kind": "rate", "max_hz": 5}]}}, ["filters.sim.cam"], {}, "obey"),
        ({"trigger.length_s": 5}, ["stop"], {}, "may ask for stop, not for settings"),
        ({"device": "rig-2"}, ["settings"], {}, "device is the device's own"),
        ({"sensors.sim.seed": 5}, ["settings"], {}, "sensors.sim.seed is the device's own"),
        ({"spool.path": "/etc"}, ["settings"], {}, "spool.path is the device's own"),
        ({"spool": {"path": "/etc"}}, ["settings"], {}, "spool.path is the device's own"),
        ({"charter": "mine.yaml"}, ["settings"], {}, "charter is the device's own"),
        ({"obey": {"operator": "eve", "may": ["stop"]}}, ["settings"], {}, "obey.operator is the device's own"),
        ({"x-a": 1}, ["settings"], {}, "x-a is the device's own"),
        ({"trigger.length_s": 5}, ["settings"], {"never": ["trigger"]}, "charter: never: trigger"),
        ({"trigger": {"kind": "manual"}}, ["settings"], {"never": ["trigger.length_s"]}, "never: trigger.length_s"),
        ({"trigger.length_s": 5}, ["settings"], {"never": ["*"]}, "charter: never: *"),
        ({"trigger.length_s": 5}, ["settings"], {"never": ["trigger.*"]}, "charter: never: trigger.*"),
        ({"trigger.length_s": 5}, ["settings"], {"never": ["*.length_s"]}, "charter: never: *.length_s"),
        ({"trigger": {"kind": "manual"}}, ["settings"], {"never": ["t*.length_s"]}, "charter: never: t*.length_s"),
        ({"filters": {"sim.cam": []}}, ["settings"], {"never": ["filters.*.cam"]}, "never: filters.*.cam"),
        ({"mission.name": "b"}, ["settings"], {"never": ["trigger.*", "*.domain", "rate"]}, ""),
        ({"uplink.bytes_per_s": 5000}, ["settings"], {"never": ["rate"]}, "charter: never: rate"),
        ({"uplink.bytes_per_s": "2MB"}, ["settings"], {"bounds": {"uplink.*": {"at_most": 1e6}}}, "at most 1e+06"),
        ({"uplink": {}}, ["settings"], {"bounds": {"uplink.bytes_per_s": {"at_most": 1e6}}}, "at most 1e+06, got None"),
        ({"uplink.bytes_per_s": 9000}, ["settings"], {"bounds": {"uplink.bytes_per_s": {"at_most": 1e6}}}, ""),
        (
            {"trigger": {"kind": "manual"}},
            ["settings"],
            {"bounds": {"trigger.length_s": {"at_least": 2}}},
            "is left out",
        ),
        ({"trigger": DOCK}, ["trigger"], {"refuse": ["campaign"]}, "charter: refuse: campaign"),
        ({"trigger": DOCK}, ["trigger"], {}, ""),
        ({"trigger": WORTH}, ["trigger"], {"refuse": ["campaign"]}, ""),
        ({"mission.name": "b"}, ["settings"], {"bounds": {"mission.name": {"one_of": ["a"]}}}, "one of a, got 'b'"),
    ],
)
def test_who_may_and_the_charter_are_kept_to(
    said: dict[str, Any], may: list[str], charter: dict[str, Any], why: str
) -> None:
    given = device(**({"x-a": 1} if "x-a" in said else {}))
    found = refusal(given, said, may, charter)
    assert why in found if why else not found


@pytest.mark.parametrize("cam", [[], [{"kind": "rate", "max_hz": 5}]])
def test_what_is_taken_out_of_pictures_stays_taken_out(cam: list[dict[str, Any]]) -> None:
    given = device(filters={"sim.cam": [REDACT]})
    said = {"filters": {"sim.cam": cam}}
    assert "keep_redaction: filters.sim.cam" in refusal(given, said, ["settings"])
    assert not refusal(given, said, ["settings"], {"keep_redaction": False})
    assert not refusal(given, {"filters": {"sim.cam": [REDACT, {"kind": "rate", "max_hz": 5}]}}, ["settings"])


def test_rules_are_of_all_parts_of_a_device_file() -> None:
    assert set(PARTS) == set(DeviceFile.model_fields) - {"base"}
    assert Charter(never=("sensors.front", "obey", "?rigger"), bounds={"*": SettingBound(at_most=1)})


def test_a_charter_is_a_file_whose_mistakes_are_named(tmp_path: Path) -> None:
    path = tmp_path / "charter.yaml"
    path.write_text("refuse: [stop]\nbounds:\n  trigger.length_s: {at_most: 5}\n")
    assert read_charter(path).refuses_kind("stop") == "charter: refuse: stop"
    for text, says in (
        ("refuse: [halt]", "expected kinds"),
        ("bounds: {a: {}}", "at_least"),
        ("nevr: []", "nevr"),
        ("- a", "charter"),
        ("never: [triger.length_s]", "no 'triger', did you mean 'trigger'?"),
        ("bounds: {x: {at_most: 1}}", "no 'x'"),
    ):
        path.write_text(text)
        with pytest.raises(ConfigError, match=says):
            read_charter(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_charter(tmp_path / "other.yaml")
    with pytest.raises(ConfigError, match="obey"):
        device(obey={"operator": "a", "may": ["everything"]})
