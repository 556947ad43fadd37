"""Fixtures that all tests share."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.episode_files import EpisodeFile, build_episode, seal_records

if "CI" not in os.environ:  # there Hypothesis has such a profile of its own, whose examples are the same each time
    settings.register_profile("patient", deadline=None)  # a machine that is busy is slower, and no worse
    settings.load_profile("patient")


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: a third of the tests wait for other processes most of the time."""
    return (os.cpu_count() or 1) + 1


@pytest.fixture(autouse=True)
def _signals_of_before() -> Iterator[None]:
    """A command that runs in the tests' own process answers signals until the process ends, which is here that of many
    tests: what one of them forks would never end of SIGTERM, as a pool's processes are to."""
    former = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in former.items():
        signal.signal(number, handler)


@pytest.fixture(autouse=True)
def _urgent_as_before() -> Iterator[None]:
    """A library may make the thread that calls it one of real time, as SVT-AV1 does for root: the tests behind it, and
    all that they start, would keep whatever is beside them from running."""
    former = os.sched_getscheduler(0)
    yield
    assert os.sched_getscheduler(0) == former, "the thread of all tests is scheduled in another way than before"


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
