"""Replay of an MCAP file that `sensorium export --to mcap` wrote: its channels say which stream each was."""

import json
from collections.abc import Callable, Generator, Iterator
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import msgspec
import numpy as np

from sensorium.drivers.batching import BLOCK_NS
from sensorium.drivers.clock import Clock
from sensorium.drivers.driver import Delivery, Driver, DriverConfig
from sensorium.drivers.marks import EpisodeBegin, EpisodeEnd
from sensorium.drivers.media import JPEG, Media
from sensorium.drivers.pacing import Due, Pace, Pacer, Timed
from sensorium.drivers.replay.damage import damage_is_said
from sensorium.drivers.stream import Block, StreamSpec
from sensorium.errors import ConfigError

if TYPE_CHECKING:
    from mcap.reader import McapReader

STREAM, EPISODE = "sensorium.stream", "sensorium.episode"
_COMPRESSED, _RAW = "foxglove.CompressedImage", "foxglove.RawImage"
_MOST_BYTES = 8 << 20


class ReplayMcapExportConfig(DriverConfig):
    """`path` is an MCAP file of one episode, as an export writes it; other files are `replay-mcap`'s.

    Streams are called `name.` and what they were called, and have the specs that they had. Stamps are UTC where that
    was known and does not step back, else those of the device. JPEGs stay as they are.
    """

    kind: Literal["replay-mcap-export"] = "replay-mcap-export"
    path: Path
    pace: Pace = 1.0

    def open(self, name: str, base: Path) -> Driver:
        """Read what the channels are, and all stamps; messages are read as they are due.

        Raises:
            ConfigError: mcap or protobuf is not installed, no such file, one that was cut short or that no export
                wrote, or one of several episodes.
        """
        path = base / self.path
        channels, by_utc = _channels(path, name)
        with path.open("rb") as file:
            _check_order(path, _reader(path, file))
        clock = Clock(kind="recording", states_utc=by_utc)
        specs = [each.spec for each in channels.values()]
        return Timed(specs, clock, _play(path, channels), Pacer(self.pace))


def is_export(path: Path) -> bool:
    """Whether a file says that an export wrote it."""
    try:
        with path.open("rb") as file:
            summary = _reader(path, file).get_summary()
    except (OSError, ConfigError):
        return False
    return summary is not None and any(STREAM in each.metadata for each in summary.channels.values())


def jpeg_streams(path: Path, name: str) -> list[str]:
    """The streams that are JPEGs already, as `name` has them called."""
    channels, _ = _channels(path, name)
    return [each.spec.name for each in channels.values() if each.jpeg]


class _Channel(NamedTuple):
    """A stream: what it is, whether its messages hold JPEGs, and what makes a sample of a message."""

    spec: StreamSpec
    jpeg: bool
    sample: Callable[[bytes], Any]


def _reader(path: Path, file: Any) -> "McapReader":
    try:
        from mcap.exceptions import McapError
        from mcap.reader import make_reader
    except ImportError as error:
        raise ConfigError("replay-mcap-export needs mcap: pip install 'sensorium[mcap]'") from error
    try:
        reader = make_reader(file, validate_crcs=True)
        reader.get_summary()
    except (McapError, ValueError, OSError) as error:
        raise ConfigError(f"{path}: cannot be read as MCAP: {error}; is it whole?") from error
    return reader


def _channels(path: Path, name: str) -> tuple[dict[int, _Channel], bool]:
    """By their numbers; and whether they are to be stamped by UTC."""
    try:
        with path.open("rb") as file, damage_is_said(path):
            reader = _reader(path, file)
            summary = reader.get_summary()
            if summary is None or not summary.channels:
                raise ConfigError(f"{path}: no index of channels; is it whole?")
            documents = [
                json.loads(each.metadata["document"]) for each in reader.iter_metadata() if each.name == EPISODE
            ]
            found = {}
            for number, channel in summary.channels.items():
                if STREAM not in channel.metadata:
                    raise ConfigError(f"{path}: {channel.topic} is of no export; use --kind replay-mcap")
                found[number] = _channel(path, name, channel, summary.schemas[channel.schema_id])
            if len(documents) != 1:
                raise ConfigError(f"{path}: {len(documents)} episodes, expected one; export into a folder, a file each")
            return found, documents[0]["episode"].get("start_utc") is not None
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}: expected an MCAP file") from error


def _check_order(path: Path, reader: "McapReader") -> None:
    """Damage, or where UTC stepped back, so that samples of a stream changed places."""
    counts: dict[int, int] = {}
    with damage_is_said(path):
        for _, channel, message in reader.iter_messages(log_time_order=False):
            if message.sequence != counts.get(channel.id, 0):
                raise ConfigError(f"{path}: {channel.topic}: its UTC steps back, or samples are gone; use --to hdf5")
            counts[channel.id] = message.sequence + 1


def _channel(path: Path, name: str, channel: Any, schema: Any) -> _Channel:
    said = json.loads(channel.metadata[STREAM])["spec"]
    try:
        spec = msgspec.convert({**said, "name": f"{name}.{said['name']}", "has_sensor_ns": False}, StreamSpec)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {channel.topic}: {error}") from error
    return _Channel(spec, schema.name == _COMPRESSED, _sampling(schema, spec))


def _sampling(schema: Any, spec: StreamSpec) -> Callable[[bytes], Any]:
    """What makes a sample of a message, by the schema in the file."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    pool = descriptor_pool.DescriptorPool()
    for each in descriptor_pb2.FileDescriptorSet.FromString(schema.data).file:
        pool.Add(each)
    described = pool.FindMessageTypeByName(schema.name)
    parse = message_factory.GetMessageClass(described).FromString
    if schema.name == _COMPRESSED:
        return lambda data: parse(data).data
    little = np.dtype(spec.dtype).newbyteorder("<")
    if schema.name == _RAW:
        return lambda data: np.frombuffer(parse(data).data, little).reshape(spec.shape)
    names = [field.name for field in described.fields][1:]
    fields = attrgetter(*names)
    return lambda data: np.array(fields(parse(data)), spec.dtype).reshape(spec.shape)


def _play(path: Path, channels: dict[int, _Channel]) -> Generator[tuple[int, Delivery], None, None]:
    waiting: dict[int, list[tuple[int, Any]]] = {}
    since_ns = at_ns = None
    held = 0
    with path.open("rb") as file, damage_is_said(path):
        for _, _, message in _reader(path, file).iter_messages(log_time_order=False):
            at_ns = message.log_time
            if since_ns is None:
                yield at_ns, EpisodeBegin(at_ns)
            if since_ns is None or at_ns - since_ns >= BLOCK_NS or held > _MOST_BYTES:
                yield from _due(channels, waiting)
                since_ns, held = at_ns, 0
            sample = channels[message.channel_id].sample(message.data)
            waiting.setdefault(message.channel_id, []).append((at_ns, sample))
            held += len(message.data)
    yield from _due(channels, waiting)
    if at_ns is not None:
        yield at_ns, EpisodeEnd(at_ns + 1)


def _due(channels: dict[int, _Channel], waiting: dict[int, list[tuple[int, Any]]]) -> Iterator[Due]:
    for number, rows in sorted(waiting.items(), key=lambda each: each[1][-1][0]):
        channel = channels[number]
        samples = [sample for _, sample in rows]
        data = Media(JPEG, samples) if channel.jpeg else np.stack(samples)
        yield rows[-1][0], Block(channel.spec.name, np.array([at for at, _ in rows], np.int64), data)
    waiting.clear()
