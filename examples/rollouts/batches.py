"""From a world to accepted episodes to batches of a policy's training: run rollouts.yaml, then this.

sensorium rollouts examples/rollouts/rollouts.yaml --local
python examples/rollouts/batches.py examples/rollouts/corpus
"""

import importlib.util
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

import sensorium

BATCH = 256
NAMES = ("x", "v", "angle", "rate")
ACCEPTED = "mission = 'carts-1' and verdict('stands').passed = true"


def steps(corpus: Any) -> Iterator[tuple[Any, Any, float]]:
    """Of every accepted episode what was seen before each action, the action, and the advantage of the whole."""
    episodes = corpus.query(ACCEPTED)
    advantages = corpus.beside("advantages", [episode.id for episode in episodes])
    for episode in episodes:
        weight = advantages[episode.id]["carts-1"]["advantage"]
        actions, states = episode.streams["world.action"], episode.streams["world.state"]
        stamps, seen = states.captured_ns, states[: len(states.captured_ns)]
        for at_ns, action in zip(actions.captured_ns, actions[: len(actions.captured_ns)], strict=True):
            # The row of an action is stamped with the moment from which it acts: what was seen until then led to it.
            yield seen[np.searchsorted(stamps, at_ns, "right") - 1], action, weight


def batches(corpus: Any, seed: int = 0) -> Iterator[tuple[Any, Any, Any]]:
    """States [n, 4], actions [n, 1] and advantages [n], float32, shuffled: tensors of torch where it is installed."""
    all_of = [np.asarray(part, np.float32) for part in zip(*steps(corpus), strict=True)]
    order = np.random.default_rng(seed).permutation(len(all_of[0]))
    for first in range(0, len(order), BATCH):
        batch = [part[order[first : first + BATCH]] for part in all_of]
        if importlib.util.find_spec("torch") is not None:
            import torch

            batch = [torch.from_numpy(part) for part in batch]
        yield batch[0], batch[1], batch[2]


def main(store: str) -> None:
    """Fit the action as a linear function of the state to what was accepted, weighted towards what did better."""
    corpus = sensorium.open(store)
    states, actions, advantages = (
        np.concatenate([np.asarray(part) for part in parts]) for parts in zip(*batches(corpus), strict=True)
    )
    weights = np.exp(np.clip(advantages, -2, 2))[:, None]
    gains, *_ = np.linalg.lstsq(states * weights, actions * weights, rcond=None)
    print(f"{len(corpus.query(ACCEPTED))} accepted episodes, {len(states)} steps in batches of {BATCH}")
    print("force =", " + ".join(f"{gain:.1f} {name}" for gain, name in zip(gains[:, 0], NAMES, strict=True)))


if __name__ == "__main__":
    main(sys.argv[1])
