"""Replay of an MCAP file: ROS 2 images, IMUs and any numbers by field path, from CDR or JSON messages."""

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import chain, count
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from sensorium.drivers import pacing
from sensorium.drivers.batching import to_the_end
from sensorium.drivers.clock import Clock
from sensorium.drivers.driver import DriverConfig
from sensorium.drivers.ordering import Ordered
from sensorium.drivers.pacing import Pace, Paced, Pacer
from sensorium.drivers.registry import nearest
from sensorium.drivers.replay.epoch import check_epoch
from sensorium.drivers.replay.mapping import Channel, FieldName, MappedStream, rate_of
from sensorium.drivers.replay.ros_images import IMAGES, image
from sensorium.drivers.replay.ros_messages import KNOWN, field_reader, stamp_ns
from sensorium.drivers.replay.table import BadRows
from sensorium.drivers.stream import Samples, StreamSpec
from sensorium.errors import ConfigError
from sensorium.threads import reason

if TYPE_CHECKING:
    from sensorium.drivers.replay.mcap_file import Decoder, Logged, McapFile

log = logging.getLogger(__name__)

_LOOKED_AT = 2000
_TIMES = 100
_TRIED = 5
_NAME_LENGTH = 60
_APART_NS = 60_000_000_000
Convert = Callable[[Any], Any]


class McapStream(MappedStream):
    """A stream of `topic`: its fields as `channels`, or without them what its message type is known to be."""

    topic: str
    channels: dict[str, FieldName | Channel] = Field(default_factory=dict)


class ReplayMcapConfig(DriverConfig):
    """`streams` maps stream names to topics; without it every topic of a known type is taken: images, Imu, ...

    Those are called `name.` and the topic with "_" for "/", and a number behind it where two would be called so. Images
    are [n, h, w] or [n, h, w, c] as they were sent, BGR if they are compressed or YUV; all else is float64 [n,
    channels]. Stamps are the messages' `header.stamp` where a topic has such, unless `stamps` says log; of those a
    message without one is lost. What is out of order by up to a second is put in order. Topics that are not taken are
    listed in the log. Of a damaged file what is whole is delivered. (Messages that stand outside of chunks carry no
    checksum.)
    """

    kind: Literal["replay-mcap"] = "replay-mcap"
    path: Path
    streams: dict[str, McapStream] | None = None
    stamps: Literal["header", "log"] = "header"
    utc: bool = False
    pace: Pace = 1.0

    def open(self, name: str, base: Path) -> Paced:
        """Look at the first messages of every topic; the rest is read as it is due.

        Raises:
            ConfigError: mcap is not installed, no such file, no MCAP, or a topic or field that is not there.
        """
        from sensorium.drivers.replay.mcap_file import McapFile

        path = base / self.path
        file = McapFile(path)
        seen = _look(file)
        if file.nameless and not seen:
            raise ConfigError(f"{path}: what says which topics its messages are of is damaged; nothing can be read")
        wanted = self.streams if self.streams is not None else _known(path, seen)
        streams, refused = [], []
        for part, mapped in wanted.items():
            try:
                if mapped.topic not in seen:
                    raise ConfigError(_no_topic(path, mapped.topic, file, seen))
                streams.append(self._topic_stream(path, f"{name}.{part}", mapped, seen[mapped.topic]))
            except ConfigError as error:
                if self.streams is not None:
                    raise
                log.warning("%s: not taken", error)
                refused.append(str(error).removeprefix(f"{path}: "))
        if not streams:
            known = f"no topic of a known type{_found(seen)}"
            why = f"no topic can be taken: {'; '.join(refused)}" if refused else known
            raise ConfigError(f"{path}: {why}" + "; map some under `streams`" * bool(seen))
        _say_apart(path, [(one.spec.name, seen[one.topic].apart_ns(one.spec.stamps_from)) for one in streams])
        for one in streams if self.utc else ():
            check_epoch(f"{path}: {one.spec.name}", seen[one.topic].first_ns(one.spec.stamps_from))
        clock = Clock(kind="recording", states_utc=self.utc)
        return Paced([one.spec for one in streams], clock, _play(path, file, streams), Pacer(self.pace))

    def _topic_stream(self, path: Path, name: str, stream: McapStream, topic: "_Topic") -> "_TopicStream":
        if not stream.channels and topic.type in KNOWN:
            stream = McapStream.model_validate({**KNOWN[topic.type], **stream.model_dump(exclude_unset=True)})
        if not stream.channels and topic.type not in IMAGES:
            raise ConfigError(f"{path}: {stream.topic} is {topic.type}: expected `channels`: {{name: field path}}")
        why = topic.why or "all of its messages are damaged"
        for message in topic.first:
            try:
                return _fitted(path, name, stream, topic, message, self.stamps == "header")
            except ValueError as error:
                why = str(error)
        raise ConfigError(f"{path}: {stream.topic} ({topic.type or topic.encoding}): {why}")


