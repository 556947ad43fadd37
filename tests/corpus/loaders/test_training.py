"""docs/training.md runs as it stands there, and the example trains and goes on exactly where it stopped."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sensorium.ingest.store import Store

ROOT = Path(__file__).resolve().parents[3]
TRAINING_S = 600.0
"""Of a run, which is mostly the import of torch: on a busy machine many times what it takes alone."""
PAGE, EXAMPLE = ROOT / "docs/training.md", ROOT / "examples/training/train.py"


@pytest.fixture(scope="module")
def trained_path(make_episode: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six episodes of 2 s of two missions: a camera `front` at 10 Hz, an IMU `imu` at 100 Hz."""
    path = tmp_path_factory.mktemp("trained")
    rng = np.random.default_rng(0)
    rates = {"front": 10.0, "imu": 100.0}
    with Store.open(path / "corpus", small_bytes=0) as store:
        for number in range(6):
            arrays: dict[str, Any] = {
                "front": rng.integers(0, 255, (20, 48, 64, 3), dtype=np.uint8),
                "imu": rng.standard_normal((200, 6)),
            }
            made = make_episode(
                arrays,
                specs={name: {"rate_hz": rate_hz} for name, rate_hz in rates.items()},
                stamps={
                    name: (np.arange(len(array)) * 1e9 / rates[name]).astype(int) for name, array in arrays.items()
                },
                start_ns=0,
                length_ns=2_000_000_000,
                ordinal=number,
                mission="hall" if number % 2 else "kitchen",
            )
            assembly = store.begin(made.episode)
            assembly.append(made.data)
            store.commit(assembly, device="rig-1", identity="k")
    return path


def test_the_pages_examples_run(trained_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(trained_path)
    examples = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    plain = [example for example in examples if ".torch" not in example and ".ray" not in example]
    assert len(plain) >= 4
    names: dict[str, Any] = {}
    for example in plain:
        exec(compile(example, str(PAGE), "exec"), names)


@pytest.mark.timeout(900)
def test_the_pages_examples_of_torch_run(trained_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch", reason="torch is not installed: make torch")
    monkeypatch.chdir(trained_path)
    examples = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    for_torch = [example for example in examples if ".ray" not in example]
    assert len(for_torch) >= 6
    names: dict[str, Any] = {"__name__": "page"}
    for example in for_torch:
        exec(compile(example.replace("workers=2", "workers=0"), str(PAGE), "exec"), names)


def train(folder: Path, checkpoint: str, steps: int, *more: str) -> list[str]:
    command = [sys.executable, str(EXAMPLE), "corpus", "--steps", str(steps), "--checkpoint", checkpoint, *more]
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=TRAINING_S, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.splitlines()


@pytest.mark.slow
@pytest.mark.timeout(4 * TRAINING_S)
def test_the_example_goes_on_exactly_where_it_stopped(trained_path: Path) -> None:
    """Loss by loss to the last digit, over the end of an epoch, with other workers."""
    pytest.importorskip("torch", reason="torch is not installed: make torch")
    whole = train(trained_path, "whole.pt", 9)
    assert [line.split()[1] for line in whole] == [str(number) for number in range(1, 10)]
    assert {line.split()[3] for line in whole} == {"0", "1"}, "two epochs"
    first = train(trained_path, "parts.pt", 4)
    assert first + train(trained_path, "parts.pt", 5, "--workers", "2") == whole
