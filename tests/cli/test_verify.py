"""`sensorium verify` of what a pack left that was cut off: one line, whose next step is one that does it."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from sensorium.cli.main import app
from sensorium.corpus.commits import folder_path, read_record, record_paths, zip_path
from sensorium.ingest.packing import pack
from sensorium.ingest.store import Store


@pytest.mark.parametrize("step", ["pack", "ingest"])
@pytest.mark.parametrize("extra", ["zip", "folder"])
def test_what_a_pack_left_that_was_cut_off(make_episode: Any, tmp_path: Path, extra: str, step: str) -> None:
    made, store = make_episode({"imu": np.arange(20.0)}), tmp_path / "store"
    with Store.open(store, small_bytes=0) as opened:
        assembly = opened.begin(made.episode)
        assembly.append(made.data)
        opened.commit(assembly, device="rig-1", identity="key-1")
    episode = read_record(next(record_paths(store))).episode
    folder, packed = folder_path(store, episode), zip_path(store, episode)
    if extra == "zip":
        packed.write_bytes(b"PK")
    else:
        shutil.copytree(folder, tmp_path / "folder")
        pack(store, 0.0, grace_s=0.0)
        shutil.copytree(tmp_path / "folder", folder)
    found = CliRunner().invoke(app, ["verify", str(store)])
    assert found.exit_code == 1
    assert found.stdout.startswith("1 finding\n")
    as_csv = CliRunner().invoke(app, ["verify", str(store), "--format", "csv"]).stdout
    assert "a pack was cut off" in as_csv
    assert "the next `sensorium pack`, or start of the ingest, removes it" in as_csv
    assert str(packed if extra == "zip" else folder) in as_csv
    if extra == "folder":
        whole = packed.read_bytes()
        packed.write_bytes(whole[:-1])
        damaged = CliRunner().invoke(app, ["verify", str(store), "--format", "csv"]).stdout
        assert "removes it" not in damaged, "neither does, of what may be the last copy"
        assert "keep it: the same chunks are in it" in damaged
        assert len(pack(store, 1e9).left) == 1
        assert folder.is_dir()
        packed.write_bytes(whole)
    if step == "pack":
        pack(store, 1e9)
    else:
        Store.open(store).close()
    assert CliRunner().invoke(app, ["verify", str(store), "--deep"]).stdout == "nothing is wrong\n"
