"""An import that meets a full disk ends, says where and what to do, and leaves nothing; with room it comes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import sensorium
from sensorium.cli.main import app
from sensorium.corpus.verify import verify
from sensorium.errors import StoreError
from sensorium.hosting import standing_still
from sensorium.hosting.importing import bring
from tests.spine.commands import Mount

OPTIONS: dict[str, Any] = {"time": {"column": "t", "unit": "s"}, "stream": {"channels": {"a": "a", "b": "b"}}}


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Of numbers that no codec makes smaller, 16 bytes a row."""
    rows = np.random.default_rng(3).random((300_000, 2))
    (tmp_path / "log.csv").write_text(
        "t,a,b\n" + "".join(f"{at / 1000},{a!r},{b!r}\n" for at, (a, b) in enumerate(rows.tolist()))
    )
    return tmp_path / "log.csv"


def test_a_disk_that_is_full_ends_it_and_nothing_is_left(
    recording: Path, mount: Mount, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(standing_still, "STILL_S", 1.0)
    disk = tmp_path / "disk"
    mount(disk, "7m")
    words = ["import", str(recording), str(disk / "store"), "--length-s", "20"]
    sets = ["--set", "time={column: t, unit: s}", "--set", "stream={channels: {a: a, b: b}}"]
    error = CliRunner().invoke(app, [*words, *sets]).exception
    assert isinstance(error, StoreError), error
    said = str(error)
    assert "bytes are free on the file system of" in said
    assert said.endswith("make room, then import again: nothing was brought")
    assert len(said.splitlines()) == 1
    assert list(disk.iterdir()) == []


def test_where_there_was_a_store_nothing_of_it_is_in_there_and_the_same_command_brings_it(
    recording: Path, mount: Mount, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(standing_still, "STILL_S", 1.0)
    (tmp_path / "small.csv").write_text("t,a,b\n0,1,2\n1,2,3\n")
    disk = tmp_path / "disk"
    mount(disk, "40m")
    store = disk / "store"
    bring(tmp_path / "small.csv", store, options=OPTIONS)
    with (disk / "film").open("wb") as film:
        film.write(bytes(33 << 20))
    with pytest.raises(StoreError, match=r"nothing was brought$"):
        bring(recording, store, options=OPTIONS, length_s=20.0)
    assert len(sensorium.open(store).query()) == 1
    assert sorted(each.name for each in disk.iterdir()) == ["film", "store"]
    (disk / "film").unlink()
    bring(recording, store, options=OPTIONS, length_s=20.0)
    found = sensorium.open(store).query(order_by="start_ns")
    assert sum(len(each.streams["rec"]) for each in found) == 300_002
    assert list(verify(store, deep=True)) == []
