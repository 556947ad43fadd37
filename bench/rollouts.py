"""Rollouts a minute with 1, 2 and 4 workers over a bare loop of Gymnasium, and what one costs beside its simulation."""

import contextlib
import json
import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import psutil
import yaml
from gymnasium.vector import AsyncVectorEnv
from measuring import Comparison, Options, compared, main, rounded

from sensorium.sim.gym.world_env import make_world_env
from sensorium.sim.rollouts.report import report_of
from sensorium.sim.worlds.cart import CartConfig

WORKERS = (1, 2, 4)
SECONDS = 1.0
ROLLOUTS, MANY = 1000, 10_000
_RUN = "from sensorium.cli.main import main; main()"
SAMPLE_S = 0.2
SMALL = 0.01
"""Of random pushes, so that the pole stands to the end."""
ROLES = ("worker", "ingest", "driver")
FIGURES = ("a_minute", "wall_s", "cpu_ms_each", "beside_cpu_ms_each", *(f"{role}_cpu_ms_each" for role in ROLES))


def measure(options: Options) -> Comparison:
    """A cheap world (a pole on a cart, 1 s of it at 50 Hz), whole campaigns under Ray that keep every episode, against
    the same world as an environment of Gymnasium in one loop that keeps nothing. Rates and CPU are from a tenth of the
    commits to the last: the start of Ray is in the seconds that 10,000 take alone."""
    rollouts = 100 if options.quick else ROLLOUTS
    each_workers = WORKERS[: 1 if options.quick else None]
    ours: list[float] = []
    against: list[float] = []
    by_workers: dict[int, list[dict[str, float]]] = {n: [] for n in each_workers}
    vectors: dict[int, list[float]] = {n: [] for n in each_workers}
    for run in range(options.runs):
        against.append(60 * looped(rollouts))
        for workers in each_workers:
            by_workers[workers].append(campaign(options.folder / f"{run}-{workers}", rollouts, workers))
            vectors[workers].append(60 * vectorised(rollouts, workers))
        ours.append(by_workers[1][-1]["a_minute"])
    world_ms = simulation_cpu_ms(rollouts)
    detail: dict[str, Any] = {
        "rollouts": rollouts,
        "against": "the same world as an environment of Gymnasium, reset and stepped at random in a loop in one"
        " process; nothing is kept",
        "against_vectorised_a_minute": {str(n): rounded(rates) for n, rates in vectors.items()},
        "vectorised": "gymnasium.vector.AsyncVectorEnv of so many, each in a process; nothing is kept",
        "simulation_cpu_ms_each": round(world_ms, 2),
        "workers": {
            str(n): {name: rounded([each[name] for each in runs]) for name in FIGURES} for n, runs in by_workers.items()
        },
        "limited_by": limit({n: runs[-1] for n, runs in by_workers.items()}),
    }
    if not options.quick:
        many = campaign(options.folder / "many", MANY, 2)
        detail["ten_thousand_with_2_workers"] = {name: round(value, 2) for name, value in many.items()}
    return compared("rollouts", ours, against, "rollouts/min with 1 worker", True, detail)


def looped(rollouts: int) -> float:
    """Rollouts a second of a bare loop over one environment."""
    env = make_world_env("sim-cart", limit_s=SECONDS)
    env.action_space.seed(0)
    began_s = time.perf_counter()
    for seed in range(rollouts):
        env.reset(seed=seed)
        over = False
        while not over:
            _, _, terminated, truncated, _ = env.step(env.action_space.sample() * SMALL)
            over = terminated or truncated
    took_s = time.perf_counter() - began_s
    env.close()
    return rollouts / took_s


def vectorised(rollouts: int, workers: int) -> float:
    """Rollouts a second of Gymnasium's own loop over `workers` processes."""
    made = [partial(make_world_env, "sim-cart", limit_s=SECONDS)] * workers
    env: gymnasium.vector.VectorEnv[Any, Any, Any] = AsyncVectorEnv(made, context="spawn")
    env.action_space.seed(0)
    env.reset(seed=0)
    ended, began_s = 0, time.perf_counter()
    while ended < rollouts:
        _, _, terminated, truncated, _ = env.step(env.action_space.sample() * SMALL)
        ended += int((terminated | truncated).sum())
    took_s = time.perf_counter() - began_s
    env.close()
    return ended / took_s


