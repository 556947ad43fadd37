"""The task file: what it takes, in short and in full, and one line for each mistake."""

from pathlib import Path
from typing import Any

import pytest

from sensorium.errors import ConfigError
from sensorium.sim.rollouts.task_file import TaskPart, check_task, load_task_file
from sensorium.sim.worlds.cart import CartConfig
from sensorium.sim.worlds.world import World
from tests.sim.rollouts.building import ACTS, document, task_file

TEXT = """
campaign: carts
store: corpus
worlds:
  cart: {kind: sim-cart, limit_s: 1.5}
tasks:
  balance: cart
  hold: {world: cart, task: catch, steps: 20}
policies: [random, scripted]
group: 8
"""


def test_a_file_in_short(tmp_path: Path) -> None:
    (tmp_path / "task.yaml").write_text(TEXT)
    found = load_task_file(tmp_path / "task.yaml", ("workers=3", "budget.rollouts=80"))
    assert found.worlds == {"cart": CartConfig(limit_s=1.5)}
    assert found.tasks == {
        "balance": TaskPart(world="cart", task="balance"),
        "hold": TaskPart(world="cart", task="catch", steps=20),
    }
    assert found.policies == {"random": "random", "scripted": "scripted"}
    assert (found.group, found.workers, found.budget.rollouts) == (8, 3, 80)
    assert found.at(found.store) == tmp_path / "corpus"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"campaign": "../x"}, "campaign: .*expected up to 100 letters"),
        ({"tasks": {"reach": "rover"}}, "no world 'rover'.*there are: calm, rough"),
        ({"tasks": {"balanse": "calm"}}, r"tasks.balanse: world 'calm' \(sim-cart\): no task .*mean 'balance'"),
        (
            {"worlds": {"calm": {"kind": "sim-cart", "task": "juggle"}}, "tasks": {"balance": {"world": "calm"}}},
            r"tasks.balance: world 'calm' \(sim-cart\): no task 'juggle'",
        ),
        ({"policy_timeout_s": 0}, "policy_timeout_s: .*greater than 0"),
        ({"policies": ["scriptd"]}, "did you mean 'scripted'"),
        ({"policies": {"mine": "nowhere:act"}}, "cannot be imported"),
        ({"policies": {}}, "policies: .*at least 1"),
        ({"worlds": {"calm": {"kind": "sim-car"}}}, "did you mean 'sim-cart'"),
        ({"worlds": {"calm": {"kind": "camera", "source": 0}}}, "is not a WorldConfig"),
        (
            {"worlds": {"calm": {"kind": "sim-cart", "limit": 3}}},
            r"worlds.calm.limit: unknown key, did you mean 'limit_s'\? \(known: .*kick_n, kind, limit_s",
        ),
        ({"tasks": {"reach": {"world": "calm", "step": 3}}}, "tasks.reach.step: unknown key, did you mean 'steps'"),
        ({"budget": {"rollout": 3}}, "budget.rollout: unknown key, did you mean 'rollouts'"),
        ({"worlds": {"calm": {"kind": "sim-cart", "faults": [{"knd": 3}]}}}, "worlds.calm.faults"),
        ({"budget": {"rollouts": 3}}, r"budget: 3 rollouts have no room for a group of 4; .*`group`"),
        ({"group": 0}, "group: .*greater than or equal to 1"),
        ({"hidden": {"verifier": "x"}}, "hidden: needs a `verifier`"),
        ({"hiden": {"verifier": "x"}}, "hiden: unknown key, did you mean 'hidden'"),
        ({"encodings": {"cal": {}}}, "no world 'cal', did you mean 'calm'"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(change: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        task_file(**change)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[1, 2]", "expected a mapping"),
        ("a: [", "is not YAML"),
        (None, "No such file"),
        ("a: 1\nworlds: {b: {kind: x}, b: {kind: y}}", "line 2, column 24: worlds.b is there already, on line 2"),
        (TEXT + "group: 4\n", "group is there already"),
        (TEXT + "budget: {rollouts: 80, wall_s: }\n", "line 11: budget.wall_s: is blank; say how much"),
        (TEXT.replace("steps: 20", "steps: "), "line 8: tasks.hold.steps: is blank"),
    ],
)
def test_what_is_no_file(tmp_path: Path, text: str | None, says: str) -> None:
    if text is not None:
        (tmp_path / "task.yaml").write_text(text)
    with pytest.raises(ConfigError, match=f"task.yaml: .*{says}"):
        load_task_file(tmp_path / "task.yaml")


def test_a_world_that_cannot_be_made_here_may_be_made_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    def make(_: CartConfig) -> World:
        raise ConfigError("no GL")

    monkeypatch.setattr(CartConfig, "make", make)
    assert task_file(tasks={"juggle": "calm"}).tasks


def test_a_policy_beside_the_file_is_found(tmp_path: Path) -> None:
    (tmp_path / "policy_beside_it.py").write_text("def act(seen, rng):\n    return [0.0]\n")
    assert check_task(document(policies=["policy_beside_it:act"]), tmp_path).policies


def test_what_its_first_rollouts_are_is_one_thing_and_how_they_are_made_another() -> None:
    before = task_file().same()
    assert task_file(workers=4, budget={"rollouts": 9}, attempts=9).same() == before
    for change in ({"group": 5}, {"seed": 1}, {"policies": [f"{ACTS}:holds"]}, {"verifier": f"{ACTS}:Upright"}):
        assert task_file(**change).same() != before
