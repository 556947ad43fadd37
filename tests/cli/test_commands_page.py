"""docs/commands.md has what every command prints."""

import re
from typing import Any

import typer.main

from sensorium.cli.main import app
from tests.cli.commands_page import PAGE


def test_each_command_is_there_with_what_it_prints() -> None:
    parts = re.split(r"^## (.+)\n", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    told = dict(zip(parts[1::2], parts[2::2], strict=True))
    assert set(told) == set(commands(typer.main.get_command(app))), "write it anew: python -m tests.cli.commands_page"
    for name, said in told.items():
        assert re.search(r"```text[^\n]*\n[^`]", said), name
        assert "pip install" not in said, "it is shown at work"


def commands(command: Any, *names: str) -> list[str]:
    """All that can be run, by its words."""
    if not hasattr(command, "list_commands"):
        return [" ".join(names)]
    return [
        each for name in command.list_commands(None) for each in commands(command.get_command(None, name), *names, name)
    ]
