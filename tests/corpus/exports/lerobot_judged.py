"""`python -m tests.corpus.exports.lerobot_judged FOLDER`: a dataset of LeRobot's from a store, and what it holds.

`make judge-lerobot` makes it, and has LeRobot's own library read it (`judge_lerobot.py`, in a venv of its own).
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np

import sensorium
from sensorium.corpus.exports.contract import Options, export
from tests.corpus.exports.stored import store_of
from tests.corpus.exports.test_to_lerobot import FPS, map_in, nearest, rollout


def main(folder: Path) -> None:
    """Make FOLDER/dataset, and FOLDER/expected.npz."""
    folder.mkdir(parents=True)
    episodes = store_of(folder / "store", [rollout(0), rollout(1, 12), rollout(2)])
    sensorium.open(folder / "store").label(episodes[2].id, {"task": "said later"}, who="ann")
    export(episodes, "lerobot", folder / "dataset", Options(map=map_in(folder)))
    told: dict[str, list[np.ndarray]] = {"action": [], "state": [], "front": [], "episode": [], "task": [], "at": []}
    for number, episode in enumerate(episodes):
        n = len(episode.streams["command"])
        at_ns = episode.start_ns + np.arange(n) * 10**9 // FPS
        state = [nearest(episode, "joints", at_ns), nearest(episode, "grip", at_ns)[:, None]]
        told["action"].append(nearest(episode, "command", at_ns))
        told["state"].append(np.concatenate(state, axis=1))
        told["front"].append(nearest(episode, "front", at_ns)[..., ::-1])  # to RGB
        told["episode"].append(np.full(n, number))
        told["task"].append(np.full(n, ["task 0", "task 1", "said later"][number]))
        told["at"].append(np.arange(n) / FPS)
    whole: dict[str, Any] = {name: np.concatenate(parts) for name, parts in told.items()}
    np.savez(folder / "expected.npz", **whole)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
