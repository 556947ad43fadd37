"""The device files in examples/ for recordings and worlds open what they describe."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from sensorium.drivers.registry import driver_config

EXAMPLES = Path(__file__).parents[3] / "examples"


def sensor(name: str) -> tuple[str, Any]:
    (found,) = yaml.safe_load((EXAMPLES / f"{name}.yaml").read_text())["sensors"].items()
    return found[0], driver_config(found[1]["kind"]).model_validate(found[1])


@pytest.mark.parametrize(
    ("example", "folder", "streams"),
    [
        ("replay-euroc", "euroc", {"rig.cam0", "rig.cam1", "rig.imu0"}),
        ("replay-csv", "imu", {"hand.imu", "hand.mag"}),
        ("replay-ulog", "imu", {"flight.imu", "flight.mag"}),
        ("sim", ".", {"sim.cam", "sim.imu", "sim.truth"}),
    ],
)
def test_an_example_opens_and_delivers(recordings: Path, example: str, folder: str, streams: set[str]) -> None:
    name, config = sensor(example)
    driver = config.open(name, recordings / folder)
    try:
        specs = {spec.name: spec for spec in driver.specs}
        assert set(specs) == streams
        (block,) = driver.read(1.0)
        block.check(specs[block.stream])
    finally:
        driver.close()


def test_the_mcap_example_is_valid() -> None:
    name, config = sensor("replay-mcap")
    assert (name, set(config.streams)) == ("run", {"front", "imu", "arm"})
