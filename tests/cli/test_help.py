"""What `--help` says teaches by an example, of commands and options that there are."""

import re
import shlex
from collections.abc import Iterator
from typing import Any

import typer.main

from sensorium.cli.main import app
from tests.spine.test_layout import check_command

UNLESS_NAMED = {"demo": "selection", "plan": "run", "rollouts": "run"}
"""The command that is meant where a group is followed by none."""


def helps(command: Any, *names: str, above: str = "") -> Iterator[tuple[str, str]]:
    """By its words, what each command says of itself, and its group of all in it."""
    said = f"{above}\n{command.help or ''}"
    if not hasattr(command, "list_commands"):
        yield " ".join(names), said
        return
    for name in command.list_commands(None):
        yield from helps(command.get_command(None, name), *names, name, above=said if names else "")


def examples(said: str) -> list[str]:
    """The lines that begin as one types them, without what is said of them behind."""
    found = re.findall(r"^ *(?:\[bold\])?sensorium ([a-z][^\n[]*)", said, re.MULTILINE)
    return [re.split(r"\s{3,}| # | \\", line)[0] for line in found]


def test_every_command_has_an_example_and_what_it_shows_is_there() -> None:
    top = typer.main.get_command(app)
    without = set()
    for name, said in helps(top):
        lines = [line for line in examples(said) if line.startswith(name.partition(" ")[0])]
        if not lines and f"sensorium {name}" not in said:
            without.add(name)
        for line in lines:
            words = shlex.split(line)
            group, *rest = words
            if group in UNLESS_NAMED and not (rest and top.get_command(None, group).get_command(None, rest[0])):  # type: ignore[attr-defined]
                words = [group, UNLESS_NAMED[group], *rest]
            check_command(top, words, line)
    assert not without
