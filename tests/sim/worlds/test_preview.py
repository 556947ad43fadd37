"""A preview draws every kind of stream, and says where nothing came."""

from typing import Any

import numpy as np
import pytest

from sensorium.drivers.stream import Block, StreamSpec
from sensorium.sim.worlds.playing import Step, steps
from sensorium.sim.worlds.preview import Preview, _around
from sensorium.sim.worlds.world import Observation, World, WorldSpecs
from tests.sim.worlds.tiny_world import TinyConfig

KINDS: dict[str, dict[str, Any]] = {
    "colour": {"modality": "image", "dtype": "uint8", "shape": (24, 32, 3), "color_order": "RGB"},
    "depth": {"modality": "depth", "dtype": "float32", "shape": (24, 32), "unit": "m"},
    "range": {"modality": "depth", "dtype": "uint16", "shape": (24, 32), "unit": "mm"},
    "lidar": {"modality": "lidar", "dtype": "float32", "shape": (16, 36), "unit": "m"},
    "events": {"modality": "events", "dtype": "int32", "shape": (4,), "channels": ("x", "y", "polarity", "n")},
    "spectrum": {"modality": "spectrum", "dtype": "float32", "shape": (64,)},
    "touch": {"modality": "state", "dtype": "bool", "shape": ()},
    "volume": {"modality": "scan", "dtype": "float32", "shape": (4, 5, 6)},
}


class AnyWorld:
    """Only what a preview asks for."""

    def __init__(self, spec: StreamSpec) -> None:
        action = StreamSpec(name="action", modality="action", dtype="float64", shape=(1,))
        labels = StreamSpec(name="labels", modality="truth", dtype="uint16", shape=(24, 32))
        self.specs = WorldSpecs((spec,), (labels,), action, -np.ones(1), np.ones(1), 10**8)


def previewed(spec: StreamSpec, rows: int, fill: Any = None) -> np.ndarray[Any, Any]:
    world: Any = AnyWorld(spec)
    drawn = Preview(world, "a heading")
    rng = np.random.default_rng(1)
    for step in range(rows):
        stamps = np.array([step * 10**8], np.int64)
        data = rng.uniform(0, 30, (1, *spec.shape)).astype(spec.dtype) if fill is None else fill
        sensed = Block(spec.name, stamps, data)
        truth = Block("labels", stamps, rng.integers(0, 5, (1, 24, 32)).astype(np.uint16))
        drawn.add(Step(np.zeros(1) if step else None, Observation(int(stamps[0]), (sensed,), (truth,)), ""))
    return drawn.draw()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", [0, 1, 7])
def test_every_kind_of_stream_is_drawn(kind: str, rows: int) -> None:
    image = previewed(StreamSpec(name=kind, **KINDS[kind]), rows)
    assert (image.dtype, image.shape[1:]) == (np.uint8, (1600, 3))
    assert not rows or len(np.unique(image[80:280, 80:600:7].astype(np.int64) @ [1, 256, 65536])) > 10


@pytest.mark.parametrize("value", [np.nan, 0.0, np.inf, -1.0])
def test_what_is_not_known_is_drawn_as_nothing(value: float) -> None:
    spec = StreamSpec(name="depth", **KINDS["depth"])
    previewed(spec, 3, np.full((1, 24, 32), value, np.float32))
    previewed(StreamSpec(name="lidar", **KINDS["lidar"]), 3, np.full((1, 16, 36), value, np.float32))


def test_an_echo_ahead_is_above_the_middle_and_one_to_the_left_is_left_of_it() -> None:
    spec = StreamSpec(name="lidar", modality="lidar", dtype="float32", shape=(1, 4), unit="m")
    for echo, (across, down) in {2: (0, -1), 3: (-1, 0), 0: (0, 1), 1: (1, 0)}.items():
        ranges = np.zeros((1, 4), np.float32)
        ranges[0, echo] = 5.0
        image = _around(spec, ranges, 101)
        image[44:58, 44:58] = image[90:, :40] = 255  # the sensor itself, and the scale
        ((row, column),) = np.argwhere(image[2:-2, 2:-2].min(-1) < 100) + 2
        assert [column, row] == [50 + 46 * across, 50 + 46 * down]


def test_of_frames_a_bounded_number_is_kept() -> None:
    world: World = TinyConfig(truth=True, limit_s=60.0).make()
    drawn = Preview(world, "")
    for step in steps(world, 1, "wander"):
        drawn.add(step)
    kept = drawn._kept["cam"]
    assert kept.count == 601
    assert len(kept.samples) <= 48
    assert kept.stamps[0] == 0
    assert not np.diff(np.diff(kept.stamps)).any()
    assert drawn.draw().shape[1] == 1600
