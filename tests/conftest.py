"""Fixtures that all tests share."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.episode_files import EpisodeFile, build_episode, seal_records


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The folder of real recordings; tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("SENSORIUM_DATA") or Path(__file__).parents[1] / "../shared/data").resolve()
    if not folder.is_dir():
        pytest.skip(f"no recordings at {folder}: set SENSORIUM_DATA to a folder that holds them")
    return folder


@pytest.fixture(scope="session")
def make_episode() -> Callable[..., EpisodeFile]:
    """`build_episode`."""
    return build_episode


@pytest.fixture(scope="session")
def seal_episode() -> Callable[..., list[bytes]]:
    """`seal_records`."""
    return seal_records
