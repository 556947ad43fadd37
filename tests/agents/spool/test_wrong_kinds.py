"""Whatever stands in the place of a file or a folder of a spool, its start ends in time, says which, and loses nothing
that is put back."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from sensorium.agents.spool.inspect import inspect_spool
from sensorium.agents.spool.spool import Spool
from sensorium.errors import SensoriumError
from tests.spine.commands import Site, sim

pytestmark = pytest.mark.timeout(120)


def a_folder(path: Path) -> None:
    path.mkdir()


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_socket(path: Path) -> None:
    os.mknod(path, 0o140644)


def a_device(path: Path) -> None:
    path.symlink_to("/dev/null")


def nowhere(path: Path) -> None:
    path.symlink_to("not/mounted")


def itself(path: Path) -> None:
    path.symlink_to(path.name)


KINDS: tuple[Callable[[Path], None], ...] = (a_folder, a_pipe, a_socket, a_device, nowhere, itself)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A spool of three episodes."""
    site = Site(tmp_path_factory.mktemp("recorded"))
    site.run("collect", site.device("rig-1", {"sim": sim(duration_s=3.0)}), "--local")
    site.end()
    return site.folder / "spool-rig-1"


@pytest.mark.parametrize("kind", KINDS)
def test_a_spool_starts_or_says_what_stands_in_the_way(
    recorded: Path, tmp_path: Path, kind: Callable[[Path], None]
) -> None:
    names = sorted(str(path.relative_to(recorded)) for path in recorded.rglob("*") if path.parent.name != "episodes")
    for number, name in enumerate((*names, "trial", "ledger.sqlite-wal", "ledger.sqlite-shm")):
        if kind is a_folder and (recorded / name).is_dir():
            continue  # that is what belongs there
        spool, kept = tmp_path / f"{number}", tmp_path / "kept"
        shutil.copytree(recorded, spool)
        at = spool / name
        if at.exists():
            at.rename(kept)
        kind(at)
        said = str(at)
        try:
            Spool(spool, "rig-1", wait_s=0.0).close()
        except SensoriumError as error:
            said = str(error)
        assert str(at) in said, f"{name}, {kind.__name__}"
        if at.exists() or at.is_symlink():
            shutil.rmtree(at) if at.is_dir() and not at.is_symlink() else at.unlink()
        if kept.exists():
            kept.rename(at)
        Spool(spool, "rig-1", wait_s=0.0).close()
        states = [episode["state"] for episode in inspect_spool(spool)["episodes"]]
        assert states == ["pending"] * 3, f"{name}, {kind.__name__}"
        shutil.rmtree(spool)
