"""The registry of codecs: entry points of the group `sensorium.codecs`, by the name that documents give them."""

import functools
from importlib.metadata import EntryPoint

from sensorium.drivers.registry import kinds, model_of
from sensorium.episode.codecs.contract import Codec, CodecConfig
from sensorium.episode.documents import StreamEntry
from sensorium.errors import ConfigError

GROUP = "sensorium.codecs"


def codec_kinds() -> dict[str, EntryPoint]:
    """Every codec that is installed, by name; nothing is imported."""
    return kinds(GROUP)


@functools.cache
def codec_config(name: str) -> type[CodecConfig]:
    """The model of the codec `name`; an unknown one raises `ConfigError` that suggests the nearest.

    It is looked up once a process: to search what is installed takes some milliseconds.
    """
    return model_of(GROUP, name, CodecConfig, "codec")


def codec_of(entry: StreamEntry) -> Codec:
    """The codec of a stream, to be kept as long as the stream is.

    Raises:
        ConfigError: it is not installed here, or cannot hold the stream.
    """
    try:
        return codec_config(entry.encoding.codec).open(entry)
    except ConfigError as error:
        raise ConfigError(f"stream {entry.spec.name!r}: {error}") from error
