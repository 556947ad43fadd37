"""A campaign in this process, from world to store: judged, closed, accounted for; what fails is told and goes on."""

import math
import sqlite3
import statistics
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import sensorium
from sensorium.corpus.beside import read_beside
from sensorium.errors import ConfigError
from sensorium.sim.replaying import replay
from sensorium.sim.rollouts.plan import ADVANTAGES, read_campaigns
from sensorium.sim.rollouts.report import report_of
from sensorium.sim.rollouts.report_picture import picture_of
from sensorium.sim.worlds.cart import Cart, CartConfig
from sensorium.sim.worlds.world import Observation, World
from tests.former_catalog import as_former
from tests.sim.rollouts.building import ACTS, rolled, task_file

UPRIGHT = f"{ACTS}:Upright"


def advantages(store: Path) -> list[dict[str, Any]]:
    return [each.record for each in read_beside(store, ADVANTAGES) if each.record is not None]


def test_from_world_to_advantages(tmp_path: Path) -> None:
    file = task_file(
        tmp_path,
        tasks={"balance": "calm", "catch": "rough"},
        policies=["random", f"{ACTS}:holds"],
        verifier=UPRIGHT,
        hidden={"verifier": f"{ACTS}:Strict", "share": 0.5},
        budget={"rollouts": 6, "group": 3},
        encodings={"calm": {"state": {"codec": "lossless"}}},
    )
    progress = rolled(file).progress()
    assert (progress.planned, progress.done, progress.left, progress.groups, progress.closed) == (22, 22, 0, 6, 6)
    store = tmp_path / "store"
    corpus = sensorium.open(store)
    episodes = {episode.id: episode for episode in corpus.query("mission = 'carts'")}
    assert len(episodes) == 22

    records = advantages(store)
    assert {record["episode"] for record in records} == set(episodes)
    for closed in read_campaigns(store)["carts"].closed.values():
        mine = [record for record in records if record["group"] == closed.group]
        assert [record["index"] for record in mine] == list(range(closed.n))
        raw = []
        for record in mine:
            rewards = episodes[record["episode"]].streams["world.reward"]
            raw.append(math.fsum(rewards[: len(rewards.captured_ns)][:, 0].tolist()))
            labels = episodes[record["episode"]].labels
            assert [labels[name] for name in ("group", "index", "attempt", "seed")] == [
                record[name] for name in ("group", "index", "attempt", "seed")
            ]
        assert [record["reward"] for record in mine] == raw == list(closed.rewards)
        assert closed.mean == pytest.approx(statistics.fmean(raw))
        assert closed.deviation == pytest.approx(statistics.stdev(raw))
        for record, reward in zip(mine, raw, strict=True):
            expected = 0.0 if not closed.deviation else (reward - statistics.fmean(raw)) / statistics.stdev(raw)
            assert record["advantage"] == pytest.approx(expected)
        said = [corpus.verdicts([record["episode"]])[record["episode"]]["upright"] for record in mine]
        assert closed.passed == sum(each["verdict"]["passed"] for each in said)

    report = report_of(store)
    (campaign,) = report["campaigns"]
    assert (campaign["ended"], campaign["counted"], campaign["uncounted"], campaign["gone"]) == (True, 22, 0, 0)
    hidden = campaign["hidden"]
    assert 0 < hidden["judged"] < 22
    assert hidden["disagree"] == hidden["accepted_alone"] + hidden["rejected_alone"]
    for cell in report["cells"]:
        assert cell["n"] == 4
        assert cell["cost"]["bytes"] == sum(
            episode.row["bytes"]
            for episode in episodes.values()
            if (episode.labels["world"], episode.labels["policy"], episode.labels["task"])
            == ("sim-cart", cell["policy"], cell["task"])
        )
    assert picture_of(report).shape[2] == 3
    (ledger,) = corpus.ledger("carts-w0")
    assert (ledger.committed, ledger.pending) == (22, 0)
    assert corpus.query("verdict('upright').passed = true")

    as_former(store)
    assert report_of(store) == report
    with closing(sqlite3.connect(store / "catalog.sqlite")) as catalog:
        catalog.execute("ALTER TABLE episodes DROP COLUMN kind")
        catalog.commit()
    assert report_of(store) == report


