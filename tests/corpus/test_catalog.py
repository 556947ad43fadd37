"""The catalog: what it has been told is on disk before anybody acts on it."""

from pathlib import Path
from typing import Any

import numpy as np

from sensorium.ingest.mending import rebuild_catalog
from sensorium.ingest.store import Store
from tests.effects import FULL, commit_levels


def test_every_change_of_the_catalog_is_on_disk_when_it_returns(make_episode: Any, tmp_path: Path) -> None:
    made = make_episode({"imu": np.arange(20.0)})
    with commit_levels() as levels:
        with Store.open(tmp_path) as store:
            begun = len(levels)
            assembly = store.begin(made.episode)
            assembly.append(made.data)
            store.commit(assembly, device="rig-1", identity="key-1")
            store.discarded("rig-1", "spool-a", [1, 2], "evicted")
            store.saw_spool("rig-1", "spool-a", 0, 6)
            used = len(levels)
        rebuild_catalog(tmp_path)
    assert begun >= 1
    assert used - begun == 3, "a commit, a discard and a range are a transaction each"
    assert len(levels) > used, "rebuilding is durable too"
    assert set(levels) == {FULL}
