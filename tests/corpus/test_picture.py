"""A picture of any episode that the store can hold, one in which a sensor was silent too."""

import doctest
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

import sensorium
from sensorium.corpus import picture as corpus_picture
from sensorium.corpus.episode import Episode
from sensorium.corpus.picture import _said, draw
from sensorium.corpus.stream import Stream
from sensorium.drivers.stream import StreamSpec
from sensorium.ingest.store import Store
from sensorium.perception.drawing import SHADE


def test_streams_without_samples_are_drawn_empty(make_episode: Any, tmp_path: Path) -> None:
    arrays = {
        "cam": np.zeros((0, 8, 8), np.uint8),
        "imu": np.zeros((0, 6)),
        "level": np.zeros(0),
        "wheel": np.arange(15, dtype=np.int32),
    }
    made = make_episode(arrays)
    with Store.open(tmp_path) as store:
        assembly = store.begin(made.episode)
        assembly.append(made.data)
        store.commit(assembly, device="rig-1", identity="k")
    (episode,) = sensorium.open(tmp_path).query()
    picture = draw(episode)
    assert picture.shape[1:] == (1600, 3)
    assert [len(stream) for stream in episode.streams.values()] == [0, 0, 0, 15]


class Held:
    """A stream in memory, as far as a picture asks."""

    def __init__(self, name: str, at_s: Any, rate_hz: float, shape: tuple[int, ...]) -> None:
        modality = "image" if len(shape) > 1 else "imu"
        self.captured_ns = (np.asarray(at_s, np.float64) * 1e9).astype(np.int64)
        dtype = "uint8" if len(shape) > 1 else "float64"
        self.spec = StreamSpec(name=name, modality=modality, dtype=dtype, shape=shape, rate_hz=rate_hz)
        self._data = np.full((len(self.captured_ns), *shape), 90, dtype)

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, at: Any) -> Any:
        return self._data[at]


def drawn(camera_s: Any, imu_s: Any, clock: str, goes_on: tuple[bool, bool] = (False, False)) -> tuple[int, Any]:
    """How many columns of a picture of 10 s are shaded, and the picture: of a camera at 10 Hz and an IMU at 100."""
    streams = {"cam": Held("cam", camera_s, 10.0, (8, 8)), "imu": Held("imu", imu_s, 100.0, (2,))}
    row = {"start_utc": None, "mission": "m", "reason": "complete", "clock": clock}
    account: dict[str, Any] = {name: {"filtered": {}, "lost": {}} for name in streams}
    episode = SimpleNamespace(
        id="e", device="rig", row=row, account=account, streams=streams, start_ns=0, end_ns=10**10, duration_s=10.0
    )
    picture = draw(cast(Episode, episode), goes_on=goes_on)
    return int((picture == SHADE).all(axis=2).any(axis=0).sum()), picture


CLOCKS = ("boottime", "recording", "simulated")


@pytest.mark.parametrize("clock", CLOCKS)
def test_nothing_is_missing_before_and_behind_all_that_was_recorded(clock: str) -> None:
    camera, imu = np.arange(3, 7, 0.1), np.arange(3, 7, 0.01)
    assert drawn(camera, imu, clock)[0] == 0
    assert drawn(camera, imu, clock, (True, True))[0] == pytest.approx(900, abs=30), "others join: 3 s each lack"
    assert drawn(camera, imu, clock, (True, False))[0] == pytest.approx(643, abs=20), "3 of 7 s"


def test_a_sensor_that_falls_silent_is_seen_and_one_whose_recording_ends_is_told() -> None:
    whole, half = np.arange(0, 10, 0.01), np.arange(0, 5, 0.1)
    assert drawn(half, whole, "boottime")[0] == pytest.approx(750, abs=20)
    assert drawn(half, whole, "recording")[0] == 0
    assert "ends 5.09 s before the last" in said_of(half, whole)
    assert "begins 5 s behind the first" in said_of(half + 5, whole)
    hole = np.concatenate((np.arange(0, 2, 0.1), np.arange(4, 10, 0.1)))
    for clock in CLOCKS:
        assert drawn(hole, whole, clock)[0] == pytest.approx(310, abs=20), "a hole is one anywhere"


def said_of(camera_s: Any, imu_s: Any, nominal_hz: float = 10.0) -> str:
    stream = cast(Stream, Held("cam", camera_s, nominal_hz, (8, 8)))
    ends = (int(imu_s[0] * 1e9), int(imu_s[-1] * 1e9))
    return _said(stream, [], {"filtered": {}, "lost": {}}, ends)


def test_a_camera_slower_than_it_states_is_not_silent() -> None:
    slow, imu = np.arange(0, 10, 0.25), np.arange(0, 10, 0.01)
    assert drawn(slow, imu, "boottime")[0] == 0
    assert said_of(slow, imu).startswith("40 stored, at 4 Hz, not 10")
    assert "at 1250 Hz, not 2500, ends 1800 s before" in said_of(np.arange(100) * 8e-4, np.array([0.0, 1800.0]), 2500.0)
    with_hole = np.concatenate((slow[:20], slow[28:]))
    assert drawn(with_hole, imu, "boottime")[0] == pytest.approx(340, abs=20)
    assert "not 10" not in said_of(np.arange(0, 10, 0.1), imu)


@pytest.mark.parametrize("frames", [1, 2, 7, 500])
def test_short_episodes_show_their_frames(frames: int) -> None:
    _, picture = drawn(5 + np.arange(frames) / 10_000, np.arange(0, 10, 0.01), "boottime")
    strip = (picture[72:222] == 90).all(axis=2).mean(axis=0) > 0.9
    drawn_frames = round(strip.sum() / 150)
    assert drawn_frames == frames if frames <= 7 else drawn_frames >= 1


def test_example_holds() -> None:
    assert doctest.testmod(corpus_picture) == (0, 2)
