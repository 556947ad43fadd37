"""What a store tells of a campaign: the episodes that carry its name, here and, by their previews, on the device."""

import json
import uuid
from pathlib import Path
from typing import Any

import numpy as np
from typer.testing import CliRunner

import sensorium
from sensorium.cli.main import app
from sensorium.corpus.campaigns import found_by
from sensorium.corpus.directives import issue
from sensorium.episode.documents import PreviewOf
from sensorium.ingest.fleet_states import FleetStates
from sensorium.ingest.store import Store
from sensorium.link.operators import new_operator, read_pair
from sensorium.link.server.messenger import Reported
from tests.forms import arrived


def test_what_is_held_on_a_device_counts_by_its_preview(make_episode: Any, tmp_path: Path) -> None:
    """Of four previews one tells of what is here, one is of another campaign, one carries none."""
    path, anna = tmp_path / "store", read_pair(new_operator("anna", tmp_path)[1])
    here = make_episode({"imu": np.arange(20.0)}, ordinal=0, labels={"campaign": "dock"})
    told = [
        (here.episode, {"campaign": "dock"}),
        (uuid.UUID(int=1), {"campaign": "door, dock"}),
        (uuid.UUID(int=2), {"campaign": "dock"}),
        (uuid.UUID(int=3), {"campaign": "docks"}),
        (uuid.UUID(int=4), {}),
    ]
    with Store.open(path) as store:
        assert found_by(path, "dock") == {}, "no episode has such a label yet"
        for ordinal, (whole, labels) in enumerate(told, 1):
            preview_of = PreviewOf(episode=str(whole), ordinal=10 * ordinal, bytes=1_000_000 * ordinal)
            made = make_episode(
                {"imu": np.arange(4.0)}, ordinal=ordinal, kind="preview", preview_of=preview_of, labels=labels
            )
            store.commit(arrived(store, made), device="rig-1", identity="k")
            assert "episodes" not in found_by(path, "dock").get("rig-1", {})
        store.commit(arrived(store, here), device="rig-1", identity="k")
    (row,) = sensorium.open(path).records()
    assert found_by(path, "dock") == {
        "rig-1": {"episodes": 1, "bytes": row["bytes"], "held": 2, "held_bytes": 5_000_000}
    }
    assert found_by(path, "door") == {"rig-1": {"held": 1, "held_bytes": 2_000_000}}
    issue(path, ["rig-1"], "campaign", {"name": "dock", "rules": {"where": "imu.x > 1"}}, anna, life_s=600)
    shown = CliRunner().invoke(app, ["campaign", "show", str(path), "dock"])
    assert shown.exit_code == 0, shown.output
    assert "held" in shown.output
    assert "2, 5.0 MB" in shown.output
    (said,) = json.loads(CliRunner().invoke(app, ["campaign", "show", str(path), "dock", "--format", "json"]).stdout)
    assert (said["held"], said["held_bytes"], said["episodes"]) == (2, 5_000_000, 1)


def test_one_that_this_store_has_not_asked_for_is_the_device_s_own_or_another_store_s(
    make_episode: Any, tmp_path: Path
) -> None:
    path = tmp_path / "store"
    said = {"own": {"dock": "own"}, "brought": {"dock": "asked"}, "past": {"door": "own"}, "old": None, "odd": [1]}
    with Store.open(path) as store:
        for device, campaigns in said.items():
            made = make_episode({"imu": np.arange(20.0)}, device=device, labels={"campaign": "dock"})
            store.commit(arrived(store, made), device=device, identity="k")
            state = {"state": "collecting"} | ({} if campaigns is None else {"campaigns": campaigns})
            FleetStates(store).keep(Reported.of(device, "a", state))
    rows = json.loads(CliRunner().invoke(app, ["campaign", "show", str(path), "dock", "--format", "json"]).stdout)
    states = {"own": "own", "brought": "elsewhere", "past": "ended", "old": "unasked", "odd": "unasked"}
    assert {row["device"]: row["state"] for row in rows} == states
    assert {row["device"]: row["episodes"] for row in rows} == dict.fromkeys(states, 1)
    assert "another store has asked for it" in CliRunner().invoke(app, ["campaign", "show", str(path), "dock"]).output
