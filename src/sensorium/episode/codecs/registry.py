"""The registry of codecs: entry points of the group `sensorium.codecs`, by the name that documents give them."""

import functools
from importlib.metadata import EntryPoint

import msgspec

from sensorium.drivers.registry import kinds, model_of
from sensorium.episode.codecs.contract import Codec, CodecConfig
from sensorium.episode.documents import StreamEntry
from sensorium.errors import ConfigError

GROUP = "sensorium.codecs"
_KEPT = 128
_KEPT_BYTES = 1 << 10
_kept: dict[tuple[type[CodecConfig], bytes], Codec] = {}
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
        config = codec_config(entry.encoding.codec)
        key = _key(entry)
        codec = _kept.get((config, key))
        if codec is None:
            codec = config.open(entry)
            if 0 < len(key) <= _KEPT_BYTES:  # decoded it may be 60 times as much: some megabytes in all
                if len(_kept) >= _KEPT:
                    _kept.clear()
                _kept[config, key] = codec
    except ConfigError as error:
        raise ConfigError(f"stream {entry.spec.name!r}: {error}") from error
    return codec


def _key(entry: StreamEntry) -> bytes:
    """What entries that are the same have in common; empty if it is no document, as a program may make one."""
    try:
        return _ENCODER.encode(entry)
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError):
        return b""
