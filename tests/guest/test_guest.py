"""Drivers against a real kernel's devices: each scene of `inside/` is tests that run in a guest of their own."""

import sys
from pathlib import Path

import pytest

from tests.guest.rig import Rig, missing

ROOT = Path(__file__).parents[2]
SCENES = sorted(path.name for path in (Path(__file__).parent / "inside").glob("*_scene.py"))
WITHIN_S = 900.0

pytestmark = [pytest.mark.guest, pytest.mark.timeout(2 * WITHIN_S)]


@pytest.fixture(scope="module")
def rig() -> Rig:
    if why := missing():
        pytest.skip(why)
    return Rig()


@pytest.mark.parametrize("scene", SCENES)
def test_scene(rig: Rig, scene: str, tmp_path: Path) -> None:
    tests = [str(Path("tests/guest/inside") / scene), "-p", "no:cacheprovider", "--override-ini", "python_files=*.py"]
    ran = rig.run([sys.executable, "-m", "pytest", "-v", "-x", "--timeout", "400", *tests], ROOT, tmp_path, WITHIN_S)
    print(ran.said)
    assert ran.status == 0, "see what the guest said"
