"""The wheel: all that is needed is in it; installed into a venv of its own, the demo runs from another folder."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.spine.test_layout import ROOT

LEFT_OUT = shutil.ignore_patterns(".*", "build", "*.egg-info", "__pycache__")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_what_is_installed_from_the_wheel_runs_elsewhere(tmp_path: Path) -> None:
    """The venv has the wheel alone; what that depends on is lent by the one that runs this."""
    source, elsewhere, venv = tmp_path / "source", tmp_path / "elsewhere", tmp_path / "venv"
    shutil.copytree(ROOT, source, symlinks=True, ignore=LEFT_OUT)
    elsewhere.mkdir()
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    run([*pip, "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(tmp_path / "wheels"), str(source)])
    run([sys.executable, "-m", "venv", "--without-pip", str(venv)])
    (wheel,) = (tmp_path / "wheels").glob("sensorium-*.whl")
    shutil.rmtree(source)
    run([*pip, "--python", str(venv / "bin" / "python"), "install", "-q", "--no-deps", "--no-index", str(wheel)])
    (site,) = venv.glob("lib/python*/site-packages")
    (site / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    where = "import sensorium, sensorium.drivers.stream as s; print(sensorium.__file__, s.__file__)"
    said = run([str(venv / "bin" / "python"), "-c", where], elsewhere).split()
    assert all(Path(each).is_relative_to(venv) for each in said), said
    sensorium = str(venv / "bin" / "sensorium")
    run([sensorium, "demo", "--seconds", "3", "--store", "demo"], elsewhere)
    assert "episodes" in run([sensorium, "query", "demo"], elsewhere)
    assert run([sensorium, "verify", "demo"], elsewhere)


def run(command: list[str], folder: Path | None = None) -> str:
    """What a command prints; it must succeed."""
    told = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    made = subprocess.run(command, cwd=folder, env=told, capture_output=True, text=True, timeout=400, check=False)
    assert made.returncode == 0, f"{command}\n{made.stdout}\n{made.stderr}"
    return made.stdout
