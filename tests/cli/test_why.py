"""`sensorium why`, and what `show` and `ledger` tell from a trace, on what an agent with `worth` has recorded."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

import sensorium
from sensorium.cli.main import app
from tests.agents.recording.tracing import delivered
from tests.agents.test_traced import agent


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One in which something was dropped before an episode: what chance keeps differs from spool to spool."""
    for _ in range(10):
        folder = tmp_path_factory.mktemp("traced")
        agent(folder, share=0.25).run()
        delivered(folder / "spool", folder / "store")
        if any(_dropped(each.between) for each in sensorium.open(folder / "store").query()):
            break
    return folder / "store"


def said(*words: object) -> str:
    found = CliRunner().invoke(app, [*map(str, words)], env={"COLUMNS": "200"})
    assert found.exit_code == 0, found.output
    return found.stdout


def test_why_says_a_sentence_and_all_of_it_as_json(store: Path) -> None:
    reasons = set()
    for second in range(12):
        sentence = said("why", store, "rig", f"{second}.5")
        (found,) = json.loads(said("why", store, "rig", f"{second}.5", "--json"))
        assert found["sentence"] == sentence.rstrip("\n")
        judged = found["judged"]
        assert sentence.startswith(f"rig, {second} s to ")
        assert f" s: {'kept' if judged['kept'] else 'dropped'}, {judged['reason']}: " in sentence
        assert bool(found["episodes"]) == judged["kept"]
        assert judged["scores"]
        assert judged["count"] == 1
        reasons.add(judged["kept"])
    assert reasons == {True, False}
    assert "nothing is known" in said("why", store, "rig", "99")


def test_why_of_what_it_cannot_know_is_one_line(store: Path) -> None:
    for words, says in ((("rog", "1"), "did you mean 'rig'"), (("rig", "soon"), "expected UTC as")):
        found = CliRunner().invoke(app, ["why", str(store), *words])
        assert found.exit_code != 0
        assert says in str(found.exception)


def test_show_and_ledger_tell_what_was_judged(store: Path) -> None:
    traces = sensorium.open(store).query("kind = 'trace'")
    shown = said("show", store, traces[0].id)
    assert re.search(r"kind +trace", shown)
    assert re.search(r"judged: .*\(\d+ s\)", shown)
    (ledger,) = json.loads(said("ledger", store, "--format", "json"))
    assert sum(ledger["judged"].values()) == pytest.approx(12, abs=0.1)
    assert "judged" in said("ledger", store)
    dropped = [each for each in sensorium.open(store).query() if _dropped(each.between)]
    for episode in dropped:
        assert re.search(r"judged before it, .* s to .* s: .*\(\d+ s\)", said("show", store, episode.id))
    assert dropped


def _dropped(between: dict[str, dict[str, dict[str, int]]]) -> bool:
    return any(rule.startswith("selection.") for each in between.values() for rule in each["filtered"])
