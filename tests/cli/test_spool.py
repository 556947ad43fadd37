"""`sensorium spool`: what waits and why, and what to do with what was set aside, by folder or device file."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from sensorium.agents.spool.spool import Spool
from sensorium.cli.main import app
from sensorium.episode.documents import Account
from sensorium.errors import ConfigError, SpoolError
from tests.agents.building import begin, chunk
from tests.agents.recording.tracing import writer
from tests.episode.judged import judged


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    """Two episodes that were rejected, and one that waits."""
    opened = Spool(tmp_path / "spool", "rig")
    for number in range(3):
        episode, file = begin(opened)
        file.append(*chunk(0))
        file.seal("complete", {"imu": 1}, {"imu": Account(captured=1, stored=1)}, {}, 10**9)
        opened.flush()
        if number < 2:
            opened.rejected(episode, "conflict", "said the server")
    opened.close()
    return tmp_path / "spool"


def run(*words: object) -> str:
    result = CliRunner().invoke(app, ["spool", *map(str, words)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def rows(*words: object) -> Any:
    return json.loads(run(*words, "--format", "json"))


def test_it_shows_what_waits_and_what_was_rejected_and_why(spool: Path) -> None:
    found = rows(spool)
    assert [(each["state"], each["why"], each["former_spool_id"]) for each in found["episodes"]] == [
        *[("discarded", "rejected (conflict): said the server", None)] * 2,
        ("pending", "", None),
    ]
    assert all((spool / each["file"]).is_file() for each in found["episodes"])
    assert found["counts"] == {"discarded": 2, "pending": 1}
    assert found["former_spool_ids"] == []
    assert "rejected (conflict): said the server" in run(spool)


def test_it_shows_of_what_kind_an_episode_is(tmp_path: Path) -> None:
    opened = Spool(tmp_path / "spool", "rig")
    begin(opened)
    traced = writer(opened)
    traced.log(judged(0))
    traced.stop()
    opened.flush()
    opened.close()
    assert [each["kind"] for each in rows(tmp_path / "spool")["episodes"]] == ["full", "trace"]
    assert "trace" in run(tmp_path / "spool")


def test_a_device_file_does_as_well(spool: Path) -> None:
    sensors = {"sim": {"kind": "sim-planar", "pace": "fast"}}
    document = {
        "device": "rig",
        "spool": {"path": "spool"},
        "sensors": sensors,
        "trigger": {"kind": "interval", "length_s": 1},
    }
    device = spool.parent / "rig.yaml"
    device.write_text(yaml.safe_dump(document))
    assert rows(device) == rows(spool)


def test_retry_export_and_discard(spool: Path, tmp_path: Path) -> None:
    first, second = (each["episode"] for each in rows(spool)["episodes"][:2])
    (exported,) = rows("export", spool, first, "--to", tmp_path / "out")
    assert (tmp_path / "out" / f"{first}.episode").stat().st_size == exported["bytes"]
    (again,) = rows(spool, "retry", first[:20])
    assert (again["episode"], again["ordinal"], again["done"]) == (first, 0, "waits for delivery again")
    (deleted,) = rows(spool, "discard", "--all")
    assert (deleted["episode"], deleted["done"]) == (second, "deleted")
    assert run(spool, "retry") == "nothing was set aside\n"
    assert rows(spool, "retry") == []
    assert [each["state"] for each in rows(spool)["episodes"]] == ["pending", "discarded", "pending"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("discard",), "name the episodes, or give --all"),
        (("discard", "0", "--all"), "name the episodes, or give --all"),
        (("export",), "give --to FOLDER"),
        (("resend",), "'resend' is none of retry, export, discard"),
        (("retry", "zzz"), "begins with 'zzz'"),
    ],
)
def test_wrong_use_says_what_to_do(spool: Path, words: tuple[str, ...], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        run(spool, *words)


def test_not_without_a_spool(tmp_path: Path) -> None:
    with pytest.raises(SpoolError, match="no spool here"):
        run(tmp_path, "retry")


def test_help_teaches() -> None:
    text = run("--help")
    for word in ("retry", "export --to", "discard EPISODE", "rejected"):
        assert word in text
