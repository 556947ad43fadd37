"""What devices call things is never markup: it breaks no command, and is printed as it is."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from sensorium.cli.main import app
from sensorium.ingest.store import Store

NAME = "[/red] [bold]kitchen[/] [link=x]:smile:"


@pytest.fixture
def store(make_episode: Any, tmp_path: Path) -> Path:
    with Store.open(tmp_path / "store") as opened:
        for ordinal, mission in enumerate((NAME, "plain")):
            made = make_episode({"imu": np.arange(20.0)}, ordinal=ordinal, mission=mission)
            assembly = opened.begin(made.episode)
            assembly.append(made.data)
            opened.commit(assembly, device="rig-1", identity="key-1")
        opened.discarded("rig-1", made.manifest.spool_id, [7], NAME)
    return tmp_path / "store"


@pytest.mark.parametrize("form", ["table", "json", "csv"])
@pytest.mark.parametrize("what", [["query"], ["query", "--group-by", "mission", "--agg", "count"]])
def test_a_mission_is_printed_as_it_is_called(store: Path, what: list[str], form: str) -> None:
    command, *rest = what
    found = CliRunner().invoke(app, [command, str(store), *rest, "--format", form])
    assert (found.exit_code, NAME in found.stdout, "plain" in found.stdout) == (0, True, True), found.output


@pytest.mark.parametrize("what", ["show", "ledger", "stats", "report", "verify"])
def test_nor_does_any_other_command_break(store: Path, what: str) -> None:
    with Store.open(store) as opened:
        episode = next(opened.path.glob("commits/*/*.json")).stem
    found = CliRunner().invoke(app, [what, str(store), *([episode] if what == "show" else [])])
    assert (found.exit_code, found.exception) == (0, None), found.output
    assert what in ("stats", "report", "verify") or "rig-1" in found.stdout
