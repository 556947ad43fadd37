"""The snapshot: a file that is always a whole picture, shows every stream, and never stops an agent."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from sensorium.agents.agent import Agent
from sensorium.agents.capture import snapshot
from sensorium.agents.capture.snapshot import Snapshot
from sensorium.agents.device_file import check_device
from sensorium.drivers.media import JPEG, Media
from sensorium.drivers.stream import Block, StreamSpec
from sensorium.errors import ConfigError

CAMERA = StreamSpec(name="cam", modality="camera", dtype="uint8", shape=(48, 64, 3), rate_hz=20.0, color_order="RGB")
IMU = StreamSpec(
    name="imu", modality="imu", dtype="float64", shape=(6,), rate_hz=100.0, unit="rad/s, m/s^2",
    channels=("gx", "gy", "gz", "ax", "ay", "az"),
)  # fmt: skip


def frames(first: int, n: int, value: int = 0) -> Block:
    stamps = (first + np.arange(n, dtype=np.int64)) * 50_000_000
    data = np.zeros((n, 48, 64, 3), np.uint8)
    data[..., 0] = value
    return Block("cam", stamps, data)


def rows(first: int, n: int, gap_rows: int = 0) -> Block:
    numbers = first + np.arange(n, dtype=np.int64)
    return Block("imu", (numbers + gap_rows) * 10_000_000, np.sin(numbers / 9.0)[:, None] * np.arange(1.0, 7.0))


@pytest.fixture
def taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Snapshot, Path]]:
    """One that is always due."""
    monkeypatch.setattr(snapshot, "EVERY_S", 0.0)
    monkeypatch.setattr(snapshot, "MOST_OF_A_CORE", 1e9)
    yield Snapshot(tmp_path / "snap.png", "rig", [CAMERA, IMU]), tmp_path / "snap.png"
    assert [path.name for path in tmp_path.iterdir()] == ["snap.png"], "nothing is left beside it"


def red(picture: np.ndarray) -> int:
    """Pixels of pure red, which only the camera's frame has."""
    return int((picture == (0, 0, 255)).all(axis=2).sum())


def test_it_shows_the_latest_frame_and_the_curves(taken: tuple[Snapshot, Path]) -> None:
    made, path = taken
    before = cv2.imread(str(path))
    assert before is not None, "there from the start"
    made.see(frames(0, 3, value=7))
    made.see(frames(3, 1, value=255))
    for first in range(0, 600, 50):
        made.see(rows(first, 50, gap_rows=100 if first >= 300 else 0))
    made.refresh("collecting")
    after = cv2.imread(str(path))
    assert after is not None
    assert after.shape == before.shape
    assert red(before) == 0
    assert red(after) > 20_000, "the last frame alone, its RGB drawn as red and not as blue"
    inked = (after[:, 480:] < 128).any(axis=2).sum() - (before[:, 480:] < 128).any(axis=2).sum()
    assert inked > 1000, "curves in the second tile"
    shaded = (after[:, 480:] == (205, 205, 255)).all(axis=2).sum()
    assert shaded > 1000, "the second without rows is shaded"


def test_memory_is_bounded(taken: tuple[Snapshot, Path]) -> None:
    made, _ = taken
    for first in range(0, 4000, 4):
        made.see(frames(first, 4))
        made.see(rows(first * 5, 20))
    held = {name: seen.blocks for name, seen in made._seen.items()}
    assert sum(block.data.nbytes for block in held["cam"]) == CAMERA.sample_bytes
    assert sum(map(len, held["cam"])) <= 105
    assert sum(map(len, held["imu"])) <= 525
    made.see(rows(0, 5))
    assert sum(map(len, made._seen["imu"].blocks)) == 5, "a clock that was set back begins anew"


def test_a_file_that_cannot_be_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ConfigError, match="cannot be written: No such file"):
        Snapshot(tmp_path / "none" / "snap.png", "rig", [CAMERA])
    with pytest.raises(ConfigError, match=r"ends in \.png or \.jpg"):
        Snapshot(tmp_path / "snap.gif", "rig", [CAMERA])
    (tmp_path / "gone").mkdir()
    made = Snapshot(tmp_path / "gone" / "snap.jpg", "rig", [CAMERA])
    (tmp_path / "gone" / "snap.jpg").unlink()
    (tmp_path / "gone").rmdir()
    for _ in range(3):
        made._due_s = 0.0
        made.refresh("collecting")
    assert len([record for record in caplog.records if "snapshot" in record.getMessage()]) == 1, "said once"


def test_an_agent_keeps_it_fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "EVERY_S", 0.0)
    sim = {"kind": "sim-planar", "pace": "fast", "duration_s": 1, "size": [64, 48]}
    device = check_device(
        {"device": "rig", "sensors": {"sim": sim}, "trigger": {"kind": "interval", "length_s": 1}}, tmp_path
    )
    Agent(device, snap=tmp_path / "snap.jpg").run()
    picture = cv2.imread(str(tmp_path / "snap.jpg"))
    assert picture is not None
    assert picture.std() > 20, "a textured plane is on it"


def test_encoded_frames_are_drawn_and_one_that_does_not_decode_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    camera = StreamSpec(name="cam", modality="camera", dtype="uint8", shape=(480, 640, 3), rate_hz=20.0)
    monkeypatch.setattr(snapshot, "EVERY_S", 0.0)
    monkeypatch.setattr(snapshot, "MOST_OF_A_CORE", 1e9)
    made = Snapshot(tmp_path / "snap.png", "rig", [camera])
    item = cv2.imencode(".jpg", np.full((480, 640, 3), (0, 0, 255), np.uint8))[1].tobytes()
    stamps = np.arange(3, dtype=np.int64)
    made.see(Block("cam", stamps, Media(JPEG, [item] * 3)))
    made.refresh("collecting")
    drawn = cv2.imread(str(tmp_path / "snap.png"))
    assert drawn is not None
    assert int(((drawn[..., 2] > 250) & (drawn[..., 0] < 5)).sum()) > 10_000
    made.see(Block("cam", stamps[:1] + 3, Media(JPEG, [item[:700]])))
    made.refresh("collecting")
    after = cv2.imread(str(tmp_path / "snap.png"))
    assert after is not None
    assert int((after[28:, :, 1] < 250).sum()) < 5_000, "text, and no picture"
