"""How a report of rollouts is printed: what was not accepted is told apart, and CSV has the numbers."""

import csv
import doctest
import io
from pathlib import Path

import pytest

from sensorium.cli import rollouts
from sensorium.cli.screen import Format
from sensorium.sim.rollouts.report import report_of
from tests.sim.rollouts.building import ACTS, rolled, task_file


def test_examples_hold() -> None:
    results = doctest.testmod(rollouts)
    assert (results.failed, results.attempted) == (0, 1)


def test_a_report_says_what_is_unknown_and_csv_has_every_number(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rolled(task_file(tmp_path, policies=["scripted", f"{ACTS}:raises"], verifier=f"{ACTS}:Falters"))
    capsys.readouterr()
    rollouts.report(tmp_path / "store", form=Format.CSV)
    scripted, raises = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert (scripted["pass_at.1"], scripted["pass_at.4"], scripted["unknown"]) == ("0.5", "1.0", "2")
    assert float(scripted["cost.bytes"]) == 2 * float(scripted["cost_per_accepted.bytes"]) > 0
    assert (raises["accepted"], raises["cost_per_accepted.bytes"], raises["groups"]) == ("0", "", "1")
    rows = [rollouts._cells(row)[-1] for row in report_of(tmp_path / "store")["cells"]]
    assert rows == ["2 unknown", "no signal, 4 failed"]
