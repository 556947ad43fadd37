"""World store: pictures a second of a world from its driver through spool, link and ingest into the store, committed,
against a bare step-and-render loop on the same cores.

The world and the loop are those of world_driver.py. The making of the world and its first reset are on both sides.
"""

import os
import shutil
import time
from pathlib import Path
from typing import Any

import psutil
from measuring import DEVICE, Comparison, Options, Server, compared, ingest_process, main, rounded
from world_driver import PICTURES, QUICK, Took, actions_of, bare_loop, cpu_ratio, the_world

import sensorium
from sensorium.agents.agent import Agent
from sensorium.agents.device_file import check_device
from sensorium.sim.worlds.config import WorldConfig

SECONDS = 20.0
CORES = 2


def measure(options: Options) -> Comparison:
    """Pictures a second, interleaved, both on the first two cores that are allowed."""
    cores = sorted(os.sched_getaffinity(0))[:CORES]
    os.sched_setaffinity(0, cores)  # the ingest inherits it
    config = the_world(**QUICK) if options.quick else the_world(SECONDS)
    actions_of(config)
    ours: list[Took] = []
    bare: list[Took] = []
    for run in range(options.runs):
        for side in ("ours", "against") if run % 2 == 0 else ("against", "ours"):
            if side == "ours":
                folder = options.folder / str(run)
                folder.mkdir()
                with ingest_process(folder, folder / "store") as server:
                    ours.append(stored(config, folder, server))
                shutil.rmtree(folder)
            else:
                bare.append(looped(config))
    detail = {
        "world": config.kind,
        "simulated_s": config.duration_s,
        "pictures": ours[0].pictures,
        "cores": len(cores),
        "cpu_ms_each": rounded([1e3 * each.cpu_s / each.pictures for each in ours]),
        "against_cpu_ms_each": rounded([1e3 * each.cpu_s / each.pictures for each in bare]),
        "cpu_ratio": cpu_ratio(ours, bare),
        "against": "stepping and drawing alone: same model, actions, cameras and rates; no other sensor, nothing kept",
    }
    return compared(
        "world_store", [each.per_s for each in ours], [each.per_s for each in bare], "frames/s", True, detail
    )


def stored(config: WorldConfig, folder: Path, server: Server) -> Took:
    """From opening the world to the last of its episodes committed; CPU of the agent and of the ingest."""
    document: dict[str, Any] = {
        "device": DEVICE,
        "ingest": {"url": server.url, "server_key": str(folder / "keys/ingest.key"), "key": str(server.device_key)},
        "sensors": {"w": config},
        "trigger": {"kind": "source"},
        "spool": {"path": str(folder / "spool")},
    }
    agent = Agent(check_device(document, folder))
    ingest = psutil.Process(server.pid)
    began_s, cpu_s = time.perf_counter(), _cpu_s(ingest)
    agent.run()
    wall_s, cpu_s = time.perf_counter() - began_s, _cpu_s(ingest) - cpu_s
    episodes = sensorium.open(folder / "store").query()
    counts = {name: sum(len(each.streams[f"w.{name}"]) for each in episodes) for name in PICTURES[config.kind]}
    expected = {name: account.captured for name, account in agent.status()["streams"].items()}
    if any(count != expected[f"w.{name}"] for name, count in counts.items()):
        raise RuntimeError(f"{counts} pictures in the store, of {expected}")
    return Took(sum(counts.values()), wall_s, cpu_s)


def looped(config: WorldConfig) -> Took:
    """The bare loop, the making of its world included."""
    began_s, cpu_s = time.perf_counter(), time.process_time()
    pictures = bare_loop(config).pictures
    return Took(pictures, time.perf_counter() - began_s, time.process_time() - cpu_s)


def _cpu_s(ingest: psutil.Process) -> float:
    times = ingest.cpu_times()
    return time.process_time() + float(times.user + times.system)


if __name__ == "__main__":
    main(__doc__ or "", measure, runs=5)
