"""Worlds on MuJoCo are imported when they are made: where it is absent, that is one line."""

import importlib
from typing import Any

from sensorium.errors import ConfigError

INSTALL = "pip install 'sensorium[sim]'"


def load(kind: str, module: str) -> Any:
    """The module of a world under `sensorium.sim.worlds.mujoco`.

    Raises:
        ConfigError: MuJoCo is not installed, or is not whole: how to install it.
    """
    try:
        return importlib.import_module(f"sensorium.sim.worlds.mujoco.{module}")
    except ImportError as error:
        if not (error.name or "").startswith("mujoco"):
            raise
        raise ConfigError(f"{kind} needs MuJoCo, which cannot be imported ({error}): {INSTALL}") from error
