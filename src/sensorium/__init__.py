"""Sensorium collects what sensors perceive and delivers it, whole and checked, into a Zarr corpus.

store = sensorium.open("corpus")
for episode in store.query("device = 'rig-1' and duration_s > 5"): ...
"""

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
    from sensorium.corpus.reader import Corpus, Episode, Samples, Stream, Window
    from sensorium.corpus.reader import open_store as open  # noqa: A004 - sensorium.open reads like the built-in

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
_READER = {name: name for name in ("Corpus", "Episode", "Samples", "Stream", "Window")} | {"open": "open_store"}


def __getattr__(name: str) -> Any:
    """The reader's names, imported when first used: a device that only captures need not load them."""
    if name not in _READER:
        raise AttributeError(f"module 'sensorium' has no attribute {name!r}")
    from sensorium.corpus import reader

    return getattr(reader, _READER[name])
