"""The option `--small SIZE`, which says the same of what arrives and of what is packed: which episodes become ZIPs."""

import pydantic

from sensorium.errors import ConfigError
from sensorium.ingest.held_room import MAX_SMALL_BYTES


def small_bytes(text: str) -> int:
    """
    >>> small_bytes("8MB"), small_bytes("0")
    (8000000, 0)
    """
    try:
        found = int(pydantic.TypeAdapter(pydantic.ByteSize).validate_python(text))
    except pydantic.ValidationError as error:
        raise ConfigError(f"--small {text!r}: expected a size, as 8MB, 500kB or 0") from error
    if found > MAX_SMALL_BYTES:
        raise ConfigError(
            f"--small {text!r}: at most {MAX_SMALL_BYTES // 10**6}MB, as each such episode is held in memory"
        )
    return found
