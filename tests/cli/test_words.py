"""What commands say: a count of one is said as one, and progress is shown to nobody who cannot see it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import sensorium.cli.main
from tests.spine.test_layout import ROOT

CLI = Path(sensorium.cli.main.__file__).parent
SAYING = ("agents/delivery.py", "agents/planning/saying.py", "corpus/best_and_worst.py", "corpus/report.py")
"""What these say, commands print."""
COUNTED = frozenset(
    [
        "actions",
        "attempts",
        "cells",
        "decisions",
        "devices",
        "episodes",
        "findings",
        "folders",
        "groups",
        "inodes",
        "labels",
        "lines",
        "places",
        "plans",
        "rollouts",
        "rows",
        "samples",
        "steps",
        "streams",
        "units",
        "verdicts",
        "windows",
    ]
)
MOST_APART = 2
"""So many words there may be between a count and what is counted ("5 new cells")."""


def trees() -> Iterator[tuple[str, ast.Module]]:
    for path in (*sorted(CLI.glob("*.py")), *(ROOT / each for each in SAYING)):
        yield path.name, ast.parse(path.read_text())


def by_hand(tree: ast.Module) -> Iterator[int]:
    """Lines in which a value stands before a plural, as if it could not be 1."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.JoinedStr):
            continue
        for value, text in zip(node.values, node.values[1:], strict=False):
            if isinstance(value, ast.FormattedValue) and isinstance(text, ast.Constant):
                words = str(text.value).split(" ")
                if words[0] == "" and not _is_name(value.value) and COUNTED & set(words[1 : 1 + MOST_APART]):
                    yield value.lineno


def _is_name(value: ast.expr) -> bool:
    """What quotes a name, and no count: `sensorium directives list`."""
    return isinstance(value, ast.Name) and value.id in {"name", "path"}


def test_a_count_of_one_is_said_as_one() -> None:
    found = [f"{name}:{line}" for name, tree in trees() for line in by_hand(tree)]
    assert not found, f"use sensorium.episode.plural.many: {found}"


def test_progress_is_for_terminals() -> None:
    """Else it ends up in what a script reads."""
    made = [
        (name, node)
        for name, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Progress"
    ]
    assert len(made) > 10
    lacking = [name for name, call in made if "disable" not in {each.arg for each in call.keywords}]
    assert not lacking