def simulation_cpu_ms(rollouts: int) -> float:
    """CPU of a rollout of the world alone, by its own motion, ms."""
    world = CartConfig(limit_s=SECONDS).make()
    began_s = time.process_time()
    for seed in range(rollouts):
        world.reset(seed, "balance")
        done = ""
        while not done:
            _, done = world.step(world.scripted())
    return 1e3 * (time.process_time() - began_s) / rollouts


def limit(found: dict[int, dict[str, float]]) -> str:
    """What limits them: the cores, or something else, told by how busy the cores were."""
    cores = len(os.sched_getaffinity(0))
    busy = {n: each["cpu_ms_each"] * each["a_minute"] / 60e3 for n, each in found.items()}
    most = max(busy, key=lambda n: busy[n])
    parts = ", ".join(f"{role} {found[most][f'{role}_cpu_ms_each']:.1f}" for role in ROLES)
    said = ", ".join(f"{share:.2f} with {n}" for n, share in busy.items())
    of = "CPU" if busy[most] > 0.8 * cores else "waiting, or others on the cores"
    return f"{of}: of {cores} cores {said} workers are busy with these; ms a rollout: {parts}"


def campaign(folder: Path, rollouts: int, workers: int) -> dict[str, float]:
    """A whole campaign as a command; its figures."""
    folder.mkdir()
    group = min(rollouts, 50)
    document = {
        "campaign": "bench",
        "store": "store",
        "worlds": {"cart": {"kind": "sim-cart", "limit_s": SECONDS}},
        "tasks": {"balance": "cart"},
        "policies": ["scripted"],
        "group": group,
        "budget": {"rollouts": rollouts - group, "group": group},
        "workers": workers,
    }
    (folder / "task.yaml").write_text(yaml.safe_dump(document))
    began_s = time.perf_counter()
    command = [sys.executable, "-c", _RUN, "rollouts", str(folder / "task.yaml")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        watched = Family(process.pid)
        while process.poll() is None:
            watched.look()
            time.sleep(SAMPLE_S)
        wall_s = time.perf_counter() - began_s
    if process.returncode:
        raise RuntimeError(f"{command}: exit {process.returncode}")
    return {"wall_s": wall_s, **_figures(folder / "store", rollouts, watched)}


class Family:
    """CPU seconds of a command's processes by what they do, each time that they are looked at."""

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)
        self._roles: dict[int, str] = {pid: "driver"}
        self._seen: list[tuple[float, dict[str, float]]] = []

    def look(self) -> None:
        """See them all once."""
        found = dict.fromkeys(ROLES, 0.0)
        for each in [self._root, *self._root.children(recursive=True)]:
            with contextlib.suppress(psutil.Error):
                times, role = each.cpu_times(), self._role(each)
                if role:
                    found[role] += times.user + times.system
        self._seen.append((time.time(), found))

    def cpu_s(self, role: str, since_s: float, until_s: float) -> float:
        """Of all in one role between two moments (since 1970), as near as they were looked at."""
        first, last = (min(self._seen, key=lambda seen: abs(seen[0] - at_s))[1] for at_s in (since_s, until_s))
        return last[role] - first[role]

    def _role(self, process: psutil.Process) -> str:
        if process.pid not in self._roles:
            named = {"WorkerActor": "worker", "IngestActor": "ingest"}
            told = " ".join(process.cmdline()[:1])
            if not (role := next((role for name, role in named.items() if name in told), "")):
                return ""
            self._roles[process.pid] = role
        return self._roles[process.pid]


def _figures(store: Path, rollouts: int, watched: Family) -> dict[str, float]:
    (cell,) = report_of(store)["cells"]
    if cell["rollouts"] != rollouts or cell["cost"]["simulated_s"] < rollouts * SECONDS * 0.99:
        raise RuntimeError(f"{store}: {json.dumps(cell)[:500]}")
    stamps = sorted(path.stat().st_mtime for path in (store / "commits").rglob("*.json"))
    first, last = stamps[rollouts // 10], stamps[-1]
    n = rollouts - 1 - rollouts // 10
    each = {f"{role}_cpu_ms_each": 1e3 * watched.cpu_s(role, first, last) / n for role in ROLES}
    whole = sum(each.values())
    return {
        "a_minute": 60 * n / (last - first),
        "cpu_ms_each": whole,
        "beside_cpu_ms_each": whole - simulation_cpu_ms(200),
        **each,
    }


if __name__ == "__main__":
    main(__doc__ or "", measure, runs=1)
