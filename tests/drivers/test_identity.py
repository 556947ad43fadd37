"""What a recording is told by: the same each time, another if its content may be."""

import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from sensorium.drivers.driver import DriverConfig
from sensorium.drivers.identity import identity_of
from sensorium.drivers.live.camera import CameraConfig
from sensorium.drivers.replay.replay_euroc import ReplayEurocConfig
from sensorium.sim.worlds.planar import SimPlanarConfig

MIB = 1 << 20


def large(path: Path) -> Path:
    path.write_bytes(os.urandom(MIB) + bytes(MIB) + os.urandom(MIB))
    os.utime(path, ns=(10**18, 10**18))
    return path


def test_a_file_is_told_by_size_mtime_and_its_edges(tmp_path: Path) -> None:
    path = large(tmp_path / "a")
    before = identity_of(path)
    assert before is not None
    assert before["size"] == 3 * MIB
    assert before["mtime_ns"] == 10**18
    assert msgspec.json.decode(msgspec.json.encode(before)) == before
    (tmp_path / "link").symlink_to(path)
    assert identity_of(tmp_path / "link") == before
    moved = path.rename(tmp_path / "b")
    assert identity_of(moved) == before


@pytest.mark.parametrize("place", [0, MIB - 1, 2 * MIB, 3 * MIB - 1])
def test_one_byte_at_an_edge_is_another(tmp_path: Path, place: int) -> None:
    path = large(tmp_path / "a")
    before = identity_of(path)
    with path.open("r+b") as file:
        file.seek(place)
        byte = file.read(1)
        file.seek(place)
        file.write(bytes([byte[0] ^ 1]))
    os.utime(path, ns=(10**18, 10**18))
    assert identity_of(path) != before


def test_another_mtime_is_another(tmp_path: Path) -> None:
    path = large(tmp_path / "a")
    before = identity_of(path)
    os.utime(path, ns=(10**18, 10**18 + 1))
    assert identity_of(path) != before


def _add(folder: Path) -> None:
    (folder / "deep" / "new").write_text("")


def _rename(folder: Path) -> None:
    (folder / "deep" / "x").rename(folder / "deep" / "z")


def _grow(folder: Path) -> None:
    path = folder / "deep" / "x"
    path.write_text("xx")
    os.utime(path, ns=(10**18, 10**18))


@pytest.mark.parametrize("change", [_add, _rename, _grow, lambda folder: (folder / "deep" / "x").touch()])
def test_a_folder_is_told_by_names_sizes_and_mtimes(tmp_path: Path, change: Callable[[Path], object]) -> None:
    folder = tmp_path / "a"
    (folder / "deep").mkdir(parents=True)
    for name in ("x", "y"):
        path = folder / "deep" / name
        path.write_text(name)
        os.utime(path, ns=(10**18, 10**18))
    (folder / "deep" / "back").symlink_to(folder)
    before = identity_of(folder)
    (tmp_path / "link").symlink_to(folder)
    assert identity_of(tmp_path / "link") == before == identity_of(folder)
    change(folder)
    assert identity_of(folder) != before


def test_what_is_no_file_is_told_by_nothing(tmp_path: Path) -> None:
    assert identity_of(tmp_path / "absent") is None
    assert identity_of(Path("/dev/null")) is None


class Played(DriverConfig):
    kind: str = "played"
    path: Path
    other: int = 0


class Live(DriverConfig):
    kind: str = "live"
    port: str = "/dev/null"


def test_a_driver_is_told_by_the_paths_it_is_given(tmp_path: Path) -> None:
    path = large(tmp_path / "a")
    identity = Played(path=Path("a")).identity(tmp_path)
    assert identity is not None
    assert identity.said == {"path": identity_of(path)}
    assert identity.ends
    assert Played(path=Path("absent")).identity(tmp_path) is None
    assert Live().identity(tmp_path) is None


def test_a_video_file_has_an_identity_and_a_device_has_none(tmp_path: Path) -> None:
    path = large(tmp_path / "a.mp4")
    identity = CameraConfig(source="a.mp4").identity(tmp_path)
    assert identity is not None
    assert identity.said == {"source": identity_of(path)}
    assert CameraConfig(source=0).identity(tmp_path) is None


def test_of_a_euroc_folder_what_lies_beside_the_sensors_does_not_count(tmp_path: Path) -> None:
    for name in ("cam0", "imu0"):
        (tmp_path / "mav0" / name).mkdir(parents=True)
        (tmp_path / "mav0" / name / "data.csv").write_text("#t\n1,2\n")
    config, alone = (ReplayEurocConfig(path=Path(), streams=streams) for streams in (None, ("imu0",)))
    before, imu = config.identity(tmp_path), alone.identity(tmp_path)
    (tmp_path / "mav0" / "spool").mkdir()
    (tmp_path / "mav0" / "spool" / "ledger.sqlite").write_text("")
    assert config.identity(tmp_path) == before
    (tmp_path / "mav0" / "cam0" / "data.csv").write_text("#t\n1,2\n3,4\n")
    assert config.identity(tmp_path) != before
    assert alone.identity(tmp_path) == imu


def test_a_world_is_told_by_its_seed_and_configuration(tmp_path: Path) -> None:
    same = [SimPlanarConfig(duration_s=1, pace=pace).identity(tmp_path) for pace in (1.0, "fast")]
    assert same[0] == same[1]
    assert same[0].ends
    assert SimPlanarConfig(duration_s=1, seed=1).identity(tmp_path) != same[0]
    assert SimPlanarConfig(duration_s=1, imu_hz=100).identity(tmp_path) != same[0]
    assert not SimPlanarConfig().identity(tmp_path).ends
