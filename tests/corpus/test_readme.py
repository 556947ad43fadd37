"""The Python examples of README run as they stand there."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sensorium.episode.documents import Note
from sensorium.ingest.store import Store

README = Path(__file__).resolve().parents[2] / "README.md"
NOON_NS = round(datetime(2026, 11, 25, 12, tzinfo=UTC).timestamp()) * 10**9


def test_the_examples_run(make_episode: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rates = {"front": 10.0, "imu": 50.0}
    arrays: dict[str, Any] = {"front": np.zeros((60, 12, 16, 3), np.uint8), "imu": np.zeros((300, 6))}
    stamps = {name: (np.arange(len(each)) * 1e9 / rates[name]).astype(np.int64) for name, each in arrays.items()}
    made = make_episode(
        arrays,
        specs={name: {"rate_hz": rate_hz} for name, rate_hz in rates.items()},
        stamps=stamps,
        start_ns=0,
        length_ns=6 * 10**9,
        mission="kitchen",
        notes=[Note(kind="event", name="grasp", start_ns=3 * 10**9)],
    )
    with Store.open(tmp_path / "corpus") as store:
        assembly = store.begin(made.episode)
        assembly.append(made.data)
        store.commit(assembly, device="rig-1", identity="k", probes=[(0, NOON_NS - 10**9, 2_000_000)])
    monkeypatch.chdir(tmp_path)
    examples = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, Any] = {}
    for example in examples:
        exec(compile(example, str(README), "exec"), names)
    assert len(names["batch"]) == 3, "windows of 2 s in 6 s"
    found = names["store"]
    assert len(list(found.windows(around="grasp", before_s=1.0, after_s=2.0, streams=["front"], across=True))) == 1
    assert [window.device for window in found.at_utc("2026-11-25T12:00:00Z", 2.0)] == ["rig-1"]
