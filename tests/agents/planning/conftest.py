"""An empty store, and two operators."""

from pathlib import Path

import pytest

from sensorium.ingest.store import Store
from sensorium.link.operators import OperatorPair, new_operator, read_pair


@pytest.fixture
def store(tmp_path: Path) -> Path:
    Store.open(tmp_path / "store").close()
    return tmp_path / "store"


@pytest.fixture
def anna(tmp_path: Path) -> OperatorPair:
    return read_pair(new_operator("anna", tmp_path / "keys")[1])


@pytest.fixture
def ben(tmp_path: Path) -> OperatorPair:
    return read_pair(new_operator("ben", tmp_path / "keys")[1])
