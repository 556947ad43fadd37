"""Several devices of one name in a store: what is asked of it goes by what each of them says, whoever was last."""

import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sensorium.agents.planning.report import reaches_known
from sensorium.corpus.device_report import FLEET, DeviceReport
from sensorium.corpus.missions import devices_of, read_mission
from sensorium.drivers.controls import Control
from sensorium.errors import ConfigError
from sensorium.ingest.store import Store

YARD = {"mission": {"name": "night"}, "labels": {"site": "yard"}}


def said(spool: str, **state: Any) -> DeviceReport:
    return DeviceReport(device="rig", spool_id=spool, heard_ns=time.time_ns(), state={"state": "collecting", **state})


def heard(store: Path, last: DeviceReport, *others: DeviceReport) -> None:
    also = tuple(each.spool_id for each in others)
    (store / FLEET).mkdir(exist_ok=True)
    last = msgspec.structs.replace(last, also=also, others=others)
    (store / FLEET / "rig.json").write_bytes(msgspec.json.encode(last))


def test_a_mission_by_labels_is_for_a_name_of_which_any_has_them(tmp_path: Path) -> None:
    Store.open(tmp_path).close()
    hall, yard, odd = said("a", labels={"site": "hall"}), said("b", labels={"site": "yard"}), said("c", labels=[1])
    for several in ((hall, yard, odd), (yard, hall), (odd, yard)):
        heard(tmp_path, *several)
        assert devices_of(tmp_path, read_mission(YARD, "night.yaml")) == ["rig"]
    heard(tmp_path, hall, odd)
    with pytest.raises(ConfigError, match="no device that has reported has site: yard"):
        devices_of(tmp_path, read_mission(YARD, "night.yaml"))


def test_a_report_of_plans_goes_by_the_same_controls_whoever_was_last(tmp_path: Path) -> None:
    Store.open(tmp_path).close()
    a, b = (
        said(spool, plans={"controls": {"base": [msgspec.to_builtins(Control(name=name, plan="viewpoint", high=1.0))]}})
        for spool, name in (("a", "x_m"), ("b", "y_m"))
    )
    for several in ((a, b), (b, a), (said("0"), b, a)):
        heard(tmp_path, *several)
        assert [[each.name for each in reach.controls] for reach in reaches_known(tmp_path)] == [["x_m"]]
