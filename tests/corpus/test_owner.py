"""What root makes in a store is its owner's: an ingest that runs as a user of its own writes its answers beside it."""

import os
from pathlib import Path

import pytest

from sensorium.corpus.directives import DIRECTIVES, issue
from sensorium.corpus.missions import MISSIONS, apply_mission, read_mission
from sensorium.ingest.store import Store
from sensorium.link.operators import new_operator, read_pair

SOMEBODY = 65534

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes what is somebody's")


def owners(store: Path) -> set[int]:
    made = [path for part in (DIRECTIVES, MISSIONS) for path in (store / part, *(store / part).rglob("*"))]
    assert len(made) > 4
    return {path.lstat().st_uid for path in made if path.name != ".bell"}


@pytest.mark.parametrize("owner", [0, SOMEBODY])
def test_what_an_operator_asks_as_root_is_the_owners(tmp_path: Path, owner: int) -> None:
    anna = read_pair(new_operator("anna", tmp_path / "keys")[1])
    store = tmp_path / "store"
    Store.open(store).close()
    os.chown(store, owner, owner)
    issue(store, ["rig-1", "rig-2"], "stop", {}, anna, life_s=60)
    mission = read_mission({"mission": {"name": "night"}, "devices": ["rig-1"]}, "night.yaml")
    apply_mission(store, mission, anna, life_s=60)
    assert owners(store) == {owner}
    assert store.parent.lstat().st_uid == 0, "nothing above it is given away"
