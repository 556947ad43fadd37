"""A folder with processes in it, for each test of the whole way."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.spine.commands import Site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Ends what it started."""
    made = Site(tmp_path)
    yield made
    made.end()
