"""The examples in the docstrings of the loaders are true."""

import doctest

import pytest

from sensorium.corpus import order
from sensorium.corpus.loaders import quotas, snapshot, steps


@pytest.mark.parametrize("module", [order, quotas, snapshot, steps], ids=lambda module: module.__name__)
def test_examples_hold(module: object) -> None:
    results = doctest.testmod(module)  # type: ignore[arg-type]
    assert results.failed == 0
    assert results.attempted > 0
