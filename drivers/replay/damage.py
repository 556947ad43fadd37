"""Damage of a file that a library reads for us."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from sensorium.errors import ConfigError, SensoriumError


@contextlib.contextmanager
def damage_is_said(path: Path) -> Iterator[None]:
    """What is made of the bytes of a damaged file raises anything: mcap, lz4, json, protobuf and h5py each their own.

    Raises:
        ConfigError: of all that says neither what it is nor that the file cannot be read.
    """
    try:
        yield
    except (SensoriumError, OSError):
        raise
    except Exception as error:
        raise ConfigError(f"{path}: damaged: {type(error).__name__}: {error}; export or get it again") from error
