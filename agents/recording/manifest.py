"""What all episodes of one run say of themselves in their OPEN: device, mission, clock, streams, and their origin."""

import platform
from collections.abc import Collection, Mapping, Sequence
from importlib.metadata import version

import msgspec

from sensorium.agents.absent import sensor_of
from sensorium.agents.device_file import DeviceFile
from sensorium.agents.replays import Replay
from sensorium.drivers.clock import Clock
from sensorium.drivers.registry import nearest
from sensorium.drivers.stream import StreamSpec
from sensorium.episode.codecs.lossless import LosslessConfig
from sensorium.episode.documents import (
    FORMAT_VERSION,
    MAX_WHY,
    Mission,
    Open,
    Origin,
    Provenance,
    Redaction,
    StreamEntry,
)
from sensorium.errors import ConfigError

Redactions = Mapping[str, tuple[Redaction, ...]]

_ORIGINS: dict[str, Origin] = {"boottime": "sensor", "recording": "sensor", "simulated": "simulator"}


def manifest_of(
    device: DeviceFile,
    specs: tuple[StreamSpec, ...],
    clock: Clock,
    spool_id: str,
    absent: Mapping[str, str] | None = None,
    replay: Replay | None = None,
    redactions: Redactions | None = None,
) -> Open:
    """An OPEN in which episode, ordinal and interval are still to be filled in; `absent` says of sensors why they are,
    `replay` what is played, `redactions` what is taken out of streams.

    Raises:
        ConfigError: an encoding is for a stream that there is not, or for one that it cannot encode.
    """
    return Open(
        version=FORMAT_VERSION,
        episode=bytes(16),
        device=device.device,
        spool_id=spool_id,
        ordinal=0,
        start_ns=0,
        end_ns=0,
        mission=Mission(**device.mission.model_dump(include={"name", "domain", "priority"}, exclude_defaults=True)),
        clock=clock,
        streams=entries_of(device, specs, absent or {}, redactions or {}),
        provenance=_provenance(device, clock, replay or Replay()),
        software={"sensorium": version("sensorium"), "python": platform.python_version()},
        absent=in_brief(absent or {}),
        labels=device.mission.labels,
    )


def _provenance(device: DeviceFile, clock: Clock, replay: Replay) -> Provenance:
    return Provenance(
        origin=_ORIGINS[clock.kind],
        source=replay.source,
        sources=dict(replay.sources),
        configuration=replay.configuration,
        **device.provenance.model_dump(),
    )


def entries_of(
    device: DeviceFile, specs: Sequence[StreamSpec], absent: Collection[str], redactions: Redactions
) -> tuple[StreamEntry, ...]:
    """How streams are stored. What is said of streams of sensors that are `absent` waits for them.

    Raises:
        ConfigError: an encoding is for a stream that there is not, or for one that it cannot encode.
    """
    known = {spec.name: spec for spec in specs}
    for name in device.encodings:
        if name not in known and not sensor_of(device, name, absent):
            hint = nearest(name, known)
            raise ConfigError(f"encodings.{name}: no stream {name!r}{hint} (there are: {', '.join(sorted(known))})")
    entries = (device.encodings.get(spec.name, LosslessConfig()).entry(spec) for spec in specs)
    return tuple(msgspec.structs.replace(entry, redactions=redactions.get(entry.spec.name, ())) for entry in entries)


def in_brief(absent: Mapping[str, str]) -> dict[str, str]:
    """As an OPEN says it."""
    return {sensor: " ".join(why.encode(errors="replace").decode().split())[:MAX_WHY] for sensor, why in absent.items()}