def _no_topic(path: Path, topic: str, file: "McapFile", seen: "dict[str, _Topic]") -> str:
    """Why there is none such."""
    if not seen:
        return f"{path}: no topic {topic!r}: there is no message in the file"
    hint = " with messages" if topic in file.defined else nearest(topic, seen)
    return f"{path}: no topic {topic!r}{hint}; found {', '.join(sorted(seen))}"


def _found(seen: "dict[str, _Topic]") -> str:
    """The first topics, and what they are."""
    if not seen:
        return ": there is no message in it"
    each = [f"{name}: {topic.what}" for name, topic in sorted(seen.items())]
    more = ["..."] * (len(each) > _TRIED)
    return f" ({', '.join(each[:_TRIED] + more)})"


def _fitted(
    path: Path, name: str, stream: McapStream, topic: "_Topic", message: Any, by_header: bool
) -> "_TopicStream":
    """What `stream` names, its spec from one of the topic's messages; `ValueError` if that cannot be read."""
    by_header = by_header and bool(topic.header_ns)
    known: dict[str, Any] = {
        "rate_hz": rate_of(f"{path}: {name}", stream.rate_hz, np.array(topic.log_ns, np.int64)),
        "stamps_from": "header" if by_header else "log",
        "frame": stream.frame or str(getattr(getattr(message, "header", None), "frame_id", "")),
    }
    if stream.channels:
        inexact = cache(partial(_say_inexact, path, stream.topic))
        readers = [field_reader(str(field), inexact) for field in stream.fields]
        factors = stream.factors

        def numbers(message: Any) -> list[float]:
            return [read(message) * factor for read, factor in zip(readers, factors, strict=True)]

        numbers(message)
        return _TopicStream(stream.topic, stream.spec(name, **known), numbers)

    picture, order = image(message)
    spec = StreamSpec(
        name=name, modality="image", dtype=picture.dtype.name, shape=picture.shape, color_order=order, **known
    )

    def pixels(message: Any) -> Samples:
        picture, found = image(message)
        got, expected = (picture.shape, picture.dtype.name, found), (spec.shape, spec.dtype, order)
        if got != expected:
            raise ValueError(f"got {got}, expected {expected}")
        return picture

    return _TopicStream(stream.topic, spec, pixels)


def _say_inexact(path: Path, topic: str, field: str) -> None:
    log.warning("%s: %s.%s: whole numbers beyond 2^53 are not exact as float64", path, topic, field)


def _say_apart(path: Path, streams: list[tuple[str, int]]) -> None:
    """Warn of streams whose stamps are of another clock than those of others."""
    (low, low_ns), (high, high_ns) = (pick(streams, key=itemgetter(1)) for pick in (min, max))
    if high_ns - low_ns > _APART_NS:
        log.warning(
            "%s: %s is stamped %.0f s before %s: by another clock? with `stamps: log` all have the recorder's",
            path,
            low,
            (high_ns - low_ns) / 1e9,
            high,
        )


def _play(path: Path, file: "McapFile", streams: "list[_TopicStream]") -> pacing.Source:
    batcher = Ordered(one.spec for one in streams)
    return to_the_end(_read(path, file.again(), streams, batcher), batcher.end)


