"""A spool for tests of the device side."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sensorium.agents.spool.spool import Spool


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    opened = Spool(tmp_path / "spool", "rig")
    yield opened
    opened.close()
