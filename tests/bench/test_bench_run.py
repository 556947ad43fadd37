"""Every benchmark runs and prints one object of the agreed shape; what it measures is not judged here."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench"
KEYS = {"name", "ours", "against", "ratio", "unit", "runs", "detail"}


def run(folder: Path, program: str, *arguments: str, timeout_s: float = 110) -> str:
    """What a program of bench/ prints; its scratch is in `folder`."""
    command = [sys.executable, str(BENCH / program), *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=timeout_s, check=False, env=environment(folder)
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "TMPDIR": str(folder), "COLUMNS": "120"}


def has_history() -> bool:
    """Whether this is a clone from which `small_episodes` can take the former form."""
    command = ["git", "-C", str(BENCH.parent), "cat-file", "-e", "2d19c51^{commit}"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize(
    "name",
    [
        "delivery",
        "export",
        pytest.param("record", marks=pytest.mark.slow),
        pytest.param("latency", marks=pytest.mark.slow),
        pytest.param("growth", marks=pytest.mark.slow),
        pytest.param("many_devices", marks=pytest.mark.slow),
        pytest.param("camera", marks=pytest.mark.slow),
        "cascade",
        pytest.param("choosing", marks=pytest.mark.slow),
        pytest.param("small_episodes", marks=pytest.mark.slow),
        pytest.param("selection", marks=pytest.mark.slow),
        pytest.param("slow_link", marks=pytest.mark.slow),
        pytest.param("fairness", marks=pytest.mark.slow),
        "lidar",
        "ready",
        pytest.param("world_driver", marks=pytest.mark.slow),
        pytest.param("world_store", marks=pytest.mark.slow),
        pytest.param("fleet", marks=pytest.mark.slow),
        pytest.param("planning", marks=pytest.mark.slow),
        pytest.param("thesis", marks=pytest.mark.slow),
        pytest.param("faults", marks=pytest.mark.slow),
        pytest.param("batches", marks=[pytest.mark.slow, pytest.mark.timeout(700)]),
    ],
)
def test_a_bench_prints_one_object_and_leaves_nothing_behind(tmp_path: Path, name: str) -> None:
    more: tuple[str, ...] = () if name == "latency" else ("--runs", "1")
    if name == "small_episodes" and not has_history():
        more += ("--against", str(BENCH.parent))
    # Where torch is installed it starts eight processes that import it or numpy.
    printed = run(tmp_path, f"{name}.py", "--json", "--quick", *more, timeout_s=600 if name == "batches" else 110)
    found = json.loads(printed)
    assert found.keys() == KEYS
    assert found["name"] == name
    assert found["unit"] in ("ms", "MB/s", "frames/s", "episodes/s", "batches/s", "cells", "CPU s/h", "recall", "share")
    assert found["runs"] >= 1
    for key in ("ours", "against", "ratio"):
        assert math.isfinite(found[key])
        assert found[key] > 0
    higher, lower = ("ours", "against") if found["unit"] not in ("ms", "CPU s/h") else ("against", "ours")
    assert found["ratio"] == pytest.approx(found[higher] / found[lower], rel=0.01)
    assert isinstance(found["detail"], dict)
    assert not list(tmp_path.glob("sensorium-bench-*"))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_planned_faults_are_found_and_none_is_cried_for_nothing(tmp_path: Path) -> None:
    """Four episodes of each kind and size and as many clean ones; the bench has twenty."""
    found = json.loads(run(tmp_path, "faults.py", "--json", "--runs", "4", timeout_s=1700))["detail"]
    assert found["episodes"] == 2 * 4 * 3 * len(found["recall"])
    assert found["least_recall"] >= 0.95, found["recall"]
    assert found["precision"] >= 0.9, found["wrong"]
    assert not [name for name in found["wrong"] if "clean" in name], found["wrong"]


def test_the_table_shows_a_row_a_bench_and_fails_if_one_does(tmp_path: Path) -> None:
    bench = tmp_path / "stub.py"
    found = {"name": "stub", "ours": 2, "against": 1, "ratio": 2, "unit": "ms", "runs": 3, "detail": {"why": "because"}}
    bench.write_text(f"import json; print(json.dumps({found!r}))", encoding="utf-8")
    printed = run(tmp_path, "table.py", "--details", str(bench))
    assert all(word in printed for word in ("stub", "ratio", "because"))
    for fails in ("raise SystemExit(3)", "'it prints nothing'"):
        bench.write_text(fails, encoding="utf-8")
        command = [sys.executable, str(BENCH / "table.py"), str(bench)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 1
        assert "failed" in done.stdout
