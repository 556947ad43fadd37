"""`sensorium why`, and what `show` and `ledger` tell from a trace, on what an agent with `worth` has recorded."""

import json
import re
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

import sensorium
from sensorium.cli.main import app
from tests.agents.recording.tracing import delivered
from tests.agents.test_traced import agent
from tests.corpus.test_traces import damage


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


def test_what_is_estimated_is_told_as_a_table_and_as_json(store: Path) -> None:
    """Of what traces say of every unit it is nearly what it is, whatever was drawn."""
    told = said("estimate", store, "sim.cam.noise")
    assert re.search(r"mean  +\S+", told)
    assert re.search(r"from  \d+ draws of \d+ units; outside: ", told)
    found = json.loads(said("estimate", store, "novelty.sim.cam > 0.5", "--where", "device = 'rig'", "--json"))
    assert found["units"] <= 12
    assert set(found) == {"total", "mean", "total_beside", "mean_beside", "units", "outside"}
    for words, says in (
        (("sim.cam.nois",), "did you mean 'sim.cam.noise'"),
        (("score >",), "expected"),
        (("score", "--where", "device = 'rog'"), "no traces for which device = 'rog'"),
        (("score", "--where", "devise = 'rig'"), "did you mean 'device'"),
    ):
        wrong = CliRunner().invoke(app, ["estimate", str(store), *words])
        assert wrong.exit_code != 0
        assert says in str(wrong.exception)


def test_a_damaged_trace_is_named_and_left_out_by_every_command(store: Path, tmp_path: Path) -> None:
    broken = tmp_path / "store"
    shutil.copytree(store, broken)
    traces = sensorium.open(broken).query("kind = 'trace'")
    for trace in traces:
        damage(trace.path)
    for words in (("estimate", broken, "score"), ("ledger", broken), ("why", broken, "rig", "1.5")):
        found = CliRunner().invoke(app, [*map(str, words)], env={"COLUMNS": "200"})
        assert found.exception is None or isinstance(found.exception, SystemExit), words
        assert found.exit_code == (words[0] == "why"), words
    (episode,) = sensorium.open(broken).query("", "start_ns", 1)
    assert CliRunner().invoke(app, ["show", str(broken), episode.id]).exit_code == 0
    replayed = CliRunner().invoke(app, ["policy", "replay", str(broken), "--traces"])
    assert "no traces in which anything could be judged" in str(replayed.exception)
    assert traces[0].id in replayed.stderr


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
