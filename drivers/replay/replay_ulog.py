"""Replay of a PX4 flight log (ULog): topics become streams in SI units, what the log says it dropped is counted."""

import logging
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from sensorium.drivers.batching import estimate_rate_hz, rows_source
from sensorium.drivers.clock import Clock
from sensorium.drivers.driver import DriverConfig
from sensorium.drivers.pacing import Pace, Paced, Pacer, merge
from sensorium.drivers.registry import nearest
from sensorium.drivers.replay.mapping import MappedStream
from sensorium.drivers.stream import Stamps, StreamSpec
from sensorium.errors import ConfigError

if TYPE_CHECKING:
    from pyulog import ULog

log = logging.getLogger(__name__)


class UlogStream(MappedStream):
    """A stream made of fields of `topic`, of its instance number `instance`."""

    topic: str
    instance: int = Field(default=0, ge=0)


def _known(topic: str, modality: str, units: dict[str, str], **fields: str) -> dict[str, Any]:
    channels = {name: {"field": path, "unit": units.get(name[0], "")} for name, path in fields.items()}
    return {"topic": topic, "modality": modality, "channels": channels}


_AXES = {"x": "x", "y": "y", "z": "z"}
_KNOWN = {
    document["topic"]: document
    for document in (
        _known(
            "sensor_combined",
            "imu",
            {"g": "rad/s", "a": "m/s^2"},
            **{f"g{axis}": f"gyro_rad[{n}]" for n, axis in enumerate("xyz")},
            **{f"a{axis}": f"accelerometer_m_s2[{n}]" for n, axis in enumerate("xyz")},
        ),
        _known("sensor_gyro", "gyroscope", dict.fromkeys("xyz", "rad/s"), **_AXES),
        _known("sensor_accel", "accelerometer", dict.fromkeys("xyz", "m/s^2"), **_AXES),
        _known("sensor_mag", "magnetometer", dict.fromkeys("xyz", "G"), **_AXES),
        _known(
            "vehicle_magnetometer",
            "magnetometer",
            dict.fromkeys("xyz", "G"),
            **{axis: f"magnetometer_ga[{n}]" for n, axis in enumerate("xyz")},
        ),
        _known("vehicle_air_data", "barometer", {"p": "Pa", "h": "m"}, p="baro_pressure_pa", h="baro_alt_meter"),
        _known("vehicle_attitude", "pose", {}, qw="q[0]", qx="q[1]", qy="q[2]", qz="q[3]"),
        _known(
            "vehicle_local_position",
            "pose",
            {**dict.fromkeys("xyz", "m"), "v": "m/s"},
            **_AXES,
            **{f"v{axis}": f"v{axis}" for axis in "xyz"},
        ),
    )
}


class ReplayUlogConfig(DriverConfig):
    """`streams` maps stream names to fields of topics; without it the sensor topics that are known are taken.

    Those are called `name.topic`, further instances of a topic `name.topic_1`, ... Every stream is float64 [n,
    channels]. Stamps are the log's `timestamp`, microseconds since the vehicle's boot. Where the log says that the
    logger dropped messages, each stream's missing samples are counted by its rate.
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
        topics = _KNOWN if self.streams is None else [stream.topic for stream in self.streams.values()]
        ulog = _read(path, list(topics))
        found = {(data.name, int(data.multi_id)): data for data in ulog.data_list}
        taken = self.streams if self.streams is not None else _known_streams(found)
        sources, specs = [], []
        for part, stream in taken.items():
            if (stream.topic, stream.instance) not in found:
                raise ConfigError(_no_topic(path, stream))
            values = found[stream.topic, stream.instance].data
            stamps = values["timestamp"].astype(np.int64) * 1000
            fields = [_field(path, stream.topic, values, str(field)) for field in stream.fields]
            spec = stream.spec(f"{name}.{part}", rate_hz=stream.rate_hz or estimate_rate_hz(stamps))
            data = np.stack(fields, axis=1) * np.array(stream.factors)
            specs.append(spec)
            sources.append(rows_source(spec.name, stamps, data, _dropped(ulog, spec, stamps)))
        if not specs:
            raise ConfigError(f"{path}: none of the known sensor topics in it; map others under `streams`")
        return Paced(specs, Clock(kind="recording"), merge(sources), Pacer(self.pace))


def _read(path: Path, topics: list[str] | None) -> "ULog":
    try:
        from pyulog import ULog
        from pyulog.exceptions import ULogException
    except ImportError as error:
        raise ConfigError("replay-ulog needs pyulog: pip install 'sensorium[ulog]'") from error
    try:
        with path.open("rb") as file:
            ulog = ULog(file, topics)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}: expected a ULog file; check the path") from error
    except (ULogException, TypeError, ValueError, KeyError, IndexError, AttributeError, struct.error) as error:
        raise ConfigError(f"{path}: {' '.join(str(error).split())}: expected a ULog file (.ulg)") from error
    if ulog.file_corruption:
        log.warning("%s: damaged or cut short; what is good is kept, what is missing cannot be counted", path)
    return ulog


def _known_streams(found: dict[tuple[str, int], Any]) -> dict[str, UlogStream]:
    streams = {}
    for topic, instance in sorted(found):
        stream = UlogStream.model_validate({**_KNOWN[topic], "instance": instance})
        if set(stream.fields) <= found[topic, instance].data.keys():
            streams[topic + (f"_{instance}" if instance else "")] = stream
        else:
            log.warning("topic %s has not the fields expected: ignored; map it under `streams`", topic)
    return streams


def _field(path: Path, topic: str, values: dict[str, Any], field: str) -> np.typing.NDArray[np.float64]:
    if field not in values:
        raise ConfigError(f"{path}: {topic} has no field {field!r}{nearest(field, values)}; found {', '.join(values)}")
    return np.asarray(values[field], np.float64)


def _no_topic(path: Path, stream: UlogStream) -> str:
    topics = sorted({str(data.name) for data in _read(path, None).data_list})
    hint = nearest(stream.topic, topics)
    return f"{path}: no topic {stream.topic!r} instance {stream.instance}{hint}; found {', '.join(topics)}"


def _dropped(ulog: "ULog", spec: StreamSpec, stamps: Stamps) -> Stamps:
    """int64 [n + 1]: samples missing before each row, where the log reports a dropout in that gap."""
    lost = np.zeros(len(stamps) + 1, np.int64)
    if spec.rate_hz is None:
        return lost
    for dropout in ulog.dropouts:
        # the report is stamped with the last message before it and says for how many ms nothing was written
        row = int(np.searchsorted(stamps, dropout.timestamp * 1000, side="right"))
        if 0 < row < len(stamps):
            gap_s = float(stamps[row] - stamps[row - 1]) / 1e9
            lost[row] = max(0, round(gap_s * spec.rate_hz) - 1)
    return lost
