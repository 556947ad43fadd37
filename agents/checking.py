"""Checking: what a device file would do here, found out without a device, or by opening them; nothing is recorded."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from sensorium.agents.absent import filters_of
from sensorium.agents.device_file import DeviceFile
from sensorium.agents.directives.rules import Rules
from sensorium.agents.expected import expected
from sensorium.agents.filters.chain import FilterChain
from sensorium.agents.plans.limits import PlanLimits, in_other_units
from sensorium.agents.recording.manifest import entries_of
from sensorium.agents.selection.too_dear import too_dear
from sensorium.agents.selection.unit_costs import OF_ITEMS, UnitCosts
from sensorium.agents.sensors import check_clocks, open_sensors
from sensorium.agents.spool.floor import check_floor, no_room_now
from sensorium.agents.triggers.interval import IntervalConfig
from sensorium.agents.triggers.waiting import waits_for
from sensorium.agents.triggers.worth import WorthConfig
from sensorium.agents.uplink.capacity import DAY_S, bytes_in_a_day, too_little
from sensorium.drivers.controls import controls_of
from sensorium.drivers.driver import Driver, DriverConfig
from sensorium.episode.documents import StreamEntry
from sensorium.errors import ConfigError
from sensorium.link.keys import pair, server_key
from sensorium.perception.gray import is_pictures


@dataclass(frozen=True, slots=True)
class Checked:
    """A device file that fits its sensors: how each stream would be stored, behind which `filters`; why sensors are
    `absent`, and which were `left` closed; what its trigger does with them, a line each of what is `told`; what it asks
    for that cannot be had, a line of `advice` each."""

    clock: str
    entries: tuple[StreamEntry, ...]
    filters: Mapping[str, tuple[str, ...]]
    absent: Mapping[str, str]
    left: tuple[str, ...]
    told: tuple[str, ...]
    advice: tuple[str, ...]

    def raw_bytes_per_s(self, entry: StreamEntry) -> float | None:
        """What a stream brings before it is encoded, if its rate is known."""
        return _raw_bytes_per_s(entry)


def check(device: DeviceFile, *, devices: bool = True) -> Checked:
    """Open the sensors as a run would, make what is configured for them, and close them again; without `devices` only
    recordings and worlds, and of the others see that what is said of them can be theirs.

    Raises:
        SensoriumError: a run could not begin: a sensor that has to be there is not, or the file does not fit it, or
            a file that it names cannot be read, the spool is no folder, or the disk is smaller than what must stay free
            on it.
    """
    spool = device.at(device.spool.path)
    if spool.exists() and not spool.is_dir():
        raise ConfigError(f"spool.path: {spool} is no folder; name another")
    check_floor(spool, device.spool.min_free_bytes)
    plans = Rules(device).charter.plans
    if device.ingest is not None:
        for key, read in ((device.ingest.server_key, server_key), (device.ingest.key, pair)):
            if key is not None:
                read(device.at(key))
    with ExitStack() as stack:
        left = () if devices else tuple(name for name, config in device.sensors.items() if config.holds_device)
        there = {name: config for name, config in device.sensors.items() if name not in left}
        sensors = open_sensors(device.model_copy(update={"sensors": there}))
        stack.callback(sensors.close)
        kinds = {name: each.clock_kind for name, each in device.sensors.items()} | dict.fromkeys(
            there, sensors.clock.kind
        )
        check_clocks({name: kind for name, kind in kinds.items() if kind is not None})
        gone = {name: _gone(device.sensors[name]) for name in left}
        absent = {**sensors.absent, **gone}
        filters = filters_of(device, sensors.specs, absent)
        chain = FilterChain(sensors.specs, filters)
        more, scores = expected(device, absent)
        try:
            device.trigger.start([*chain.specs, *more])
        except ConfigError:
            if not waits_for(device.trigger, absent):
                raise
        else:
            device.trigger.check_scores([*chain.specs, *more], {**chain.scores, **scores})
        entries = entries_of(device, chain.specs, absent, chain.redactions)
        held = too_little(bytes_in_a_day(**device.uplink.model_dump()), _recorded_bytes_a_day(device, entries))
        return Checked(
            sensors.clock.kind if there else "",
            entries,
            {stream: tuple(each.kind for each in mine) for stream, mine in filters.items()},
            {name: why for name, why in absent.items() if why},
            left,
            tuple(device.trigger.told(chain.specs, chain.scores)),
            (
                *device.trigger.advice(chain.specs),
                *_too_dear(device, entries),
                *filter(None, (held, _no_room(device))),
                *_other_units(plans, sensors.drivers),
            ),
        )


def _gone(config: DriverConfig) -> str:
    """Why what a sensor opens is not there, as far as can be seen from outside; empty if nothing is wrong."""
    return f"there is no {config.node}" if config.node and not Path(config.node).exists() else ""


def _no_room(device: DeviceFile) -> str:
    spool = device.spool
    evicts = spool.when_full == "evict"
    return no_room_now(device.at(spool.path), spool.max_bytes, spool.min_free_bytes, evicts=evicts)


def _other_units(plans: PlanLimits, drivers: Mapping[str, Driver]) -> Iterator[str]:
    """What of the charter's rules is in another unit than a control has that they mean, as far as that is open."""
    controls = {name: controls_of(driver) for name, driver in drivers.items()}
    for name in controls:
        for control, why in in_other_units(plans, name, controls):
            yield f"charter: {why} of sensor {name}; plans of the kind {control.plan} are refused"


def _too_dear(device: DeviceFile, entries: Sequence[StreamEntry]) -> list[str]:
    """Whether the budget of `worth` has room for a unit, as far as is known before any was recorded."""
    trigger = device.trigger
    if not isinstance(trigger, WorthConfig):
        return []
    frames_hz = [entry.spec.rate_hz for entry in entries if is_pictures(entry.spec) and entry.spec.rate_hz]
    length_s = min([trigger.unit_s, *(1 / hz for hz in frames_hz)]) if trigger.unit == "frame" else trigger.unit_s
    counts = {entry.spec.name: (entry.spec.rate_hz or 0.0) * length_s for entry in entries}
    line = too_dear(trigger.budget, UnitCosts(entries).of(counts))
    return [f"trigger.budget: {line}"] if line else []


def _raw_bytes_per_s(entry: StreamEntry) -> float | None:
    rate_hz = entry.spec.rate_hz
    return None if rate_hz is None else rate_hz * entry.spec.sample_bytes


def _recorded_bytes_a_day(device: DeviceFile, entries: Sequence[StreamEntry]) -> float:
    """At most, as far as it can be told: raw what is lossless, a part of that what is a medium; 0 under triggers of
    which nobody knows how often they record."""
    trigger = device.trigger
    if not isinstance(trigger, IntervalConfig | WorthConfig):
        return 0.0
    a_day = DAY_S * sum(
        (_raw_bytes_per_s(entry) or 0.0) / (1 if entry.encoding.codec == "lossless" else OF_ITEMS) for entry in entries
    )
    if isinstance(trigger, IntervalConfig):
        return a_day
    budget = trigger.budget
    bounds = [a_day if budget.share is None else a_day * budget.share]
    bounds += [] if budget.bytes_per_s is None else [DAY_S * budget.bytes_per_s]
    bounds += [] if budget.bytes_per_day is None else [budget.bytes_per_day]
    return min(bounds) + DAY_S * trigger.trace.bytes_per_s
