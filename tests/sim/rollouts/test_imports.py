"""A policy's or verifier's module that hangs or exits while it is imported is said, and holds up nobody."""

import importlib
import itertools
import pickle
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sensorium.corpus import verifier
from sensorium.drivers.marks import EpisodeEnd
from sensorium.errors import ConfigError
from sensorium.patience import LeftBehind, within
from sensorium.sim.rollouts import rollout, task_file, worker
from sensorium.sim.rollouts.crew import HostedWorker
from sensorium.sim.rollouts.job import Job
from sensorium.sim.rollouts.report import report_of
from sensorium.sim.rollouts.rollout import Rollout, Streams
from sensorium.sim.rollouts.same_code import check_verifiers
from sensorium.sim.rollouts.worker import LocalWorker, Packed, WorkerPlan
from sensorium.sim.worlds.cart import Cart, CartConfig
from tests.sim.rollouts import building

LIMIT_S = 30.0
SPINS = "import time\nwhile True:\n    time.sleep(0.001)\n"
NUMBERS = itertools.count()

meanwhile: list[Callable[[], object]] = []
"""What is done while a module is imported that says so."""

Written = Callable[[str], str]


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Written]:
    """Writes a module, and returns its name."""
    monkeypatch.syspath_prepend(tmp_path)
    names: list[str] = []

    def made(text: str) -> str:
        names.append(f"imported_{next(NUMBERS)}")
        (tmp_path / f"{names[-1]}.py").write_text(text)
        return names[-1]

    yield made
    for name in names:
        sys.modules.pop(name, None)


def test_a_policy_whose_module_hangs_is_refused(
    tmp_path: Path, written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task_file, "IMPORT_S", 0.05)
    before = set(threading.enumerate())
    policies = {"mine": f"{written(SPINS)}:act"}
    with pytest.raises(ConfigError, match=r"^task file .*'imported_\d+:act': was not imported within 0.05 s; see to"):
        building.task_file(tmp_path, policies=policies, policy_timeout_s=0.05)
    until_s = time.monotonic() + LIMIT_S
    while any(thread.name == "bounded" for thread in set(threading.enumerate()) - before):
        assert time.monotonic() < until_s, "it runs still"
        time.sleep(0.01)


@pytest.mark.parametrize(
    "text", ["raise SystemExit(3)", "import sys\nsys.exit(3)", "class E(BaseException): ...\nraise E"]
)
def test_one_that_exits_is_one_line(tmp_path: Path, written: Written, text: str) -> None:
    name = written(text)
    with pytest.raises(ConfigError, match=rf"policy '{name}:act': cannot be imported: (SystemExit: 3|E)$"):
        building.task_file(tmp_path, policies={"mine": f"{name}:act"})
    with pytest.raises(ConfigError, match=rf"verifier '{name}:V': cannot be imported: (SystemExit: 3|E); see"):
        check_verifiers(building.task_file(tmp_path, verifier=f"{name}:V"), None)


def test_a_verifier_whose_module_hangs_is_refused(
    tmp_path: Path, written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verifier, "IMPORT_S", 0.05)
    file = building.task_file(tmp_path, verifier=f"{written(SPINS)}:V", verifier_timeout_s=0.05)
    with pytest.raises(ConfigError, match=r"verifier 'imported_\d+:V': was not imported and made within 0.05 s"):
        check_verifiers(file, None)


IMPORTED = f"""
from {__name__} import meanwhile
for each in meanwhile:
    each()


def act(seen, rng):
    return [0.0]
"""


def begun(source: str) -> Rollout:
    """Of a policy that may take no time at all."""
    world = Cart(CartConfig(limit_s=0.3))
    job = Job(
        campaign="c", group=0, index=0, attempt=1, world="calm", kind="sim-cart", version="1", task="balance",
        policy="mine", source=source, seed=3, policy_timeout_s=1e-9,
    )  # fmt: skip
    return Rollout(world, Streams("world", world), job, 0)


@pytest.fixture
def said() -> Iterator[list[Any]]:
    yield []
    meanwhile.clear()


def test_what_an_import_takes_is_not_time_for_an_answer(written: Written, said: list[Any]) -> None:
    """Who waits asks while the module is imported, as it may when that takes long: there is hope."""
    made = begun(f"{written(IMPORTED)}:act")
    meanwhile.append(lambda: said.append(made.given_up()))
    end = list(made)[-1][-1]
    assert said == [None]
    assert isinstance(end, EpisodeEnd)
    assert end.outcome == "truncated"


def test_a_module_that_hangs_in_a_worker_is_its_policys_failure(
    written: Written, said: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollout, "IMPORT_S", 0.0)
    made = begun(f"{written(IMPORTED)}:act")
    meanwhile.append(lambda: said.append(made.given_up()))
    with pytest.raises(LeftBehind):
        list(made)
    ((*_, end),) = said
    assert (end.outcome, end.labels["failed.by"]) == ("failed", "policy")
    assert "was not imported within 1e-09 s" in end.labels["failed.why"]


WORLD = """
from typing import Literal
from sensorium.sim.worlds.cart import CartConfig


class MineConfig(CartConfig):
    kind: Literal["sim-mine"] = "sim-mine"
"""


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (SPINS, "world 'bad': what it is of was not imported within 3 s by its worker; see to what its module"),
        ("raise SystemExit(3)", "world 'bad': cannot be imported by its worker: SystemExit: 3"),
    ],
)
def test_a_world_whose_module_hangs_in_a_worker_alone_costs_its_rollouts(
    tmp_path: Path, written: Written, monkeypatch: pytest.MonkeyPatch, text: str, why: str
) -> None:
    """A worker has answered before it imports any, and plays those of others."""
    monkeypatch.setattr(worker, "IMPORT_S", 0.0)
    name = written(WORLD)
    worlds = {"good": CartConfig(limit_s=0.3), "bad": importlib.import_module(name).MineConfig(limit_s=0.3)}
    tasks = {"good": {"world": "good"}, "bad": {"world": "bad"}}
    file = building.task_file(tmp_path, worlds=worlds, tasks=tasks, group=2, attempts=2, world_timeout_s=3.0)
    packed = {each: Packed(pickle.dumps(config)) for each, config in worlds.items()}
    del sys.modules[name]
    (tmp_path / f"{name}.py").write_text(f"{text}\n# it is another now\n")
    importlib.invalidate_caches()

    def host(plan: WorkerPlan) -> HostedWorker:
        return LocalWorker(replace(plan, worlds=packed))

    monkeypatch.setattr(building, "local_worker", host)
    building.rolled(file)
    cells = {row["task"]: row for row in report_of(tmp_path / "store")["cells"]}
    assert (cells["good"]["n"], cells["good"]["given_up"]) == (2, 0)
    assert (cells["bad"]["n"], cells["bad"]["given_up"]) == (0, 2)
    assert cells["bad"]["why_given_up"][0].startswith(why)


def test_within_gives_what_the_call_does() -> None:
    assert within(LIMIT_S, lambda: 7) == 7
    released = threading.Event()
    with pytest.raises(TimeoutError, match=r"within 0\.01 s"):
        within(0.01, released.wait)
    released.set()
