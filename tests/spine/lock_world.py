"""A package with a world that keeps Python's lock, found by its entry point as any other's is.

It must not import from the tests: it runs in the commands.
"""

import ctypes
import os
import sys
import time
from pathlib import Path
from typing import Literal

from sensorium.sim.worlds.cart import Cart, CartConfig
from sensorium.sim.worlds.world import Action, Done, Observation, World

ENTRY_POINTS = "[sensorium.drivers]\nsim-lock = lock_world:LockConfig\n"
METADATA = "Metadata-Version: 2.1\nName: lock-world\nVersion: 1.0\n"


WHERE = os.environ.get("LOCK_WORLD")
IN_RAYS_WORKER = any("default_worker" in each for each in sys.orig_argv)
if WHERE == "everywhere" or (WHERE == "import" and IN_RAYS_WORKER):  # what is checked in the command is fine
    ctypes.PyDLL(None).sleep(3600)
if WHERE == "slow" and IN_RAYS_WORKER:  # and lets others run
    time.sleep(3600)


class LockConfig(CartConfig):
    """A cart whose world never comes back from where it is `at`."""

    kind: Literal["sim-lock"] = "sim-lock"  # type: ignore[assignment]
    at: Literal["", "make", "reset", "step", "scripted", "close"] = ""

    def make(self) -> World:
        return Lock(self)


class Lock(Cart):
    """As an extension does that never comes back: nothing else of Python runs in its process."""

    def __init__(self, config: LockConfig) -> None:
        super().__init__(config)
        self._at = config.at
        self._is_reset = False
        self._passes("make")

    def reset(self, seed: int, task: str) -> Observation:
        self._is_reset = True
        self._passes("reset")
        return super().reset(seed, task)

    def step(self, action: Action) -> tuple[Observation, Done]:
        self._passes("step")
        return super().step(action)

    def scripted(self) -> Action:
        self._passes("scripted")
        return super().scripted()

    def close(self) -> None:
        if self._is_reset:  # one that is made to be checked alone is closed in the command
            self._passes("close")
        super().close()

    def _passes(self, place: str) -> None:
        if self._at == place:
            ctypes.PyDLL(None).sleep(3600)


def install(folder: Path) -> Path:
    """A folder that, on PYTHONPATH, holds the package as if it were installed."""
    made = folder / "packages"
    info = made / "lock_world-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(METADATA)
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    (made / "lock_world.py").write_text(Path(__file__).read_text())
    return made
