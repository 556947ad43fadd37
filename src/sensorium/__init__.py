"""Sensorium collects what sensors perceive and delivers it, whole and checked, into a Zarr corpus.

store = sensorium.open("corpus")
for episode in store.query("device = 'rig-1' and duration_s > 5"): ...
"""

import importlib
import sys
from typing import TYPE_CHECKING, Any

from sensorium.errors import (
    ConfigError,
    Corrupt,
    PeerViolation,
    SensoriumError,
    SensorLost,
    SpoolError,
    SpoolFull,
    StoreError,
)

if TYPE_CHECKING:
    from sensorium.corpus.corpus import Corpus
    from sensorium.corpus.corpus import open_store as open  # noqa: A004 - sensorium.open reads like the built-in
    from sensorium.corpus.episode import Episode
    from sensorium.corpus.stream import Samples, Stream
    from sensorium.corpus.windows import Window

__version__ = "0.1.0"
__all__ = [
    "ConfigError",
    "Corpus",
    "Corrupt",
    "Episode",
    "PeerViolation",
    "Samples",
    "SensorLost",
    "SensoriumError",
    "SpoolError",
    "SpoolFull",
    "StoreError",
    "Stream",
    "Window",
    "open",
]
_HOMES = {
    "Corpus": "corpus",
    "Episode": "episode",
    "Samples": "stream",
    "Stream": "stream",
    "Window": "windows",
    "open": "corpus",
}
"""The module under `sensorium.corpus` that each of the reader's names is in."""


_SIM_HOMES = {"record": "gym.recorded"}
"""The module under `sensorium.sim` that each of the names is in that it has beside its modules."""


def __getattr__(name: str) -> Any:
    """The reader's names, imported when first used: a device that only captures need not load them."""
    if name not in _HOMES:
        raise AttributeError(f"module 'sensorium' has no attribute {name!r}")
    home = importlib.import_module(f"sensorium.corpus.{_HOMES[name]}")
    return getattr(home, "open_store" if name == "open" else name)


def _of_sim(name: str) -> Any:
    """The names of `sensorium.sim`, imported when first used."""
    if name not in _SIM_HOMES:
        raise AttributeError(f"module 'sensorium.sim' has no attribute {name!r}")
    return getattr(importlib.import_module(f"sensorium.sim.{_SIM_HOMES[name]}"), name)


# `sensorium.sim` is a folder of the checkout, where an `__init__.py` would hide the package `sim` of others: it is a
# namespace package, in which no code stands. So its names are given to it here, before anyone can ask for one.
importlib.import_module("sensorium.sim").__dict__["__getattr__"] = _of_sim
if "gymnasium" in sys.modules:
    importlib.import_module("sensorium.sim.gym")  # the worlds are registered environments
