"""Replays of the EuRoC layout: every row and picture as recorded, what is damaged counted and named."""

import csv
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

from sensorium.drivers.driver import DriverConfig
from sensorium.drivers.replay.replay_euroc import ReplayEurocConfig
from sensorium.drivers.stream import Block, Samples, Stamps, StreamSpec
from sensorium.drivers.testing import DriverTests
from sensorium.errors import ConfigError

START_NS = 1403715273262142976
CAMERA_YAML = "%YAML:1.0\n# c\nsensor_type: camera\nrate_hz: 20\nresolution: [12, 8]\nintrinsics: [1.5, 1, 6, 4] #fu\n"
IMU_YAML = """%YAML:1.0
---
sensor_type: imu
T_BS: !!opencv-matrix
  cols: 2
  rows: 2
  data: [1.0, 0.0,
         0.0, 1.0]
rate_hz: 200
gyroscope_noise_density: 1.6968e-04
accelerometer_noise_density: 2.0e-3
"""


def picture(number: int, channels: int = 0) -> Samples:
    shape = (8, 12, channels) if channels else (8, 12)
    return np.random.default_rng(number).integers(0, 256, shape, np.uint8)


def make_recording(root: Path, frames: int = 6, color: tuple[str, ...] = ()) -> Path:
    """A small recording: cam0 20 Hz, imu0 200 Hz over the same time, and a pose stream; CRLF in one table."""
    mav = root / "mav0"
    for camera in ("cam0", "cam1"):
        (mav / camera / "data").mkdir(parents=True)
        (mav / camera / "sensor.yaml").write_text(CAMERA_YAML)
        rows = ["#timestamp [ns],filename"]
        for number in range(frames):
            stamp = START_NS + number * 50_000_003
            cv2.imwrite(str(mav / camera / "data" / f"{stamp}.png"), picture(number, 3 if camera in color else 0))
            rows.append(f"{stamp},{stamp}.png")
        (mav / camera / "data.csv").write_bytes("\r\n".join([*rows, "", ""]).encode())
    (mav / "imu0").mkdir()
    (mav / "imu0" / "sensor.yaml").write_text(IMU_YAML)
    rows = [f"{START_NS + 1 + n * 5_000_000},{n}.25,1,2,3e-1,4,5" for n in range(frames * 10)]
    (mav / "imu0" / "data.csv").write_text("#timestamp [ns],wx [rad s^-1],wy,wz,ax,ay,az\n\n" + "\n".join(rows))
    (mav / "vicon0").mkdir()
    (mav / "vicon0" / "data.csv").write_text(
        "#timestamp [ns], p_x [m], q_w []\n" + "".join(f"{START_NS + n},{n},1\n" for n in range(3))
    )
    (mav / "pointcloud0").mkdir()
    (mav / "body.yaml").write_text("%YAML:1.0\ncomment: x\n")
    return mav


def play(path: Path, **options: Any) -> tuple[dict[str, StreamSpec], list[Block]]:
    driver = ReplayEurocConfig(path=path, pace="fast", **options).open("rig", path)
    blocks: list[Block] = []
    while (got := driver.read(1.0)) is not None:
        blocks.extend(got)
    driver.close()
    specs = {spec.name: spec for spec in driver.specs}
    for block in blocks:
        block.check(specs[block.stream])
    return specs, blocks


def joined(blocks: Sequence[Block], stream: str) -> tuple[Stamps, Samples, int]:
    mine = [block for block in blocks if block.stream == stream]
    return (
        np.concatenate([block.captured_ns for block in mine]),
        np.concatenate([block.data for block in mine]),
        sum(block.lost_before for block in mine),
    )


class TestConformance(DriverTests):
    expected_rows = {"cam0": 6, "cam1": 6, "imu0": 60, "vicon0": 3}
    expected_lost = {}

    def config(self, tmp_path: Path) -> DriverConfig:
        if not (tmp_path / "mav0").exists():
            make_recording(tmp_path)
        return ReplayEurocConfig(path=Path("mav0"), pace=20.0)


class TestConformanceWithDamage(DriverTests):
    expected_rows = {"cam0": 4, "cam1": 6, "imu0": 59, "vicon0": 3}
    expected_lost = {"cam0": 2, "imu0": 1}
    expected_lost_at = {"cam0": [START_NS, START_NS + 5 * 50_000_003], "imu0": [START_NS + 5_000_001]}

    def config(self, tmp_path: Path) -> DriverConfig:
        if not (tmp_path / "mav0").exists():
            mav = make_recording(tmp_path)
            first, *_, last = sorted((mav / "cam0/data").iterdir())
            first.unlink()
            last.write_bytes(last.read_bytes()[:60])
            table = mav / "imu0/data.csv"
            table.write_text(table.read_text().replace("\n1403715273267142977,1.25", "\n1403715273267142977,ouch"))
        return ReplayEurocConfig(path=Path("mav0"), pace="fast")


