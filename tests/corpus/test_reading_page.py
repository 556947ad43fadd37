"""The examples of docs/reading.md run as they stand there."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from sensorium.episode.documents import Encoding
from sensorium.ingest.store import Store

PAGE = Path(__file__).resolve().parents[2] / "docs/reading.md"


def test_the_examples_run(make_episode: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 255, (60, 48, 64), dtype=np.uint8)
    rates = {"front": 30.0, "side": 30.0, "imu": 200.0}
    arrays: dict[str, npt.NDArray[Any]] = {"front": frames, "side": frames, "imu": rng.standard_normal((400, 6))}
    made = make_episode(
        arrays,
        specs={name: {"rate_hz": rate_hz} for name, rate_hz in rates.items()},
        encodings={"side": Encoding(codec="jpeg")},
        stamps={name: (np.arange(len(array)) * 1e9 / rates[name]).astype(np.int64) for name, array in arrays.items()},
        start_ns=0,
        length_ns=2_000_000_000,
    )
    with Store.open(tmp_path / "corpus", small_bytes=0) as store:
        assembly = store.begin(made.episode)
        assembly.append(made.data)
        store.commit(assembly, device="rig-1", identity="k")
    monkeypatch.chdir(tmp_path)
    examples = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(examples) >= 4
    names: dict[str, Any] = {}
    for example in examples:
        exec(compile(example, str(PAGE), "exec"), names)
