"""`sensorium pack`: what it says, as a line, JSON and CSV, and how it ends."""

import csv
import io
import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from sensorium.cli.main import app
from sensorium.cli.pack import seconds
from sensorium.episode import durable
from sensorium.errors import ConfigError, StoreError
from sensorium.ingest.store import Store
from sensorium.threads import Thread


@pytest.fixture
def store(make_episode: Any, tmp_path: Path) -> Path:
    """Two small episodes that are folders."""
    with Store.open(tmp_path / "store", small_bytes=0) as opened:
        for number in range(2):
            made = make_episode({"imu": np.arange(20.0)}, ordinal=number)
            assembly = opened.begin(made.episode)
            assembly.append(made.data)
            opened.commit(assembly, device="rig-1", identity="key-1")
    return tmp_path / "store"


def run(store: Path, *words: str, expect: int = 0) -> Result:
    result = CliRunner().invoke(app, ["pack", str(store), "--grace", "0s", *words])
    assert result.exit_code == expect or isinstance(result.exception, Exception), result.output
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_it_says_what_would_be_saved_and_what_was(store: Path) -> None:
    plan = run(store, "--older-than", "0s", "--dry-run").stdout
    assert plan.startswith("2 episodes would be packed: ")
    done = run(store, "--older-than", "0s").stdout
    assert done.replace("packed", "would be packed") == plan
    assert "inodes become 4" in done
    assert run(store, "--older-than", "0s").stdout.startswith("0 episodes packed: 0 inodes become 0")


def test_as_json_and_csv(store: Path) -> None:
    (as_csv,) = csv.DictReader(io.StringIO(run(store, "--older-than", "0s", "--dry-run", "--format", "csv").stdout))
    assert (as_csv["episodes"], as_csv["inodes_after"], as_csv["left"]) == ("2", "4", "0")
    (row,) = json.loads(run(store, "--older-than", "0s", "--format", "json").stdout)
    assert row.keys() == as_csv.keys()
    assert (row["episodes"], row["inodes_after"], row["left"], row["dry_run"]) == (2, 4, [], False)
    assert row["inodes_before"] > row["inodes_after"]
    assert row["disk_bytes_before"] > row["disk_bytes_after"] > 0


def test_what_is_damaged_is_named_and_the_exit_is_1(store: Path) -> None:
    shard = next((store / "episodes.zarr").glob("*/*/imu/data/c.0"))
    shard.write_bytes(b"1")
    said = run(store, "--older-than", "0s", expect=1).stdout
    assert said.startswith("1 episode packed: ")
    assert f"left as it is: {shard}: is 1 bytes, expected" in said
    (row,) = json.loads(run(store, "--older-than", "0s", "--format", "json", expect=1).stdout)
    assert [each["where"] for each in row["left"]] == [str(shard)]
    assert row["left"][0]["next step"]


def test_what_is_younger_or_larger_stays(store: Path) -> None:
    for words in (["--older-than", "1d"], ["--older-than", "0s", "--small", "100"]):
        assert run(store, *words).stdout.startswith("0 episodes packed: ")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--older-than", "soon"], "--older-than 'soon': expected a length of time, as 30d"),
        (["--older-than", "-1d"], "--older-than '-1d'"),
        (["--older-than", "0s", "--grace", "9"], "--grace '9': expected"),
        (["--older-than", "0s", "--small", "small"], "--small 'small': expected a size, as 8MB"),
        (["--older-than", "0s", "--small", "1GB"], "--small '1GB': at most 256MB, as each such episode is held"),
    ],
)
def test_wrong_use_is_said(store: Path, words: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said.replace("(", r"\(")):
        run(store, *words)


def test_one_bound_for_what_is_small(tmp_path: Path) -> None:
    said = []
    for words in (["ingest", "--store", str(tmp_path / "new")], ["pack", str(tmp_path / "new"), "--older-than", "0"]):
        result = CliRunner().invoke(app, [*words, "--small", "5GB"])
        assert isinstance(result.exception, ConfigError)
        said.append(str(result.exception))
    assert said == ["--small '5GB': at most 256MB, as each such episode is held in memory"] * 2
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("form", ["table", "json"])
def test_interrupted_it_says_what_it_did_and_what_stays(
    store: Path, form: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sleep(_: float) -> None:
        os.kill(os.getpid(), number)

    handler = signal.getsignal(number)
    with monkeypatch.context() as patch:
        patch.setattr(time, "sleep", sleep)
        said = run(store, "--older-than", "0", "--grace", "1h", "--format", form, expect=130).stdout
    assert signal.getsignal(number) is handler
    until = max(json.loads(path.read_bytes())["loose_until_utc"] for path in (store / "commits").glob("*/*.json"))
    if form == "json":
        (row,) = json.loads(said)
        assert (row["episodes"], row["inodes_saved"], row["interrupted"]) == (2, -2, True)
        assert (row["folders_left"], row["folders_left_until_utc"]) == (2, until)
    else:
        first, stay, last = said.splitlines()
        assert first.startswith("2 episodes packed: ")
        assert first.endswith("; 0 inodes and 0 B saved so far")
        assert stay == (
            f"2 folders left until {until}, to those who read there already;"
            " the next `sensorium pack`, or start of the ingest, after that removes what is left"
        )
        assert last.startswith("interrupted; ")
        again = run(store, "--older-than", "0").stdout.splitlines()
        assert again[0].startswith("0 episodes packed: ")
        assert again[1:] == [stay]
        now = time.time_ns()
        monkeypatch.setattr(time, "time_ns", lambda: now + 3601 * 10**9)
        end, removed = run(store, "--older-than", "0").stdout.splitlines()
        assert removed.startswith("2 folders removed, those of earlier runs too: ")
        assert end.partition("; ")[2].removesuffix(" saved") == removed.partition(": ")[2].removesuffix(" freed")


def test_a_disk_that_fails_on_the_way_takes_nothing_from_what_is_said(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(durable, "remove_tree", fails)
    result = CliRunner().invoke(app, ["pack", str(store), "--older-than", "0", "--grace", "0s"])
    assert isinstance(result.exception, StoreError)
    assert result.stdout.startswith("2 episodes packed: ")
    assert "2 folders left until " in result.stdout


def test_an_ingest_at_work_does_it(store: Path) -> None:
    done = threading.Event()
    with Store.open(store) as held:

        def serve() -> None:
            while not done.wait(0.01):
                held.carry_out_requests()

        serving = Thread("courier", "does what is asked", serve, lambda _: None)
        result = run(store, "--older-than", "0s", "--grace", "0s")
        done.set()
        assert serving.join(60.0)
    assert result.stdout.startswith("2 episodes packed: ")


def test_lengths_of_time() -> None:
    assert [seconds(text, "") for text in ("2w", "1.5 h", "15min", "3s")] == [14 * 86400, 5400, 900, 3]
