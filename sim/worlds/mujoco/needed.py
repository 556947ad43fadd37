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
        importlib.import_module("mujoco")
    except ImportError as error:
        raise ConfigError(f"{kind} needs MuJoCo, which cannot be imported ({error}): {INSTALL}") from error
    except Exception as error:  # what MUJOCO_GL names it loads at once, and fails in many ways
        why = f"{type(error).__name__}: {error}"
        raise ConfigError(
            f"{kind}: MuJoCo cannot be loaded ({why}); unset MUJOCO_GL, or install what it names"
        ) from error
    return importlib.import_module(f"sensorium.sim.worlds.mujoco.{module}")
