"""The examples of docs/reading.md run as they stand there."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from sensorium.episode.documents import Encoding, Note
from sensorium.ingest.store import Store

PAGE = Path(__file__).resolve().parents[2] / "docs/reading.md"


def test_the_examples_run(make_episode: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 255, (60, 48, 64), dtype=np.uint8)
    rates = {"front": 30.0, "side": 30.0, "imu": 200.0}
    arrays: dict[str, npt.NDArray[Any]] = {"front": frames, "side": frames, "imu": rng.standard_normal((400, 6))}
    specs: dict[str, dict[str, Any]] = {name: {"rate_hz": rate_hz} for name, rate_hz in rates.items()}
    specs["imu"]["channels"] = ("gx", "gy", "gz", "ax", "ay", "az")
    with Store.open(tmp_path / "corpus", small_bytes=0) as store:
        for number in range(2):
            start_ns = number * 2_000_000_000
            made = make_episode(
                arrays,
                specs=specs,
                encodings={"side": Encoding(codec="jpeg")},
                stamps={
                    name: start_ns + (np.arange(len(array)) * 1e9 / rates[name]).astype(np.int64)
                    for name, array in arrays.items()
                },
                start_ns=start_ns,
                length_ns=2_000_000_000,
                ordinal=number,
                notes=[Note(kind="event", name="grasp", start_ns=1_500_000_000)] if not number else [],
            )
            assembly = store.begin(made.episode)
            assembly.append(made.data)
            store.commit(assembly, device="rig-1", identity="k", probes=[(0, 1_700_000_000 * 10**9, 2_000_000)])
    monkeypatch.chdir(tmp_path)
    examples = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(examples) >= 4
    names: dict[str, Any] = {}
    for example in examples:
        exec(compile(example, str(PAGE), "exec"), names)