def test_what_a_policy_does_wrong_counts_as_nothing_and_the_campaign_goes_on(tmp_path: Path) -> None:
    names = ("raises", "returns_nan", "returns_two", "writes")
    file = task_file(tmp_path, policies=["scripted", *(f"{ACTS}:{name}" for name in names)], verifier=UPRIGHT, group=2)
    rolled(file)
    cells = {row["policy"].rpartition(":")[2]: row for row in report_of(tmp_path / "store")["cells"]}
    assert [cells[name]["failed_by_policy"] for name in names] == [2] * 4
    assert [(cells[name]["mean"], cells[name]["accepted"]) for name in names] == [(0.0, 0)] * 4
    assert [cells[name]["flag"] for name in names] == ["no signal"] * 4
    assert cells["scripted"]["accepted"] == 2
    failed = sensorium.open(tmp_path / "store").query("mission = 'carts'")
    assert sum(episode.outcome == "failed" for episode in failed) == 8
    whys = {str(episode.labels.get("failed.why", "")) for episode in failed}
    assert any("which is not finite" in why for why in whys)
    assert any("read-only" in why for why in whys)


def test_a_policy_that_hangs_costs_its_rollouts_and_the_campaign_goes_on(tmp_path: Path) -> None:
    policies = ["scripted", f"{ACTS}:spins"]
    rolled(task_file(tmp_path, policies=policies, verifier=UPRIGHT, group=2, policy_timeout_s=2.0))
    scripted, spins = report_of(tmp_path / "store")["cells"]
    assert (scripted["accepted"], scripted["failed_by_policy"]) == (2, 0)
    assert (spins["n"], spins["accepted"], spins["failed_by_policy"], spins["failed_by_us"]) == (2, 0, 2, 0)


def test_failures_that_are_not_to_be_kept_count_all_the_same_and_can_be_made_again(tmp_path: Path) -> None:
    policies = ["scripted", f"{ACTS}:late"]
    worlds = {"calm": {"kind": "sim-cart", "limit_s": 20.0}}
    rolled(task_file(tmp_path, worlds=worlds, policies=policies, verifier=UPRIGHT, group=2, keep_failures=False))
    scripted, late = report_of(tmp_path / "store")["cells"]
    assert (scripted["accepted"], late["n"], late["failed_by_policy"], late["mean"]) == (2, 2, 2, 0.0)
    failed = [each for each in sensorium.open(tmp_path / "store").query() if each.outcome == "failed"]
    assert len(failed) == 2
    for episode in failed:
        rows = {name: len(stream) for name, stream in episode.streams.items()}
        assert rows["world.action"] == rows["world.reward"] == episode.labels["steps"]
        assert rows["world.state"] == rows["world.pose"] == 0
        again = replay(episode)
        assert again.is_same, again.differences
        assert set(again.same) == {"world.action", "world.reward"}


def test_what_fails_for_our_reasons_is_tried_again_and_given_up(tmp_path: Path) -> None:
    file = task_file(tmp_path, policies=[f"{ACTS}:out_of_memory"], group=2, attempts=2)
    progress = rolled(file).progress()
    assert (progress.done, progress.uncounted, progress.left) == (0, 4, 0)
    (cell,) = report_of(tmp_path / "store")["cells"]
    assert (cell["failed_by_us"], cell["given_up"], cell["n"], cell["mean"]) == (4, 2, 0, None)


