"""The registry of codecs: entry points of the group `sensorium.codecs`, by the name that documents give them."""

import functools
from importlib.metadata import EntryPoint

import msgspec

from sensorium.drivers.registry import kinds, model_of
from sensorium.episode.codecs.contract import Codec, CodecConfig
from sensorium.episode.documents import StreamEntry
from sensorium.errors import ConfigError

GROUP = "sensorium.codecs"
_KEPT = 256
_KEPT_BYTES = 4 << 10
_kept: dict[bytes, Codec] = {}
_ENCODER = msgspec.msgpack.Encoder()


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
    """The codec of a stream; streams of the same entry share one, as thousands of small episodes have the same few.

    Raises:
        ConfigError: it is not installed here, or cannot hold the stream.
    """
    try:
        key = _ENCODER.encode(entry)
    except (
        TypeError,
        ValueError,
        OverflowError,
        RecursionError,
        msgspec.MsgspecError,
    ):  # of no document, but a program may have put anything there
        return _opened(entry)
    codec = _kept.get(key)
    if codec is None:
        codec = _opened(entry)
        if len(key) <= _KEPT_BYTES:  # whoever sends entries: those that are kept take a few megabytes at most
            if len(_kept) >= _KEPT:
                _kept.clear()
            _kept[key] = codec
    return codec


def _opened(entry: StreamEntry) -> Codec:
    try:
        return codec_config(entry.encoding.codec).open(entry)
    except ConfigError as error:
        raise ConfigError(f"stream {entry.spec.name!r}: {error}") from error