def test_the_recording_comes_back_bit_for_bit(recordings: Path) -> None:
    specs, blocks = play(recordings / "euroc/mav0")
    assert set(specs) == {"rig.cam0", "rig.cam1", "rig.imu0"}
    for camera in ("cam0", "cam1"):
        with (recordings / f"euroc/mav0/{camera}/data.csv").open() as file:
            rows = [row for row in csv.reader(file) if row and not row[0].startswith("#")]
        stamps, data, lost = joined(blocks, f"rig.{camera}")
        assert stamps.tolist() == [int(row[0]) for row in rows]
        assert lost == 0
        for image, row in zip(data, rows, strict=True):
            path = recordings / f"euroc/mav0/{camera}/data/{row[1]}"
            expected = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
            assert expected is not None
            assert np.array_equal(image, expected)
    with (recordings / "euroc/mav0/imu0/data.csv").open() as file:
        rows = [row for row in csv.reader(file) if row and not row[0].startswith("#")]
    stamps, data, lost = joined(blocks, "rig.imu0")
    assert stamps.tolist() == [int(row[0]) for row in rows]
    assert data.tolist() == [[float(value) for value in row[1:]] for row in rows]
    dues = [int(block.captured_ns[-1]) for block in blocks]
    assert dues == sorted(dues)


def test_calibration_goes_into_the_specs(recordings: Path) -> None:
    specs, _ = play(recordings / "euroc", streams=("imu0", "cam0"))
    camera, imu = specs["rig.cam0"], specs["rig.imu0"]
    text = (recordings / "euroc/mav0/cam0/sensor.yaml").read_text().split("\n", 1)[1]
    raw = yaml.safe_load(text)
    assert camera.calibration["intrinsics"] == raw["intrinsics"]
    assert np.ravel(camera.calibration["T_BS"]).tolist() == raw["T_BS"]["data"]
    assert (camera.rate_hz, camera.shape, camera.dtype, camera.color_order) == (20.0, (480, 752), "uint8", "")
    assert (imu.rate_hz, imu.shape, imu.channels) == (200.0, (6,), ("gx", "gy", "gz", "ax", "ay", "az"))
    assert imu.noise_density == (1.6968e-04,) * 3 + (2.0e-3,) * 3
    driver = ReplayEurocConfig(path=recordings / "euroc").open("rig", recordings)
    assert (driver.clock.kind, driver.clock.states_utc) == ("recording", True)
    driver.close()


def test_a_small_recording_with_opencv_yaml_colour_and_poses(tmp_path: Path) -> None:
    mav = make_recording(tmp_path, color=("cam1",))
    specs, blocks = play(mav)
    assert set(specs) == {"rig.cam0", "rig.cam1", "rig.imu0", "rig.vicon0"}
    assert specs["rig.imu0"].calibration["T_BS"] == [[1.0, 0.0], [0.0, 1.0]]
    assert (specs["rig.vicon0"].channels, specs["rig.vicon0"].unit) == (("p_x", "q_w"), "m, ")
    assert (specs["rig.cam1"].shape, specs["rig.cam1"].color_order) == ((8, 12, 3), "BGR")
    _, data, _ = joined(blocks, "rig.cam1")
    assert np.array_equal(data, np.stack([picture(number, 3) for number in range(6)]))
    stamps, data, _ = joined(blocks, "rig.imu0")
    assert stamps.tolist() == [START_NS + 1 + n * 5_000_000 for n in range(60)]
    assert data[:, 0].tolist() == [n + 0.25 for n in range(60)]


@pytest.mark.parametrize("damage", ["absent", "cut", "rubbish", "empty", "flipped", "size", "channels"])
def test_a_bad_picture_costs_itself_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str) -> None:
    mav = make_recording(tmp_path)
    victim = sorted((mav / "cam0/data").iterdir())[2]
    whole = victim.read_bytes()
    if damage == "absent":
        victim.unlink()
    elif damage == "size":
        cv2.imwrite(str(victim), picture(2)[:4])
    elif damage == "channels":
        cv2.imwrite(str(victim), picture(2, 3))
    else:
        middle = len(whole) // 2
        flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
        victim.write_bytes({"cut": whole[:-30], "rubbish": b"no picture", "empty": b"", "flipped": flipped}[damage])
    _, blocks = play(mav, streams=("cam0",))
    assert [(len(block), block.lost_before) for block in blocks] == [(1, 0), (1, 0), (0, 1), *[(1, 0)] * 3]
    assert blocks[2].lost_at_ns == int(victim.stem)
    assert any(str(victim) in message and "counted lost" in message for message in caplog.messages)


