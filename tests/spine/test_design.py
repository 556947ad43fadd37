"""docs/design.md is true: what it points to exists, the walk of a block is short, every invariant has tests."""

import re

from tests.spine.test_layout import ROOT, modules

TEXT = (ROOT / "docs" / "design.md").read_text()


def section(title: str) -> str:
    """The text under a heading."""
    return TEXT.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def links(text: str) -> list[str]:
    return re.findall(r"\]\(([^)#]+)\)", text)


def test_what_it_points_to_exists() -> None:
    assert len(links(TEXT)) > 40
    for target in links(TEXT):
        assert (ROOT / "docs" / target).exists(), target


def test_one_block_is_followed_in_at_most_twelve_files_each_step_a_link() -> None:
    walk = section("One block, from the driver to the reader")
    steps = re.findall(r"^\d+\. (.*)$", walk, re.MULTILINE)
    assert len(steps) >= 8
    assert all(step.startswith("[") for step in steps)
    assert len(set(links(walk))) <= 12


def test_each_of_the_ten_invariants_names_tests_that_hold_it() -> None:
    rows = re.findall(r"^\| (\d+) \|(.*)$", section("What must always hold"), re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, 11))
    for number, row in rows:
        assert any("/tests/" in target for target in links(row)), number


def test_every_thread_that_is_started_is_in_the_table() -> None:
    table = section("Threads, and who hears of their death")
    started = set()
    for path in modules():
        if path.name not in ("testing.py", "threads.py"):
            started |= set(re.findall(r"\b(?:Thread|Pool)\(\s*f?\"([a-z][a-z -]*)", path.read_text()))
    assert len(started) > 10
    for name in started:
        assert f"`{name.strip('- ')}" in table or f"`{name}" in table, name
