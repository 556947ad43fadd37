"""JSON by either word, everywhere: `--json`, and `--format json`, say the same."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

from sensorium.cli.json_words import FORMAT, JSON
from sensorium.cli.main import app
from sensorium.ingest.store import Store


def commands(command: Any, *names: str) -> Iterator[tuple[str, set[str]]]:
    """All that can be run, by its words, and its options."""
    if not hasattr(command, "list_commands"):
        yield " ".join(names), {word for param in command.params for word in param.opts}
        return
    for name in command.list_commands(None):
        yield from commands(command.get_command(None, name), *names, name)


def test_who_takes_one_word_takes_the_other() -> None:
    found = dict(commands(typer.main.get_command(app)))
    assert {name for name, words in found.items() if len(words & {FORMAT, JSON}) == 1} == set()
    both = {name for name, words in found.items() if {FORMAT, JSON} <= words}
    assert {"query", "why", "fetch", "mission show", "campaign show", "fleet", "sim list", "spool"} <= both
    assert "collect" not in both


@pytest.mark.parametrize(
    "words",
    [["query", "store"], ["ledger", "store"], ["fleet", "store"], ["mission", "list", "store"], ["sim", "list"]],
    ids=" ".join,
)
def test_both_say_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    monkeypatch.chdir(tmp_path)
    Store.open("store").close()
    said = [CliRunner().invoke(app, [*words, *how]).output for how in ([JSON], [FORMAT, "json"])]
    assert said[0] == said[1]
    json.loads(said[0])
    refused = CliRunner().invoke(app, [*words, FORMAT, "yaml"])
    assert refused.exit_code == 2
