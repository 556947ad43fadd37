"""What tests of rollouts build: task files, attempts, and campaigns that run in this process."""

import time
from pathlib import Path
from typing import Any

from sensorium.sim.rollouts.attempts import Attempt
from sensorium.sim.rollouts.campaign import Rolling
from sensorium.sim.rollouts.hosts import local_ingest, local_worker, plans_of
from sensorium.sim.rollouts.job import POLICY, US
from sensorium.sim.rollouts.task_file import TaskFile, check_task
from tests.sim.rollouts import acts

ACTS = acts.__name__
LIMIT_S = 60.0


def document(**more: Any) -> dict[str, Any]:
    said: dict[str, Any] = {
        "campaign": "carts",
        "store": "store",
        "worlds": {
            "calm": {"kind": "sim-cart", "limit_s": 0.3},
            "rough": {"kind": "sim-cart", "limit_s": 0.3, "kick_n": 10},
        },
        "tasks": {"balance": "calm"},
        "policies": ["scripted"],
        "group": 4,
        "workers": 1,
    }
    return said | more


def task_file(folder: Path = Path(), **more: Any) -> TaskFile:
    return check_task(document(**more), folder)


def attempt(
    group: int, index: int, number: int = 1, *, failed_by: str = "", reward: float = 1.0, **more: Any
) -> Attempt:
    said: dict[str, Any] = {
        "slot": (group, index), "attempt": number, "episode": f"{group}-{index}-{number}", "failed_by": failed_by,
        "is_complete": failed_by != US, "why": "", "reward": 0.0 if failed_by == POLICY else reward, "wall_s": 0.1,
        "cpu_s": 0.1, "simulated_s": 1.0, "bytes": 100,
    }  # fmt: skip
    return Attempt(**said | more)


def rolled(file: TaskFile) -> Rolling:
    """A campaign that has come to its end; it is closed."""
    with local_ingest(file) as ingest:
        rolling = Rolling(file, file.at(file.store), local_worker, plans_of(file, ingest, file.workers))
        until_s = time.monotonic() + LIMIT_S
        try:
            while not rolling.step():
                assert time.monotonic() < until_s, rolling.progress()
                time.sleep(0.01)
        finally:
            rolling.close()
    return rolling
