"""A file that is there whole or not at all: whoever reads it meanwhile finds the one before."""

import os
from pathlib import Path

from sensorium.errors import ConfigError


def replace_file(path: Path, data: bytes) -> None:
    """Put `data` into the file at `path`, in place of what is there.

    Raises:
        ConfigError: it cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_bytes(data)
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise ConfigError(f"{path}: cannot be written: {error.strerror}; name a folder that can") from error
