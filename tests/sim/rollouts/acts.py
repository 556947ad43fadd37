"""Policies and verifiers of tests, as anybody might write them."""

import asyncio
import ctypes
import os
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np

from sensorium.corpus.episode import Episode
from sensorium.corpus.verifier import Verdict, Verifier
from sensorium.sim.worlds.cart import FALLEN_RAD

Seen = Mapping[str, Any]


def holds(seen: Seen, rng: np.random.Generator) -> Any:
    """By what is sensed, as well as the world's own motion by its truth."""
    x, v, angle, rate = seen["state"][-1]
    return [x + 2 * v + 40 * angle + 8 * rate]


def raises(seen: Seen, rng: np.random.Generator) -> Any:
    raise KeyError("nothing learnt yet")


def returns_nan(seen: Seen, rng: np.random.Generator) -> Any:
    return [float("nan")]


def returns_two(seen: Seen, rng: np.random.Generator) -> Any:
    return [0.0, 0.0]


def returns_text(seen: Seen, rng: np.random.Generator) -> Any:
    return "left"


def writes(seen: Seen, rng: np.random.Generator) -> Any:
    seen["state"][:] = 0
    return [0.0]


def exits(seen: Seen, rng: np.random.Generator) -> Any:
    raise SystemExit(3)


def interrupts(seen: Seen, rng: np.random.Generator) -> Any:
    raise KeyboardInterrupt


def cancelled(seen: Seen, rng: np.random.Generator) -> Any:
    raise asyncio.CancelledError


def out_of_memory(seen: Seen, rng: np.random.Generator) -> Any:
    raise MemoryError


def sometimes_out_of_memory(seen: Seen, rng: np.random.Generator) -> Any:
    if rng.random() < 0.04:
        raise MemoryError
    return holds(seen, rng)


asked, released = threading.Event(), threading.Event()
"""Whoever hangs sets the one, and goes on when the other is set."""


def hangs(seen: Seen, rng: np.random.Generator) -> Any:
    """It waits for what does not come."""
    asked.set()
    released.wait(60.0)
    return holds(seen, rng)


def spins(seen: Seen, rng: np.random.Generator) -> Any:
    while True:
        rng.random()


def keeps_the_lock(seen: Seen, rng: np.random.Generator) -> Any:
    """As an extension does that never comes back: nothing else of Python runs in its process."""
    ctypes.PyDLL(None).sleep(3600)
    return holds(seen, rng)


class NeverReady:
    """One whose making does not end."""

    def __init__(self) -> None:
        released.wait(60.0)

    def __call__(self, seen: Seen, rng: np.random.Generator) -> Any:
        return [0.0]


def late(seen: Seen, rng: np.random.Generator) -> Any:
    """Good for some steps, and then not."""
    if rng.random() < 0.05:
        raise RuntimeError("it is late")
    return holds(seen, rng)


class Counts:
    """One is made for each rollout."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, seen: Seen, rng: np.random.Generator) -> Any:
        self.calls += 1
        return [min(self.calls, 9)]


class Upright(Verifier):
    """Whether the pole stood at the end, by the truth."""

    name = "upright"
    version = "1"

    def verify(self, episode: Episode) -> Verdict:
        pose = episode.streams["world.pose"]
        angle = float(pose[len(pose.captured_ns) - 1 :][0, 2])
        return Verdict(
            1 - abs(angle), abs(angle) < FALLEN_RAD, {"angle": angle}, f"at the end it leant {angle:.2f} rad"
        )


class Rewarded(Upright):
    """Whether anything was seen."""

    name = "seen"

    def verify(self, episode: Episode) -> Verdict:
        rows = len(episode.streams["world.reward"].captured_ns)
        return Verdict(float(rows), rows > 10, {}, f"{rows} rewards")


class Strict(Upright):
    """Another opinion: it must stand straight."""

    name = "strict"

    def verify(self, episode: Episode) -> Verdict:
        pose = episode.streams["world.pose"]
        angle = float(pose[len(pose.captured_ns) - 1 :][0, 2])
        return Verdict(0.0, abs(angle) < 0.01, {}, "strictly")


class Namesake(Strict):
    """It forgot to say another name."""

    name = "upright"


class Falters(Upright):
    """It raises of some, and dies of others."""

    name = "falters"

    def verify(self, episode: Episode) -> Verdict:
        index = int(episode.labels["index"])
        if index % 4 == 1:
            raise ValueError("not this one")
        if index % 4 == 2:
            os._exit(9)
        return super().verify(episode)
