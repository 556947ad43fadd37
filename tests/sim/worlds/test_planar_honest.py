"""The planar world through honest sensors: by itself and acted on, seeded, counted, and what was planned is told."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sensorium.drivers.driver import Delivery, DriverConfig
from sensorium.drivers.marks import SourceNote
from sensorium.drivers.stream import Block, Samples, Stamps
from sensorium.drivers.testing import DriverTests
from sensorium.sim.worlds.config import WorldConfig
from sensorium.sim.worlds.planar import SimPlanarConfig
from sensorium.sim.worlds.playing import Played, by_script, steps
from sensorium.sim.worlds.testing import WorldTests

PLANNED = [
    {"sensor": "imu", "kind": "stuck", "start_s": 0.2, "length_s": 0.3, "channels": ["gy"]},
    {"sensor": "imu", "kind": "dropout", "start_s": 0.6, "length_s": 0.1},
    {"sensor": "cam", "kind": "black", "start_s": 0.3, "length_s": 0.2},
    {"sensor": "cam", "kind": "late", "start_s": 0.5, "length_s": 0.3, "size": 0.1},
]
HONEST: dict[str, Any] = {
    "camera": {"preset": "imx219", "renders": 3, "distortion": [-0.1, 0.02, 0, 0]},
    "camera_clock": {"latency_s": 0.02, "drift_ppm": 50},
    "imu_clock": {"jitter_s": 1e-5},
    "imu_errors": {"preset": "bmi088"},
    "imu_drop": 0.02,
    "camera_drop": 0.1,
    "faults": PLANNED,
    "truth": True,
}


def world(**options: Any) -> SimPlanarConfig:
    return SimPlanarConfig(**{"pace": "fast", "duration_s": 1.0, "size": (32, 24), "camera_hz": 20, **options})


def play(**options: Any) -> list[Delivery]:
    driver = world(**options).open("w", Path())
    specs = {spec.name: spec for spec in driver.specs}
    delivered: list[Delivery] = []
    while (got := driver.read(1.0)) is not None:
        for each in got:
            if isinstance(each, Block):
                each.check(specs[each.stream])
            delivered.append(each)
    driver.close()
    return delivered


def joined(delivered: list[Delivery], stream: str) -> tuple[Stamps, Samples]:
    mine = [each for each in delivered if isinstance(each, Block) and each.stream == f"w.{stream}" and len(each)]
    return np.concatenate([block.captured_ns for block in mine]), np.concatenate([block.data for block in mine])


class TestByItself(DriverTests):
    def config(self, tmp_path: Path) -> DriverConfig:
        return world(**HONEST, pace=20.0)


class TestActedOn(WorldTests):
    early_ns, late_ns = 200_000_000, 1_000_000
    length = 20

    def config(self) -> WorldConfig:
        return world(**HONEST, limit_s=1.5)

    def check_truth(self, played: Played) -> None:
        stamps, imu = played.stamps("imu"), played.data("imu")
        assert len(np.unique(imu[(stamps > 210_000_000) & (stamps < 490_000_000), 1])) == 1
        assert not ((stamps > 601_000_000) & (stamps < 699_000_000)).any()
        assert played.stamps("faults").tolist() == [0, *(round(s * 1e9) for s in (0.2, 0.3, 0.5, 0.6, 0.7, 0.8))]


def test_every_sample_comes_or_is_counted() -> None:
    blocks = [each for each in play(**HONEST | {"imu_drop": 0.3}) if isinstance(each, Block)]
    for stream, expected in (("cam", 20), ("imu", 200), ("truth", 200)):
        mine = [block for block in blocks if block.stream == f"w.{stream}"]
        assert sum(len(block) + block.lost_before for block in mine) == expected, stream


def test_the_same_seed_gives_the_same_bytes_at_any_pace() -> None:
    def data(**options: Any) -> list[tuple[str, bytes, bytes, int]]:
        blocks = [each for each in play(**HONEST, **options) if isinstance(each, Block)]
        return [(b.stream, b.captured_ns.tobytes(), b.data.tobytes(), b.lost_before) for b in blocks]

    assert data() == data(pace=50.0)
    assert data() != data(seed=2)


def test_what_is_on_its_way_comes_with_the_last_step() -> None:
    late = [{"sensor": "cam", "kind": "late", "start_s": 0.0, "size": 5.0}]
    flown = Played.of(steps(world(faults=late, limit_s=0.5).make(), 0, "roam", by_script))
    assert flown.done == "truncated"
    assert [len(block) for block in flown.blocks["cam"]] == [11]


def test_what_was_planned_happens_and_is_told() -> None:
    delivered = play(**HONEST, start_ns=5_000_000_000)
    stamps, frames = joined(delivered, "cam")
    since_s = stamps / 1e9 - 5
    dark = (since_s > 0.29) & (since_s < 0.49)
    assert dark.any()
    assert (frames.mean(axis=(1, 2)) < 3).tolist() == dark.tolist()
    stamps, sizes = joined(delivered, "faults")
    assert (stamps[0], sizes[0].tolist()) == (5_000_000_000, [0, 0, 0, 0])
    assert sizes[stamps == 5_300_000_000].tolist() == [[1, 0, 1, 0]]
    notes = [each for each in delivered if isinstance(each, SourceNote)]
    assert (notes[0].stream, notes[0].start_ns, notes[0].end_ns) == ("w.imu", 5_200_000_000, 5_500_000_000)
    assert [note.value["fault"] for note in notes] == [planned["kind"] for planned in PLANNED]
    assert not [each for each in play(**{**HONEST, "truth": False}) if isinstance(each, SourceNote)]


def test_late_frames_are_delivered_late_under_their_own_stamps() -> None:
    late = [{"sensor": "cam", "kind": "late", "start_s": 0.5, "size": 0.2}]
    order = [each for each in play(faults=late) if isinstance(each, Block)]
    behind_ns: list[int] = []
    reached_ns = 0
    for block in order:
        if block.stream == "w.cam":
            behind_ns.append(reached_ns - int(block.captured_ns[0]))
        else:
            reached_ns = int(block.captured_ns[-1])
    assert max(behind_ns[:10]) < 60_000_000
    assert min(behind_ns[10:14]) > 140_000_000


def test_a_rolling_shutter_sees_the_body_move_while_it_reads() -> None:
    """Each row is what a camera sees that looks at the moment of that row."""
    rolled = joined(play(camera={"readout_s": 0.04, "renders": 64}, size=(64, 48)), "cam")[1]
    plain = joined(play(size=(64, 48)), "cam")[1]
    later = joined(play(size=(64, 48), camera_hz=25), "cam")[1]  # frame 1 stands at 40 ms
    assert np.abs(rolled[0][0].astype(float) - plain[0][0]).mean() < 2
    assert np.abs(rolled[0][-1].astype(float) - later[1][-1]).mean() < 2
    assert np.abs(plain[0][-1].astype(float) - later[1][-1]).mean() > 4


def test_the_spec_says_what_the_camera_is_like() -> None:
    camera = world(**HONEST).specs()[0]
    assert camera.calibration["readout_s"] == 0.0466
    assert camera.calibration["exposure_s"] == 0.01
    assert camera.calibration["distortion_coefficients"] == [-0.1, 0.02, 0, 0]
    assert "readout_s" not in world().specs()[0].calibration


def test_a_fault_that_cannot_be_is_refused_with_the_configuration() -> None:
    with pytest.raises(ValueError, match="fault 'stuck' of 'cam': it can have frozen"):
        world(faults=[{"sensor": "cam", "kind": "stuck", "start_s": 0}])