def test_a_world_whose_reset_raises_costs_those_rollouts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing came of them, so there is no episode; they are given up, and others go on."""
    reset = Cart.reset

    def raising(world: Cart, seed: int, task: str) -> Observation:
        if task == "catch":
            raise ArithmeticError("the solver did not converge")
        return reset(world, seed, task)

    monkeypatch.setattr(Cart, "reset", raising)
    file = task_file(tmp_path, tasks={"catch": "calm", "balance": "calm"}, group=2, attempts=2)
    assert rolled(file).progress().left == 0
    catch, balance = report_of(tmp_path / "store")["cells"]
    assert (catch["given_up"], catch["n"], balance["given_up"], balance["n"]) == (2, 0, 0, 2)
    assert catch["why_given_up"] == ["ArithmeticError: the solver did not converge"]


@pytest.mark.parametrize(
    "how", [ValueError("the model does not compile"), ConfigError("no GL; install it"), SystemExit("it exits")]
)
def test_a_world_that_cannot_be_made_costs_its_own_rollouts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: BaseException
) -> None:
    make = CartConfig.make

    def made(config: CartConfig) -> World:
        if config.kick_n:
            raise how
        return make(config)

    monkeypatch.setattr(CartConfig, "make", made)
    rolled(task_file(tmp_path, tasks={"catch": "rough", "balance": "calm"}, group=6, attempts=2))
    catch, balance = report_of(tmp_path / "store")["cells"]
    assert (catch["given_up"], catch["n"], balance["given_up"], balance["n"]) == (6, 0, 0, 6)
    assert [str(how) in why for why in catch["why_given_up"]] == [True]
    assert balance["why_given_up"] == []


def test_a_verifier_that_raises_or_dies_costs_its_verdicts(tmp_path: Path) -> None:
    rolled(task_file(tmp_path, verifier=f"{ACTS}:Falters"))
    (cell,) = report_of(tmp_path / "store")["cells"]
    assert (cell["n"], cell["unknown"], cell["accepted"]) == (4, 2, 2)


def test_one_that_has_ended_is_not_begun_again_and_a_larger_budget_goes_on(tmp_path: Path) -> None:
    rolled(task_file(tmp_path, verifier=UPRIGHT))
    before = sensorium.open(tmp_path / "store").query()
    rolled(task_file(tmp_path, verifier=UPRIGHT))
    assert [each.id for each in sensorium.open(tmp_path / "store").query()] == [each.id for each in before]
    first = report_of(tmp_path / "store")["cells"][0]
    rolled(task_file(tmp_path, verifier=UPRIGHT, budget={"rollouts": 8}))
    (cell,) = report_of(tmp_path / "store")["cells"]
    assert cell["rollouts"] == 12
    assert {name: cell[name] for name in ("n", "accepted", "pass_at", "mean", "deviation")} == {
        name: first[name] for name in ("n", "accepted", "pass_at", "mean", "deviation")
    }


def test_a_campaign_that_there_is_not(tmp_path: Path) -> None:
    rolled(task_file(tmp_path, group=1))
    with pytest.raises(ConfigError, match=r"no campaign 'x'.*carts"):
        report_of(tmp_path / "store", "x")


def test_a_hidden_verifier_of_the_same_name_is_refused(tmp_path: Path) -> None:
    """Their verdicts would be one: they would never disagree."""
    file = task_file(tmp_path, verifier=UPRIGHT, hidden={"verifier": f"{ACTS}:Namesake", "share": 1.0})
    with pytest.raises(ConfigError, match=r"hidden.*both .*'upright'.*another `name`"):
        rolled(file)
    assert not (tmp_path / "spool").exists()


def test_a_verifier_of_other_code_is_refused_once_a_group_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its groups would be accepted by two measures, in one number."""
    rolled(task_file(tmp_path, verifier=UPRIGHT, group=2))
    monkeypatch.setattr("sensorium.corpus.verifier.code_of", lambda _: "0123456789abcdef")
    with pytest.raises(ConfigError, match=r"'upright' .*other code .*another name"):
        rolled(task_file(tmp_path, verifier=UPRIGHT, group=2, budget={"rollouts": 2}))
    assert len(read_campaigns(tmp_path / "store")["carts"].groups) == 1


def test_a_policy_of_other_code_is_refused_once_the_campaign_was_begun(tmp_path: Path) -> None:
    """What it does would be of two policies, in one number; so would what it depends on."""
    module, beside = tmp_path / "policy_that_changes.py", tmp_path / "net_that_changes.py"
    acts = "def act(seen, rng):\n    return [0.0]\nact.depends = ('net_that_changes',)\n"
    module.write_text(acts)
    beside.write_text("GAIN = 1\n")
    policies = {"mine": "policy_that_changes:act", "scripted": "scripted"}
    rolled(task_file(tmp_path, policies=policies, group=1))
    rolled(task_file(tmp_path, policies=policies, group=1, budget={"rollouts": 1}))
    for path, text in ((module, acts + "# other\n"), (beside, "GAIN = 2\n")):
        was = path.read_text()
        path.write_text(text)
        with pytest.raises(ConfigError, match=r"policy 'mine' has other code .*another name"):
            rolled(task_file(tmp_path, policies=policies, group=1, budget={"rollouts": 3}))
        path.write_text(was)
    assert len(read_campaigns(tmp_path / "store")["carts"].groups) == 3
    rolled(task_file(tmp_path, policies=policies, group=1, budget={"rollouts": 2}))


def test_the_hidden_verifier_is_asked_of_the_same_slots_after_a_restart(tmp_path: Path) -> None:
    said: dict[str, Any] = {
        "policies": [f"{ACTS}:sometimes_out_of_memory"], "group": 12, "attempts": 1, "verifier": UPRIGHT,
        "hidden": {"verifier": f"{ACTS}:Strict", "share": 0.5},
    }  # fmt: skip
    rolled(task_file(tmp_path, **said))
    before = report_of(tmp_path / "store")
    assert 0 < before["cells"][0]["given_up"] < 12
    rolled(task_file(tmp_path, **said))
    assert report_of(tmp_path / "store")["campaigns"][0]["hidden"] == before["campaigns"][0]["hidden"]


def test_an_unknown_verifier_is_said_before_anything_begins(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown verifier 'nothing'"):
        rolled(task_file(tmp_path, verifier="nothing"))
    assert not (tmp_path / "spool").exists()
