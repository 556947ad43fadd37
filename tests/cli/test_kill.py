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


@pytest.mark.parametrize(
    ("charter", "switch"),
    [
        (b"kill: HALT\nplans: {allow: [fly]}\n", "HALT"),
        (b"kill: [HALT]\n", "KILL"),
        (b"kill: HALT\nplans: {\n", "KILL"),
        (b"\xff\x00", "KILL"),
        (b"no: mapping: at all", "KILL"),
        (None, "KILL"),
    ],
)
def test_a_charter_with_mistakes_keeps_nobody_from_the_switch(
    tmp_path: Path, charter: bytes | None, switch: str
) -> None:
    device = tmp_path / "rig.yaml"
    device.write_text(DEVICE + "charter: charter.yaml\nobey: {operator: gone.operator, may: [plan]}\n")
    if charter is not None:
        (tmp_path / "charter.yaml").write_bytes(charter)
    run(device)
    assert (tmp_path / switch).exists()
    run(device, "--off")
    assert not (tmp_path / switch).exists()
