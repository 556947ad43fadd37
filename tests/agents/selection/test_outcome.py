"""Outcomes: policies side by side over a store's traces; what was in force comes out as it was, over boots too."""

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from typer.testing import CliRunner

import sensorium
from sensorium.agents.selection.landscape import Landscape
from sensorium.agents.selection.logs import log_of, traced_logs
from sensorium.agents.selection.outcome import Comparison
from sensorium.agents.selection.policy_file import check_policy, read_policy
from sensorium.agents.selection.replay import SpoolLog
from sensorium.cli.main import app
from sensorium.corpus.kept import Kept
from sensorium.corpus.traces import TracedUnit
from sensorium.episode.unit import Judged, Look
from sensorium.errors import ConfigError
from sensorium.ingest.store import Store
from tests.agents.selection.test_chooser import steps
from tests.agents.selection.test_replay import lived
from tests.agents.selection.test_selector import policy
from tests.corpus.test_traces import damage
from tests.episode.traced import commit_trace

IN_FORCE = policy(share=0.3)


def log(boots: tuple[str, ...] = ("z", "a")) -> SpoolLog:
    """Two boots, the later of which has the name that sorts first; killed once."""
    given_ = [step for n, boot in enumerate(boots) for step in steps(90, n, boot)]
    return lived(given_, [(IN_FORCE, 40, 0), (IN_FORCE, 100, None), (IN_FORCE, 40, None)])


def store_of(path: Path, logged: SpoolLog, document: dict[str, Any] | None = None) -> Path:
    document = IN_FORCE.model_dump(mode="json") if document is None else document
    with Store.open(path) as store:
        for ordinal, first in enumerate(range(0, 180, 30)):
            commit_trace(store, logged.judged[first : first + 30], ordinal=ordinal, spool_id="spool", document=document)
    return path


def test_what_was_in_force_comes_out_as_it_was(tmp_path: Path) -> None:
    corpus = sensorium.open(store_of(tmp_path / "store", log()))
    (found,) = traced_logs(corpus)
    assert [each.unit.boot for each in found.log.judged] == ["z"] * 90 + ["a"] * 90
    assert found.told
    compared = Comparison([found], 8, Kept(corpus).bytes)
    was, same, none = compared.logged(), compared.outcome("same", IN_FORCE), compared.outcome("none", policy(share=0.0))
    assert (was.differing, same.differing, none.differing) == (0, 0, None)
    assert (was.kept, was.coverage, was.regret) == (same.kept, same.coverage, same.regret)
    assert 0.1 < was.share <= 0.3 + 18 / 180
    assert was.bytes == was.estimated_bytes == 1000 * len(was.kept), "there are no full episodes"
    assert (none.kept, none.coverage, none.effective, none.regret) == ([], 0.0, 0.0, 0.0)
    everything = compared.outcome("all", policy(share=1.0, always=("selection.any is null",)))
    assert len(everything.kept) < len(everything.judged), "what is gated stays out"
    assert everything.coverage == 1.0
    assert everything.regret == 0.0


def test_of_a_trace_that_is_damaged_it_says_what_that_makes_uncertain(tmp_path: Path) -> None:
    path = store_of(tmp_path / "store", log())
    lost = sensorium.open(path).query("kind = 'trace'", "ordinal")[2]
    damage(lost.path)
    found = CliRunner().invoke(app, ["policy", "replay", str(path)])
    assert found.exit_code == 0, found.output
    assert f"the trace {lost.id} is left out" in found.stderr
    assert (
        f"trace {lost.id}, are left out: what was kept and spent there is not known, so that 90 units" in found.stderr
    )
    assert "of 150 decisions are those logged; 90 were decided behind what is left out" in found.stdout
    whole = CliRunner().invoke(app, ["policy", "replay", str(store_of(tmp_path / "whole", log()))])
    assert "180 of 180 decisions are those logged\n" in whole.stdout
    assert not whole.stderr


def test_a_policy_of_another_release_is_told_and_not_decided_again(tmp_path: Path) -> None:
    other = IN_FORCE.model_dump(mode="json") | {"seed": 5}
    (found,) = traced_logs(sensorium.open(store_of(tmp_path / "store", log(), other)))
    assert not found.told
    assert Comparison([found], 8, lambda _: None).logged().differing is None


def test_a_condition_chooses_among_traces(tmp_path: Path) -> None:
    corpus = sensorium.open(store_of(tmp_path / "store", log()))
    (found,) = traced_logs(corpus, "ordinal < 2")
    assert len(found.traced) == 60
    assert traced_logs(corpus, "device = 'nobody'") == []


