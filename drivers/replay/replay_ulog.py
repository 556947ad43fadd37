"""Replay of a PX4 flight log (ULog): topics become streams in SI units, what the log says it dropped is counted."""

import logging
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from sensorium.drivers.batching import rows_source
from sensorium.drivers.clock import Clock
from sensorium.drivers.driver import DriverConfig
from sensorium.drivers.ordering import order_of
from sensorium.drivers.pacing import Pace, Paced, Pacer, merge
from sensorium.drivers.registry import nearest
from sensorium.drivers.replay.mapping import MappedStream, rate_of
from sensorium.drivers.replay.px4_topics import TOPICS, known_stream
from sensorium.drivers.replay.ulog_records import whole_records
from sensorium.drivers.stream import Samples, Stamps, StreamSpec
from sensorium.errors import ConfigError

if TYPE_CHECKING:
    from pyulog import ULog

log = logging.getLogger(__name__)

_EXACT = 2**53
_STEADY_ROWS, _STEADY_SHARE, _HOLE = 10, 0.9, 2.5


class UlogStream(MappedStream):
    """A stream made of fields of `topic`, of its instance number `instance`."""

    topic: str
    instance: int = Field(default=0, ge=0)


class ReplayUlogConfig(DriverConfig):
    """`streams` maps stream names to fields of topics; without it the sensor topics that are known are taken.

    Those are called `name.topic`, further instances of a topic `name.topic_1`, ...; the log lists what is not taken.
    Every stream is float64 [n, channels]. Stamps are the log's `timestamp`, microseconds since the vehicle's boot;
    samples without one are lost. Where the log says that the logger dropped messages, or a stream that is steady has a
    hole, its missing samples are counted by its rate.
    """

    kind: Literal["replay-ulog"] = "replay-ulog"
    path: Path
    streams: dict[str, UlogStream] | None = None
    pace: Pace = 1.0

    def open(self, name: str, base: Path) -> Paced:
        """Read the log; of its topics only those that are taken.

        Raises:
            ConfigError: pyulog is not installed, no such file, no ULog, or a topic or field that is not there.
        """
        path = base / self.path
        topics = TOPICS if self.streams is None else [stream.topic for stream in self.streams.values()]
        ulog, logged = _read(path, list(topics))
        found = {(data.name, int(data.multi_id)): data for data in ulog.data_list}
        taken = self.streams if self.streams is not None else _known_streams(path, found, logged)
        sources, specs, refused = [], [], []
        for part, stream in taken.items():
            if (stream.topic, stream.instance) not in found:
                raise ConfigError(_no_topic(path, stream, found, logged))
            values = found[stream.topic, stream.instance].data
            if why := _unstamped(values):
                refused.append(f"topic {stream.topic} {why}")
                log.warning("%s: %s: not taken", path, refused[-1])
                continue
            fields = [_field(path, stream.topic, values, str(field)) for field in stream.fields]
            data = np.stack(fields, axis=1) * np.array(stream.factors)
            stamps, data, lost = _stamped(f"{path}: {stream.topic}", values["timestamp"], data)
            rate_hz = rate_of(f"{path}: {name}.{part}", stream.rate_hz, stamps)
            spec = stream.spec(f"{name}.{part}", rate_hz=rate_hz)
            specs.append(spec)
            sources.append(rows_source(spec.name, stamps, data, lost + _missing(ulog, spec, stamps)))
        if not specs:
            why = "; ".join(refused) or "none of the known sensor topics in it"
            raise ConfigError(f"{path}: {why}; map others under `streams`")
        return Paced(specs, Clock(kind="recording"), merge(sources), Pacer(self.pace))


def _read(path: Path, topics: list[str]) -> tuple["ULog", set[str]]:
    """The log with these topics, and the names of all that it has."""
    try:
        from pyulog import ULog
        from pyulog.exceptions import ULogException
    except ImportError as error:
        raise ConfigError("replay-ulog needs pyulog: pip install 'sensorium[ulog]'") from error
    logged: set[str] = set()

    class HeardTopic(ULog._MessageAddLogged):  # type: ignore[misc]
        """It says which topics there are, also of those that are passed over."""

        def __init__(self, *parts: Any) -> None:
            super().__init__(*parts)
            logged.add(self.message_name)

    class HeardLog(ULog):  # type: ignore[misc]
        """A log that hears which topics it has."""

        _MessageAddLogged = HeardTopic

    try:
        file, cut_at = whole_records(path)
        with file:
            ulog = HeardLog(file, topics)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}: expected a ULog file; check the path") from error
    except (ULogException, TypeError, ValueError, KeyError, IndexError, AttributeError, struct.error) as error:
        raise ConfigError(f"{path}: {' '.join(str(error).split())}: expected a ULog file (.ulg)") from error
    if ulog.file_corruption or cut_at is not None:
        where = "" if cut_at is None else f" at byte {cut_at}"
        log.warning("%s: damaged or cut short%s; what is good is kept, what is missing cannot be counted", path, where)
    return ulog, logged


