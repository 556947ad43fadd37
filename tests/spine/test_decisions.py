"""The records of decisions stand alone: each has its parts, and what it points to exists."""

import re
from pathlib import Path

import pytest

from tests.spine.test_layout import ROOT

RECORDS = sorted((ROOT / "docs" / "adr").glob("*.md"))
PARTS = ["Context", "Decision", "Measured", "Consequences"]


def test_they_are_numbered_without_a_gap() -> None:
    assert [int(path.name.partition("-")[0]) for path in RECORDS] == list(range(1, len(RECORDS) + 1))


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.name)
def test_a_record_has_its_parts_and_points_to_what_exists(path: Path) -> None:
    text = path.read_text()
    assert re.match(rf"# {int(path.name.partition('-')[0])}\. \S", text)
    assert re.search(r"^Decided 20\d\d-\d\d-\d\d[.;]", text, re.MULTILINE), "when it was decided"
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == PARTS
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert (path.parent / target).exists(), target
    assert not re.search(r"\b(DESIGN|STYLE|FACTS|[Ii]ssue|#\d)\b", text), "it leans on what a reader does not have"