def test_of_merged_rows_all_units_count_as_what_they_were(tmp_path: Path) -> None:
    """Four of which one was kept are no four that were."""
    second = log().judged[0].unit.length_ns
    kept = next(each for each in log().judged if each.decision.reason == "novelty")
    span = msgspec.structs.replace(kept.unit, end_ns=kept.unit.start_ns + 4 * second)
    decision = msgspec.structs.replace(kept.decision, end_ns=span.end_ns)
    judged = msgspec.structs.replace(kept, unit=span, decision=decision)
    row = TracedUnit(judged=judged, count=4, reasons={"dull": 3, "novelty": 1})
    found = Comparison([log_of([row])], 8, lambda _: 100.0).logged()
    assert (found.units, found.kept_units, found.share, found.bytes) == (4, 1, 0.25, 100.0)
    assert found.reasons == {"dull": 3, "novelty": 1}
    all_of_it = msgspec.structs.replace(judged, decision=msgspec.structs.replace(decision, reason="whim"))
    row = TracedUnit(judged=all_of_it, count=4, reasons={"dull": 1, "whim": 3})
    assert Comparison([log_of([row])], 8, lambda _: None).logged().kept_units == 3


def looked(*numbers: int, hashes: tuple[int, ...] = ()) -> Look:
    return Look(by="maker", vector=np.array(numbers, np.int8).tobytes(), hashes=hashes)


def with_looks(judged: list[Judged], looks: list[dict[str, Look]]) -> list[Judged]:
    return [msgspec.structs.replace(each, looks=look) for each, look in zip(judged, looks, strict=True)]


def test_a_landscape_is_of_pictures_where_there_are_some() -> None:
    rows = {"imu": looked(9, 1)}
    east, north = {"cam": looked(90, 0, hashes=(1, 2))}, {"cam": looked(0, 90, hashes=(1, 2))}
    judged = with_looks(list(log().judged[:5]), [east | rows, north, rows, {}, east])
    land = Landscape(judged, 4)
    assert land.open.tolist() == [0, 1, 4]
    assert land.cells == [land.cells[4], land.cells[1], set(), set(), land.cells[0]]
    assert land.coverage([0, 4]) == 0.5
    assert land.regret([0, 4]) == 0.5
    assert land.coverage([0, 1, 2]) == 1.0
    assert land.effective([0, 4]) == pytest.approx(1.0)
    assert land.effective([0, 1]) == pytest.approx(2.0)
    alone = Landscape(with_looks(list(log().judged[:2]), [rows, {"imu": looked(1, 9)}]), 4)
    assert alone.open.tolist() == [0, 1]
    assert Landscape([], 4).coverage([]) == 1.0


POLICY = "kind: worth\nbudget: {share: 0.3}\n"


def test_the_command_compares_policies(tmp_path: Path) -> None:
    store = store_of(tmp_path / "store", log())
    (tmp_path / "p.yaml").write_text(POLICY + "trace: {bytes_per_s: 10}\nmax_waiting_bytes: 64MiB\n")
    (tmp_path / "q.yaml").write_text("device: rig\ntrigger:\n  budget: {share: 0.1}\n  seed: 3\n")
    words = ["policy", "replay", str(store), "--policy", str(tmp_path / "p.yaml"), "--policy", str(tmp_path / "q.yaml")]
    run = CliRunner().invoke(app, [*words, "--png", str(tmp_path / "a.png"), "--clusters", "8"])
    assert run.exit_code == 0, run.output
    assert "as it was: 180 of 180 decisions are those logged" in run.stdout
    assert "p.yaml: 180 of 180 decisions are those logged" in run.stdout
    assert "q.yaml:" not in run.stdout
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    was, same, less = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)
    assert {**was, "policy": ""} == {**same, "policy": ""}
    assert less["kept"] < was["kept"]
    assert less["bytes"] == less["estimated_bytes"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("budget: {share: 2}", "budget.share: input should be less than or equal to 1"),
        ("budget: {share: 0.1}\nseeed: 1", "seeed: unknown key, did you mean 'seed'?"),
        ("kind: interval", "is of a trigger 'interval', expected `worth`"),
        ("- 1", "expected the fields of the trigger"),
        ("a: [", "is not YAML"),
        ("seed: 1\nbudget: {share: 0.1}\nseed: 2", "line 3, column 1: seed is there already, on line 1"),
        ("trigger:\n  seed: 1\n  budget: {share: 0.1, share: 0.2}", "trigger.budget.share is there already, on line 3"),
        ("budget: {share: ${SENSORIUM_NONE}}", "${SENSORIUM_NONE}: there is no such variable"),
        ("budget: {share: 0.1}\nnever: [front.noise >]", "never"),
    ],
)
def test_a_policy_file_that_is_none_is_one_line(text: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        check_policy(read_policy(path), str(path))
    assert says in str(error.value)
    assert "\n" not in str(error.value)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_policy(tmp_path / "nowhere.yaml")


def test_a_store_without_traces_says_so(tmp_path: Path) -> None:
    with Store.open(tmp_path / "store"):
        pass
    run = CliRunner().invoke(app, ["policy", "replay", str(tmp_path / "store")])
    assert isinstance(run.exception, ConfigError)
    assert "no traces; give a --policy to score full episodes again by" in str(run.exception)
