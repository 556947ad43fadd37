"""A folder with processes in it, and small file systems, for each test of the whole way."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.spine.commands import Mount, Site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Ends what it started."""
    made = Site(tmp_path)
    yield made
    made.end()


@pytest.fixture
def mount() -> Iterator[Mount]:
    """Mount a tmpfs of so many bytes on a new folder."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a small file system")
    mounted = []

    def mount_on(folder: Path, size: str) -> None:
        folder.mkdir()
        made = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)], capture_output=True, check=False
        )
        if made.returncode:
            pytest.skip(f"no file system can be mounted here: {made.stderr.decode().strip()}")
        mounted.append(folder)

    yield mount_on
    for folder in mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
