"""docs/reliability.md is true: every promise names tests that exist, and what is not promised is said too."""

import re

from tests.spine.test_design import links
from tests.spine.test_layout import ROOT

TEXT = (ROOT / "docs" / "reliability.md").read_text()


def test_every_promise_names_tests_that_exist() -> None:
    rows = [row for row in TEXT.split("## Not promised")[0].splitlines() if row.startswith("| ")][1:]
    assert len(rows) > 10
    for row in rows:
        named = links(row)
        assert named, row
        for target in named:
            assert (ROOT / "docs" / target).is_file(), target
            assert "/tests/" in target


def test_what_it_points_to_exists_and_what_is_not_promised_is_said() -> None:
    for target in links(TEXT):
        assert (ROOT / "docs" / target).exists(), target
    assert len(re.findall(r"^- \*\*", TEXT.split("## Not promised")[1], re.MULTILINE)) >= 5
