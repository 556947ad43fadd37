"""The examples in the docstrings of perception, of the filters and of selection are true."""

import doctest
import importlib
import pkgutil

import pytest

import sensorium.agents.filters
import sensorium.agents.selection
import sensorium.perception

WITHOUT_EXAMPLES = {
    "agreement", "contact_sheet", "folder", "holes", "replacing", "trouble",
    "booked_file", "budget", "campaign", "campaigns", "chain", "chooser", "contract", "embed", "filter",
    "fleet_claims", "fleet_memory", "fleet_part", "guarded", "guarded_call",
    "guarded_detector", "gyros", "health", "judging", "landscape", "logs", "memory_file", "onnx_encoder", "order",
    "outcome", "outcome_picture", "policy", "policy_file", "registry", "replay", "score", "selector", "testing",
    "unit", "unpaid", "value",
}  # fmt: skip
MODULES = sorted(
    module.name
    for package in (sensorium.perception, sensorium.agents.filters, sensorium.agents.selection)
    for module in pkgutil.iter_modules(package.__path__, package.__name__ + ".")
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_hold(name: str) -> None:
    results = doctest.testmod(importlib.import_module(name))
    assert results.failed == 0
    assert results.attempted > 0 or name.rpartition(".")[2] in WITHOUT_EXAMPLES


def test_modules_are_found() -> None:
    assert {"sensorium.perception.dhash", "sensorium.agents.filters.lowpass"} <= set(MODULES)