def test_losses_at_the_end_are_reported(tmp_path: Path) -> None:
    mav = make_recording(tmp_path)
    for victim in sorted((mav / "cam0/data").iterdir())[4:]:
        victim.unlink()
    _, blocks = play(mav, streams=("cam0",))
    assert [(len(block), block.lost_before) for block in blocks[-3:]] == [(1, 0), (0, 1), (0, 1)]


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("x,1,2,3,4,5,6", "'x' is not a time"),
        (f"{START_NS},1,2,3,4,5", "got 5 values, expected 6"),
        (f"{START_NS},1,2,3,4,5,six", "could not convert"),
        (f"{START_NS}.5,1,2,3,4,5,6", "no whole number of ns"),
        ("9223372036854775808,1,2,3,4,5,6", "beyond 64 bits"),
    ],
)
def test_a_bad_row_is_lost_and_named_by_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, row: str, why: str
) -> None:
    mav = make_recording(tmp_path)
    table = mav / "imu0/data.csv"
    lines = table.read_text().split("\n")
    lines[11] = row
    table.write_text("\n".join(lines))
    _, blocks = play(mav, streams=("imu0",))
    stamps, _, lost = joined(blocks, "rig.imu0")
    assert (len(stamps), lost) == (59, 1)
    assert any("data.csv:12: " in message and why in message for message in caplog.messages)
    place = next(place for place, block in enumerate(blocks) if block.lost_before)
    assert sum(map(len, blocks[:place])) == 9


def test_a_stamp_that_steps_back_begins_a_block(tmp_path: Path) -> None:
    mav = make_recording(tmp_path)
    table = mav / "imu0/data.csv"
    rows = table.read_text().splitlines()
    again = [f"{int(row[:19]) - 2 * 10**9}{row[19:]}" for row in rows[2:12]]
    table.write_text("\n".join([*rows, *again]))
    _, blocks = play(mav, streams=("imu0",))
    stamps, _, lost = joined(blocks, "rig.imu0")
    assert (len(stamps), lost) == (70, 0)
    assert Counter((np.diff(stamps) < 0).tolist())[True] == 1


def without_sensors(mav: Path) -> None:
    for path in mav.iterdir():
        if path.is_dir():
            shutil.rmtree(path)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda mav: shutil.rmtree(mav), "no such folder"),
        (lambda mav: (mav / "cam0/data.csv").unlink(), r"cam0/data\.csv: no such file"),
        (lambda mav: (mav / "imu0/sensor.yaml").write_text("%YAML:1.0\na: [1,"), r"imu0/sensor\.yaml: .*mend"),
        (lambda mav: (mav / "imu0/sensor.yaml").write_text("- 1"), r"imu0/sensor\.yaml: got list"),
        (without_sensors, "no sensor with usable data"),
    ],
)
def test_what_cannot_be_replayed_is_one_line(tmp_path: Path, spoil: Callable[[Path], object], message: str) -> None:
    mav = make_recording(tmp_path)
    spoil(mav)
    with pytest.raises(ConfigError, match=message) as error:
        ReplayEurocConfig(path=mav).open("rig", tmp_path)
    assert "\n" not in str(error.value)


def test_an_unknown_stream_suggests_the_nearest(tmp_path: Path) -> None:
    mav = make_recording(tmp_path)
    with pytest.raises(ConfigError, match=r"no sensor 'cam8', did you mean 'cam"):
        ReplayEurocConfig(path=mav, streams=("cam8",)).open("rig", tmp_path)


def test_columns_beyond_the_imus_six_are_kept(tmp_path: Path) -> None:
    root = make_recording(tmp_path)
    table = root / "imu0" / "data.csv"
    table.write_text(f"#timestamp [ns],wx,wy,wz,ax,ay,az,temp [degC]\n{START_NS},1,2,3,4,5,6,25.5\n")
    specs, blocks = play(tmp_path)
    spec = specs["rig.imu0"]
    assert spec.channels == ("gx", "gy", "gz", "ax", "ay", "az", "temp")
    assert spec.unit == "rad/s, rad/s, rad/s, m/s^2, m/s^2, m/s^2, degC"
    assert spec.noise_density is None  # six are stated, for seven channels
    assert joined(blocks, "rig.imu0")[1].tolist() == [[1, 2, 3, 4, 5, 6, 25.5]]


def test_alpha_is_kept(tmp_path: Path) -> None:
    root = make_recording(tmp_path)
    for file in (root / "cam0" / "data").iterdir():
        cv2.imwrite(str(file), picture(int(file.stem) % 97, 4))
    specs, blocks = play(tmp_path)
    assert (specs["rig.cam0"].shape, specs["rig.cam0"].color_order) == ((8, 12, 4), "BGRA")
    stamps, data = joined(blocks, "rig.cam0")[:2]
    assert all(np.array_equal(image, picture(stamp % 97, 4)) for stamp, image in zip(stamps, data, strict=True))


@pytest.mark.parametrize("text", ["", "sensor_type: imu\ngyroscope_noise_density:\naccelerometer_noise_density: low\n"])
def test_a_calibration_that_states_nothing_of_use_costs_no_sample(tmp_path: Path, text: str) -> None:
    root = make_recording(tmp_path)
    (root / "imu0" / "sensor.yaml").write_text(text)
    specs, blocks = play(tmp_path)
    assert specs["rig.imu0"].noise_density is None
    assert len(joined(blocks, "rig.imu0")[0]) == 60


def test_a_folder_without_its_pictures_is_said_in_a_few_lines(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = make_recording(tmp_path, frames=30)
    shutil.rmtree(root / "cam1" / "data")
    specs, _ = play(tmp_path)
    assert "rig.cam1" not in specs
    said = [record.getMessage() for record in caplog.records]
    assert len(said) < 10
    assert "no picture in it can be read: 30 rows ignored" in said[-1]
