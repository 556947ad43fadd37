"""The catalog: what it has been told is on disk before anybody acts on it."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sensorium
from sensorium.corpus.verify import verify
from sensorium.errors import ConfigError
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


def commit(store: Store, made: Any) -> None:
    assembly = store.begin(made.episode)
    assembly.append(made.data)
    store.commit(assembly, device="rig-1", identity="key-1")


def test_a_store_of_before_there_was_a_column_opens_and_gets_it(make_episode: Any, tmp_path: Path) -> None:
    """Read as it is; written, the catalog has the column; rebuilt, what old commit records lack is empty."""
    first, second = (make_episode({"imu": np.arange(n)}, ordinal=int(n)) for n in (20.0, 21.0))
    with Store.open(tmp_path) as store:
        commit(store, first)
    with closing(sqlite3.connect(tmp_path / "catalog.sqlite")) as catalog:
        catalog.execute("ALTER TABLE episodes DROP COLUMN source")
        catalog.commit()
    (record,) = (tmp_path / "commits").glob("????-??/*.json")
    document = json.loads(record.read_bytes())
    del document["row"]["source"]
    record.write_text(json.dumps(document))

    assert len(sensorium.open(tmp_path).query("rows > 1")) == 1
    assert list(verify(tmp_path)) == []
    with pytest.raises(ConfigError, match="source"):
        sensorium.open(tmp_path).query("source = ''")
    with Store.open(tmp_path) as store:
        commit(store, second)
    assert len(sensorium.open(tmp_path).query("source = ''")) == 1
    assert list(verify(tmp_path)) == []
    rebuild_catalog(tmp_path)
    assert list(verify(tmp_path)) == []
    assert len(sensorium.open(tmp_path).query("device = 'rig-1'")) == 2