def _known_streams(path: Path, found: dict[tuple[str, int], Any], logged: set[str]) -> dict[str, UlogStream]:
    streams = {}
    for topic, instance in sorted(found):
        document = known_stream(topic, found[topic, instance].data)
        if document is not None:
            stream = UlogStream.model_validate({**document, "instance": instance})
            streams[topic + (f"_{instance}" if instance else "")] = stream
        else:
            log.warning("%s: topic %s has not the fields expected: ignored; map it under `streams`", path, topic)
    if untaken := sorted(logged - {topic for topic, _ in found}):
        log.warning("%s: topics not taken: %s", path, ", ".join(untaken))
    return streams


def _field(path: Path, topic: str, values: dict[str, Any], field: str) -> np.typing.NDArray[np.float64]:
    if field not in values:
        raise ConfigError(f"{path}: {topic} has no field {field!r}{nearest(field, values)}; found {', '.join(values)}")
    exact = values[field]
    numbers = np.asarray(exact, np.float64)
    if exact.dtype.itemsize == 8 and exact.dtype.kind in "iu" and bool((np.abs(numbers) >= _EXACT).any()):
        log.warning("%s: %s.%s: whole numbers beyond 2^53 are not exact as float64", path, topic, field)
    return numbers


def _no_topic(path: Path, stream: UlogStream, found: dict[tuple[str, int], Any], logged: set[str]) -> str:
    if not logged:
        return f"{path}: no topic {stream.topic!r}: there is no topic in the file"
    empty = stream.topic in logged and not any(topic == stream.topic for topic, _ in found)
    hint = " (it is empty)" if empty else nearest(stream.topic, logged)
    return f"{path}: no topic {stream.topic!r} instance {stream.instance}{hint}; found {', '.join(sorted(logged))}"


def _unstamped(values: dict[str, Any]) -> str:
    """Why no sample of a topic has a stamp; empty if they have."""
    if "timestamp" not in values:
        return "has no timestamp"
    kind = values["timestamp"].dtype
    return "" if kind.kind in "iu" else f"has a timestamp of {kind}, not of whole microseconds"


def _stamped(what: str, timestamps: Any, data: Samples) -> tuple[Stamps, Samples, Stamps]:
    """Stamps and data of the rows with a stamp, in order, and how many were lost before each and after the last."""
    good = (timestamps > 0) & (timestamps <= (2**63 - 1) // 1000)
    if not good.all():
        log.warning("%s: %d samples without a stamp that can be: counted lost", what, int((~good).sum()))
    lost = np.bincount(np.cumsum(good)[~good], minlength=int(good.sum()) + 1).astype(np.int64)
    stamps, data = timestamps[good].astype(np.int64) * 1000, data[good]
    if (order := order_of(stamps)) is not None:
        log.warning("%s: stamps step back: what is out of order by up to a second is put in order", what)
        stamps, data, lost[:-1] = stamps[order], data[order], lost[order]
    return stamps, data, lost


def _missing(ulog: "ULog", spec: StreamSpec, stamps: Stamps) -> Stamps:
    """int64 [n + 1]: samples missing before each row, where the log reports a dropout in that gap, or the stream, else
    steady, has a hole; and after the last, for as long as reports behind it say."""
    lost = np.zeros(len(stamps) + 1, np.int64)
    if spec.rate_hz is None:
        return lost
    gaps_ns = np.diff(stamps)
    # the report is stamped with the last message before it and says for how many ms nothing was written
    dropped = {int(np.searchsorted(stamps, dropout.timestamp * 1000, side="right")) for dropout in ulog.dropouts}
    steady_ns = float(np.median(gaps_ns)) if len(gaps_ns) >= _STEADY_ROWS else 0.0
    if steady_ns and float(np.mean(np.abs(gaps_ns - steady_ns) <= steady_ns / 2)) >= _STEADY_SHARE:
        dropped |= set((np.flatnonzero(gaps_ns > _HOLE * steady_ns) + 1).tolist())
    for row in dropped:
        if 0 < row < len(stamps):
            lost[row] = max(0, round(float(gaps_ns[row - 1]) / 1e9 * spec.rate_hz) - 1)
    # at the end nothing follows; a stream that had ended before has lost nothing
    behind_ns = [(each.timestamp * 1000 - int(stamps[-1]), each.duration) for each in ulog.dropouts if len(stamps)]
    at_end_ms = sum(ms for after_ns, ms in behind_ns if 0 <= after_ns <= _HOLE * 1e9 / spec.rate_hz)
    lost[-1] = round(at_end_ms / 1000 * spec.rate_hz)
    return lost
