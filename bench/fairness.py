"""Fairness: an honest device's MB/s with each attacker beside it, over what it has alone; at least 0.5 of each.

One device with an allowed key does what `attackers` has, in a process of its own, while another delivers a spool; runs
with and without are interleaved. `ratio` is the least over all attackers, of medians; the detail has each, and
the ingest's peak memory, of which less than 600 MB is to be reached.
"""

import multiprocessing
import shutil
import statistics
import time
from pathlib import Path

from attackers import ATTACKERS, attack
from delivery import deliver, fill
from measuring import DEVICE, Comparison, Options, Server, ingest_process, main, rounded

ATTACKER = "attacker"
EPISODES, FRAMES = 2, 100
AHEAD_S = 3.0
MOST_MB = 600


def measure(options: Options) -> Comparison:
    """The honest device's MB/s beside each attacker, and alone."""
    episodes, frames = (1, 10) if options.quick else (EPISODES, FRAMES)
    names = list(ATTACKERS)[: 2 if options.quick else None]
    alone: list[float] = []
    beside: dict[str, list[float]] = {name: [] for name in names}
    peak_mb: dict[str, float] = {}
    for run in range(options.runs):
        for name in names:
            folder = options.folder / f"{run}-{names.index(name)}"
            for attacker in (None, name) if run % 2 else (name, None):
                rate, peak = once(folder / ("beside" if attacker else "alone"), attacker, episodes, frames)
                (alone if attacker is None else beside[name]).append(rate)
                key = attacker or "none"
                peak_mb[key] = max(peak_mb.get(key, 0.0), round(peak / 1e6, 1))
            shutil.rmtree(folder)
    without = statistics.median(alone)
    ratios = {name: round(statistics.median(rates) / without, 3) for name, rates in beside.items()}
    worst = min(ratios, key=ratios.__getitem__)
    detail = {
        "ratios": ratios,
        "worst": worst,
        "alone_each": rounded(alone),
        "beside_each": {name: rounded(rates) for name, rates in beside.items()},
        "ingest_peak_pss_mb": peak_mb,
        "within_memory": max(peak_mb.values()) < MOST_MB,
        "against": "the same delivery without an attacker; 0.5 is to be reached",
    }
    ours = statistics.median(beside[worst])
    return Comparison("fairness", round(ours, 3), round(without, 3), ratios[worst], "MB/s", options.runs, detail)


def once(folder: Path, attacker: str | None, episodes: int, frames: int) -> tuple[float, int]:
    """MB/s of one delivery, and the ingest's peak memory."""
    total = sum(file.stat().st_size for file in fill(folder / "spool", episodes, frames))
    with ingest_process(folder, folder / "store", (DEVICE, ATTACKER)) as server:
        process = None if attacker is None else begun(attacker, server)
        try:
            time.sleep(AHEAD_S)
            seconds, watched = deliver(folder / "spool", server, episodes)
        finally:
            if process is not None:
                process.kill()
                process.join()
    return total / 1e6 / seconds, watched["ingest"].peak_bytes


def begun(attacker: str, server: Server) -> "multiprocessing.process.BaseProcess":
    """The attacker at work, in a process of its own."""
    process = multiprocessing.get_context("spawn").Process(target=attack, args=(attacker, server, ATTACKER))
    process.start()
    return process


if __name__ == "__main__":
    main(__doc__ or "", measure, runs=3)
