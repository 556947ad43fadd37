"""Every device file in examples/ loads, and together they show every sensor and every trigger there is."""

from pathlib import Path

import pytest

from sensorium.agents.device_file import load_device_file
from sensorium.agents.filters.chain import FilterChain
from sensorium.agents.triggers.config import GROUP as TRIGGERS
from sensorium.drivers.registry import driver_kinds, kinds
from sensorium.drivers.stream import StreamSpec

EXAMPLES = Path(__file__).parents[2] / "examples"
FILES = sorted(EXAMPLES.glob("*.yaml"))
CAMERA = StreamSpec(name="front", modality="camera", dtype="uint8", shape=(480, 640, 3), rate_hz=30, color_order="BGR")
IMU_CHANNELS = ("gx", "gy", "gz", "ax", "ay", "az")
IMU = StreamSpec(name="imu.imu", modality="imu", dtype="float64", shape=(6,), rate_hz=100, channels=IMU_CHANNELS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_example_loads(path: Path) -> None:
    device = load_device_file(path)
    assert device.ingest is not None, "it says where to deliver"
    assert {"spool", "mission"} <= device.model_fields_set
    if set(device.sensors) <= {"front", "imu"}:  # what these deliver is known: filters and trigger fit them
        specs = [spec for spec in (CAMERA, IMU) if spec.name.partition(".")[0] in device.sensors]
        device.trigger.start(FilterChain(specs, device.filters).specs)


def test_every_sensor_and_every_trigger_has_an_example() -> None:
    devices = [load_device_file(path) for path in FILES]
    ours = {kind for kind, point in driver_kinds().items() if point.value.startswith("sensorium.")}
    assert {sensor.kind for device in devices for sensor in device.sensors.values()} == ours
    assert {device.trigger.kind for device in devices} == set(kinds(TRIGGERS))
