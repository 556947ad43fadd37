"""The world that docs/simulation.md leads through keeps the contract, by the suite that it shows."""

import importlib
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from _pytest.outcomes import Skipped

DOCS = Path(__file__).parents[3] / "docs/simulation.md"


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`TestBead` of the page, in a module of its own, which another process finds too."""
    blocks = re.findall(r"^```python\n(.*?)^```", DOCS.read_text(), re.DOTALL | re.MULTILINE)
    text = "\n".join(block for block in blocks if "Bead" in block)
    (tmp_path / "own_world_of_the_docs.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module("own_world_of_the_docs").TestBead()
    del sys.modules["own_world_of_the_docs"]


def test_it_passes_the_suite(suite: Any) -> None:
    names = [name for name in dir(suite) if name.startswith("test_")]
    assert len(names) >= 13
    for name in names:
        try:
            getattr(suite, name)()
        except Skipped as skipped:
            if str(skipped) == "it has no controls":  # a world need have none
                continue
            raise AssertionError(f"{name}: {skipped}") from skipped
