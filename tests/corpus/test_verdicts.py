"""Verdicts over a store: each once for one code, kept whatever a verifier does, and taken up where they were cut."""

import json
import os
import shutil
import sys
import time
import uuid
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import sensorium
from sensorium.cli import verdicts as command
from sensorium.cli.main import app
from sensorium.corpus import verdicts as running
from sensorium.corpus import verifier
from sensorium.corpus.beside import read_beside
from sensorium.corpus.beside_catalog import enter_beside
from sensorium.corpus.verdicts import judge
from sensorium.corpus.verifier import verifier_of
from sensorium.corpus.verifier_child import Answer, answer
from sensorium.corpus.verify import verify
from sensorium.drivers.registry import kinds
from sensorium.errors import ConfigError, StoreError
from sensorium.ingest.mending import rebuild_catalog
from tests.corpus.odd_verifiers import BAD

HERE = "tests.corpus.odd_verifiers"


@pytest.fixture
def store(folders_path: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folders_path, tmp_path / "store"))


def lines(store: Path) -> int:
    return len(list(read_beside(store, "verdicts")))


def test_each_episode_is_judged_once_by_one_code(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[tuple[int, int]] = []
    records = judge(store, f"{HERE}:Rows", jobs=2, progress=lambda done, total: said.append((done, total)))
    assert said == [(done, 5) for done in range(6)]
    assert sorted(record.episode for record in records) == [episode.id for episode in sensorium.open(store).query()]
    assert {record.failed for record in records} == {None}
    corpus = sensorium.open(store)
    assert [episode.row["ordinal"] for episode in corpus.query("verdict('rows').passed")] == [1, 2, 3, 4]
    assert len(corpus.query("verdict('rows').passed is null")) == 1
    assert len(corpus.query("verdict('rows').components.wheel.rows = 15")) == 4
    assert judge(store, f"{HERE}:Rows") == []
    assert len(judge(store, f"{HERE}:Rows", "mission = 'hall'", redo=True)) == 3
    assert lines(store) == 8
    monkeypatch.setattr(verifier, "code_of", lambda _: "another")
    assert len(judge(store, f"{HERE}:Rows", "mission = 'hall'")) == 3
    (version,) = {
        each["rows"]["code"] for each in corpus.verdicts([e.id for e in corpus.query("mission = 'hall'")]).values()
    }
    assert version == "another"
    rebuild_catalog(store)
    assert [episode.row["ordinal"] for episode in corpus.query("verdict('rows').passed")] == [1, 2, 3, 4]
    assert not list(verify(store, deep=True))


ODD = {
    "Raises": "KeyError: 'no such thing'",
    "Dies": "its process was killed by SIGKILL",
    "Exits": "its process ended with status 3",
}
SAID = {
    "Raises": "KeyError: 'no such thing'",
    "NotANumber": "ValueError: a verdict: the score is nan, expected a finite number",
    "ReturnsText": "it returned str, expected a Verdict",
    "NoMemory": "MemoryError: it needs more memory than there is",
}


@pytest.mark.parametrize("kind", ODD)
def test_what_goes_wrong_is_kept_with_the_reason_and_others_go_on(store: Path, kind: str) -> None:
    records = judge(store, f"{HERE}:{kind}")
    failed = {record.failed for record in records if record.failed is not None}
    assert failed == {ODD[kind]}
    corpus = sensorium.open(store)
    assert [episode.row["ordinal"] for episode in corpus.query("verdict('odd').failed is not null")] == [BAD]
    assert len(corpus.query("verdict('odd').passed")) == 3
    assert judge(store, f"{HERE}:{kind}") == [], "it failed; it is judged again on request"


@pytest.mark.parametrize("kind", SAID)
def test_what_is_said_of_what_goes_wrong(folders_path: Path, kind: str) -> None:
    corpus = sensorium.open(folders_path)
    (bad,) = corpus.query(f"ordinal = {BAD}")
    assert answer(corpus, verifier_of(f"{HERE}:{kind}"), bad.id) == Answer(failed=SAID[kind])
    gone_by_now = answer(corpus, verifier_of(f"{HERE}:{kind}"), str(uuid.uuid4()))
    assert gone_by_now == Answer(failed="the episode is not in the store")


def test_one_that_hangs_is_ended_with_what_it_started(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    note = tmp_path / "child"
    monkeypatch.setenv("ODD_CHILD", str(note))
    records = judge(store, f"{HERE}:Hangs", timeout_s=6.0)
    assert [record.failed for record in records if record.failed] == ["it took longer than 6 s"]
    assert len(records) == 5
    for pid in map(int, note.read_text().split()):
        assert gone(pid)


def gone(pid: int) -> bool:
    """Within some seconds: whoever takes it over has to see to its end first."""
    deadline_s = time.monotonic() + 60
    while time.monotonic() < deadline_s:
        try:
            if "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text():
                return True
        except OSError:
            return True
        time.sleep(0.02)
    return False


def test_what_was_said_before_it_was_cut_off_is_kept(store: Path) -> None:
    def cut(done: int, _total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        judge(store, f"{HERE}:Rows", progress=cut)
    assert lines(store) == 3
    assert len(judge(store, f"{HERE}:Rows")) == 2
    assert lines(store) == 5
    assert not list(verify(store))


def test_what_a_killed_run_had_kept_but_not_entered_counts(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    enter = enter_beside
    calls: list[Path] = []

    def killed(path: Path) -> int:
        calls.append(path)
        if len(calls) > 1:
            raise StoreError("as if it was killed here")
        return enter(path)

    monkeypatch.setattr(running, "enter_beside", killed)
    with pytest.raises(StoreError):
        judge(store, f"{HERE}:Rows")
    monkeypatch.undo()
    assert judge(store, f"{HERE}:Rows") == []
    assert len(sensorium.open(store).query("verdict('rows').passed")) == 4


def test_a_damaged_episode_fails_and_is_named(store: Path) -> None:
    wheel = sensorium.open(store).query("has('wheel')")[0]
    (wheel.folder / "wheel" / "zarr.json").unlink()
    document = wheel.folder / "zarr.json"
    document.write_bytes(document.read_bytes()[:-20])
    (failed,) = [record for record in judge(store, f"{HERE}:Rows") if record.failed]
    assert failed.episode == wheel.id
    assert failed.failed is not None
    assert "run `sensorium verify`" in failed.failed


def test_what_cannot_be_asked_is_refused(store: Path) -> None:
    with pytest.raises(ConfigError, match="unknown verifier"):
        judge(store, "no-such")
    with pytest.raises(ConfigError, match="expected at least 1"):
        judge(store, f"{HERE}:Rows", jobs=0)
    with pytest.raises(StoreError, match="not a store"):
        judge(store / "commits", f"{HERE}:Rows")


def test_one_that_cannot_begin_there_is_an_error_and_no_verdict(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", shutil.which("false"))
    with pytest.raises(sensorium.SensoriumError, match="before it was ready"):
        judge(store, f"{HERE}:Rows")
    assert lines(store) == 0


SPINS = "import time\nwhile True:\n    time.sleep(0.001)\n"
SPINS_WHEN_MADE = f"""
import time
from {HERE} import Rows

class V(Rows):
    def __init__(self) -> None:
        while True:
            time.sleep(0.001)
"""


@pytest.mark.parametrize(("module", "text"), [("spins_imported", SPINS), ("spins_made", SPINS_WHEN_MADE)])
def test_one_that_hangs_where_it_is_imported_or_made_is_refused(
    folders_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, text: str
) -> None:
    (tmp_path / f"{module}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(verifier, "IMPORT_S", 0.05)
    with pytest.raises(
        ConfigError, match=rf"^verifier '{module}:V': was not imported and made within 0\.05 s; see to .*"
    ):
        judge(folders_path, f"{module}:V", timeout_s=0.01)
    sys.modules.pop(module, None)


def test_the_list_has_those_that_are_well_beside_one_that_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    known = kinds(verifier.GROUP)
    odd = EntryPoint("odd", "no_such_module:Odd", verifier.GROUP)
    for module in (verifier, command):
        monkeypatch.setattr(module, "kinds", lambda _: {"health": known["health"], "odd": odd})
    health, told = json.loads(run("verdicts", "--list", "--format", "json"))
    assert (health["name"], len(health["code"])) == ("health", 16)
    assert (told["name"], told["code"]) == ("odd", "")
    assert told["about"].startswith("verifier 'odd': cannot be imported: ModuleNotFoundError: No module named")


COMMANDS: dict[str, tuple[list[str], Callable[[str], bool]]] = {
    "table": ([], lambda out: "4 passed, 1 unknown" in out and "15 rows of the wheel" in out),
    "json": (["--format", "json"], lambda out: {each["verdict"]["passed"] for each in json.loads(out)} == {True, None}),
    "csv": (["--format", "csv"], lambda out: out.startswith("episode,passed,score,why\n") and out.count("\n") == 6),
}


@pytest.mark.parametrize("form", COMMANDS)
def test_the_command(store: Path, form: str) -> None:
    options, holds = COMMANDS[form]
    result = run("verdicts", str(store), "--verifier", f"{HERE}:Rows", *options)
    assert holds(result), result


def test_a_module_in_the_folder_where_it_is_started_is_found(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = "verifier_in_this_folder"
    (tmp_path / f"{module}.py").write_text(f"from {HERE} import Rows\n\n\nclass Mine(Rows):\n    name = 'mine'\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [each for each in sys.path if each not in ("", str(tmp_path))])
    try:
        assert "4 passed, 1 unknown" in run("verdicts", str(store), "--verifier", f"{module}:Mine")
    finally:
        sys.modules.pop(module, None)


def test_show_and_query_tell_verdicts(store: Path) -> None:
    assert "nothing to judge" not in run("verdicts", str(store), "--verifier", f"{HERE}:Rows")
    assert "nothing to judge" in run("verdicts", str(store), "--verifier", f"{HERE}:Rows")
    found = json.loads(run("query", str(store), "--where", "verdict('rows').score > 1", "--format", "json"))
    assert [each["verdicts"]["rows"]["verdict"]["score"] for each in found] == [1.5] * 4
    shown = run("show", str(store), found[0]["episode"])
    assert "verdicts" in shown
    assert "15 rows of the wheel" in shown
    assert json.loads(run("show", str(store), found[0]["episode"], "--format", "json"))["verdicts"].keys() == {"rows"}


def run(*words: str) -> str:
    result: Any = CliRunner().invoke(app, list(words), catch_exceptions=False, env={**os.environ})
    assert result.exit_code == 0, result.output
    return str(result.output)
