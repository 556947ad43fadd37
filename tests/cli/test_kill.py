"""`sensorium kill`: the switch is where the charter says, is made once, and is taken away again."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sensorium.cli.main import app

DEVICE = """
device: rig-1
sensors: {sim: {kind: sim-planar}}
trigger: {kind: interval, length_s: 10}
"""


def run(*args: object) -> str:
    result = CliRunner().invoke(app, ["kill", *map(str, args)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize(("charter", "switch"), [("", "KILL"), ("kill: HALT\n", "rules/HALT"), (None, "KILL")])
def test_the_switch_is_beside_the_charter(tmp_path: Path, charter: str | None, switch: str) -> None:
    (tmp_path / "rules").mkdir()
    where = "rules/charter.yaml" if charter else "charter.yaml"
    device = tmp_path / "rig.yaml"
    device.write_text(DEVICE + (f"charter: {where}\n" if charter is not None else ""))
    if charter is not None:
        (tmp_path / where).write_text(charter)
    assert "no plan is carried out" in run(device)
    said = (tmp_path / switch).read_bytes()
    run(device)
    assert (tmp_path / switch).read_bytes() == said, "it says since when"
    assert "again" in run(device, "--off")
    assert not (tmp_path / switch).exists()
    (told,) = json.loads(run(device, "--off", "--format", "json"))
    assert told == {"device": "rig-1", "killed": False, "switch": str(tmp_path / switch)}
