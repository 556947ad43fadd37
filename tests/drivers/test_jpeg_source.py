"""A driver of encoded items keeps the driver contract like any other."""

from pathlib import Path

from sensorium.drivers.driver import Driver
from sensorium.drivers.testing import NAME, DriverTests
from tests.drivers.jpeg_source import JpegSource, item


class TestJpegSource(DriverTests):
    expected_rows = {NAME: 5}

    def open_driver(self, tmp_path: Path) -> Driver:
        return JpegSource(items=tuple(map(item, range(5)))).open(NAME, tmp_path)