def _read(path: Path, file: "McapFile", streams: "list[_TopicStream]", batcher: Ordered) -> Iterator[pacing.Due]:
    from sensorium.drivers.replay.mcap_file import Decoder

    bad, decoder = BadRows(path), Decoder()
    with closing(file.messages()) as messages:
        for logged in messages:
            for one in streams:
                if one.topic != logged.topic:
                    continue
                by_header = one.spec.stamps_from == "header"
                at_ns = None if by_header else logged.log_ns
                try:
                    message = decoder.decode(logged)
                    at_ns = stamp_ns(message) if by_header else at_ns
                    if at_ns is None:
                        raise ValueError("has no stamp, as others of its topic have")
                    if at_ns >= 2**63:
                        raise ValueError("its time is beyond 64 bits of nanoseconds")
                    sample = one.convert(message)
                except Exception as error:  # what a message holds is anybody's, and its faults are its alone
                    bad.say(f"{logged.topic} at {logged.log_ns} ns", _why(error))
                    batcher.lose(one.spec.name, at_ns=at_ns)
                    continue
                yield from batcher.add(one.spec.name, at_ns, sample, min(logged.log_ns, 2**63 - 1))


@dataclass(frozen=True, slots=True)
class _TopicStream:
    """One stream: its topic, and what makes a sample of a decoded message (`ValueError` if it cannot)."""

    topic: str
    spec: StreamSpec
    convert: Convert


@dataclass(slots=True)
class _Topic:
    """What the first messages of a topic show: those that can be read, and why another could not."""

    type: str
    encoding: str
    first: list[Any] = field(default_factory=list)
    log_ns: list[int] = field(default_factory=list)
    header_ns: list[tuple[int, int]] = field(default_factory=list)
    """Stamp and log time of those that have a stamp."""
    why: str = ""

    @property
    def what(self) -> str:
        """Its encoding and type."""
        return f"{self.encoding or 'no encoding'} {self.type or 'without schema'}"

    def first_ns(self, stamps_from: str) -> int:
        """The first of the stamps that are taken; 0 where none of those that were looked at can be."""
        stamps = [stamp for stamp, _ in self.header_ns] if stamps_from == "header" else self.log_ns
        return stamps[0] if stamps else 0

    def apart_ns(self, stamps_from: str) -> int:
        """How far the stamps that are taken are from the recorder's time."""
        if stamps_from != "header":
            return 0
        return int(np.median([stamp - log for stamp, log in self.header_ns]))


def _look(file: "McapFile") -> dict[str, _Topic]:
    """The topics of a file, by its first messages; all of it is read where no index says which topics there are."""
    from sensorium.drivers.replay.mcap_file import Decoder

    seen: dict[str, _Topic] = {}
    decoder = Decoder()
    with closing(file.messages()) as messages:
        for number, logged in enumerate(messages):
            name = logged.schema.name if logged.schema else ""
            topic = seen.setdefault(logged.topic, _Topic(name, logged.encoding))
            if len(topic.log_ns) < _TIMES and logged.log_ns < 2**63:
                topic.log_ns.append(logged.log_ns)
            if len(topic.first) < _TRIED or (not topic.header_ns and len(topic.log_ns) < _TIMES):
                _try(decoder, logged, topic)
            if number >= _LOOKED_AT and file.topics is not None and file.topics <= seen.keys():
                break
    return seen


def _try(decoder: "Decoder", logged: "Logged", topic: _Topic) -> None:
    try:
        message = decoder.decode(logged)
        if len(topic.first) < _TRIED:
            topic.first.append(message)
        at_ns = stamp_ns(message)
    except Exception as error:  # as above
        topic.why = _why(error)
        return
    if at_ns is not None:
        topic.header_ns.append((at_ns, logged.log_ns))


def _why(error: Exception) -> str:
    """A `ValueError` explains itself."""
    return str(error) if isinstance(error, ValueError) else reason(error)


def _known(path: Path, seen: dict[str, _Topic]) -> dict[str, McapStream]:
    streams: dict[str, McapStream] = {}
    for name, topic in sorted(seen.items()):
        if topic.encoding in ("cdr", "json") and (topic.type in KNOWN or topic.type in IMAGES):
            plain = re.sub(r"[^A-Za-z0-9_.-]+", "_", name).strip("_.-")[:_NAME_LENGTH] or "root"
            numbered = (f"{plain}_{number}" for number in count(2))
            part = next(part for part in chain([plain], numbered) if part not in streams)
            streams[part] = McapStream(topic=name)
            if part != plain:
                log.warning("%s: topic %s is called %s, as %s is another's", path, name, part, plain)
        else:
            log.warning("%s: topic %s (%s) is not taken", path, name, topic.what)
    return streams
