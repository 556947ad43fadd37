"""Fixtures of the ingest's tests."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is such a file system: what is synced thousands of times is so there at once."""
    if not Path("/dev/shm").is_dir():
        yield tmp_path
        return
    folder = Path(tempfile.mkdtemp(prefix="sensorium-", dir="/dev/shm"))
    yield folder
    shutil.rmtree(folder)
