"""How the commands print: the examples in the docstrings are true."""

import doctest

from sensorium.cli import screen


def test_examples_hold() -> None:
    results = doctest.testmod(screen)
    assert (results.failed, results.attempted) == (0, 7)
