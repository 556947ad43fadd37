"""What an ingest reports to Prometheus of its fleet, out of the store, as it is when it is scraped: what devices said
last of their state and clocks, and how directives stand.

It reads files, those that are new since it was scraped before: it says the same of an ingest in another process.
"""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from sensorium.corpus.device_report import FLEET, SAID_STATES, DeviceReport, mapping_of, number_of, report_of
from sensorium.corpus.directives import DirectiveShelf
from sensorium.episode import durable

CLOCK = {
    "offset_s": ("clock_offset_seconds", "The device's time of day less the server's"),
    "uncertainty_s": ("clock_uncertainty_seconds", "How wrong the offset may be"),
    "round_trip_s": ("clock_round_trip_seconds", "Of the clock probe that says so, to the server and back"),
    "probed_s": ("clock_probed_timestamp_seconds", "When the server was probed last, by its clock"),
}
WAITING = {
    "spool_bytes": ("spool_bytes", "Bytes in the device's spool"),
    "oldest_s": ("oldest_seconds", "Age of the oldest episode that waits there"),
    "pending": ("pending_episodes", "Episodes that wait there"),
    "held": ("held_episodes", "Episodes that are held there"),
    "in_flight": ("in_flight_bytes", "Bytes sent that the ingest has not dealt with"),
}
CAUSES = ("sensor", "overrun", "disordered", "malformed", "away", "late", "spool_full", "encoder")
"""By these samples are lost while a device records: each has a value from the beginning, or the first loss would be no
increase."""
OTHER = "other"
LABELS = ("device", "spool")
"""The latter is empty, but where several devices have one name."""
STATES = ("waits", "done", "refused", "expired", "failed")
MOST_SPOOLS = 32
"""So many of one device's name are told apart, as long as this process lives: each makes a series that whoever scrapes
keeps for long. What is said of others is counted alone."""
SETTLED_NS = 1_000_000_000
"""What a folder says of when it changed is as coarse as a clock's tick: what changed just now may again, unseen."""


class FleetMetrics(Collector):
    """Of the store at `store`. One thread scrapes at a time."""

    def __init__(self, store: Path) -> None:
        self._folder = store / FLEET
        self._reports: dict[str, tuple[int, DeviceReport]] = {}
        self._spools: dict[str, set[str]] = {}
        self._standing = StandingDirectives(DirectiveShelf(store))

    def collect(self) -> Iterator[Metric]:
        """The metrics now."""
        now_ns = time.time_ns()
        reports = self._read()
        states = Counter({"silent": 0})
        states.update(_known(each.said_state(now_ns)) for said in reports for each in (said, *said.others))
        apart = [(named, each) for said in reports for named, each in self._apart(said)]
        devices = GaugeMetricFamily(
            "sensorium_ingest_devices", "Devices by what they said last, or that they are silent", labels=["state"]
        )
        for state, n in sorted(states.items()):
            devices.add_metric([state], n)
        heard = GaugeMetricFamily(
            "sensorium_ingest_device_heard_timestamp_seconds", "When the device said something last", labels=LABELS
        )
        for named, each in apart:
            heard.add_metric(named, each.heard_ns / 1e9)
        yield from (devices, heard)
        yield from _samples(apart)
        for key, (name, text) in WAITING.items():
            gauge = GaugeMetricFamily(f"sensorium_ingest_device_{name}", text, labels=LABELS)
            for named, each in apart:
                if (value := each.number(key)) is not None:
                    gauge.add_metric(named, value)
            yield gauge
        for key, (name, text) in CLOCK.items():
            gauge = GaugeMetricFamily(f"sensorium_ingest_device_{name}", text, labels=LABELS)
            for named, each in apart:
                if (value := number_of(each.mapping("clock").get(key))) is not None:
                    gauge.add_metric(named, value)
            yield gauge
        directives = GaugeMetricFamily("sensorium_ingest_directives", "Directives, by state", labels=["state"])
        for state, n in self._standing.counts(now_ns).items():
            directives.add_metric([state], n)
        yield directives

    def _apart(self, said: DeviceReport) -> Iterator[tuple[list[str], DeviceReport]]:
        """What is said under a device's name, each with its labels: of several devices with their spools."""
        if not said.namesakes:
            yield [said.device, ""], said
            return
        known = self._spools.setdefault(said.device, set())
        for each in (said, *said.others):
            if each.spool_id in known or len(known) < MOST_SPOOLS:
                known.add(each.spool_id)
                yield [each.device, each.spool_id], each

    def _read(self) -> list[DeviceReport]:
        """What each device said last; of those that were read before what is new."""
        found: dict[str, tuple[int, DeviceReport]] = {}
        try:
            paths = sorted(path for path in self._folder.iterdir() if path.suffix == ".json" and path.name[0] != ".")
        except OSError:
            paths = []
        for path in paths:
            try:
                changed_ns = path.stat().st_mtime_ns
                known = self._reports.get(path.name)
                if known is None or known[0] != changed_ns:
                    said = report_of(durable.read_whole(path))
                    known = None if said is None else (changed_ns, said)
            except OSError:
                continue  # it is being replaced
            if known is not None:  # else a crash tore it: the next one is whole
                found[path.name] = known
        self._reports = found
        return [report for _, report in found.values()]


def _samples(apart: Sequence[tuple[list[str], DeviceReport]]) -> Iterator[Metric]:
    """What became of samples, of all streams of a device together."""
    text = "Samples of the device, as it said last: "
    captured, stored, filtered = (
        CounterMetricFamily(f"sensorium_ingest_device_{name}", text + name, labels=LABELS)
        for name in ("captured", "stored", "filtered")
    )
    lost = CounterMetricFamily("sensorium_ingest_device_lost", text + "lost, by cause", labels=(*LABELS, "cause"))
    for named, report in apart:
        streams = [mapping_of(each) for each in report.mapping("streams").values()]
        for metric, name in ((captured, "captured"), (stored, "stored")):
            metric.add_metric(named, sum(_count(each.get(name)) for each in streams))
        filtered.add_metric(
            named, sum(_count(n) for each in streams for n in mapping_of(each.get("filtered")).values())
        )
        causes = dict.fromkeys((*CAUSES, OTHER), 0.0)
        for each in streams:
            for cause, n in mapping_of(each.get("lost")).items():
                causes[cause if cause in CAUSES else OTHER] += _count(n)
        for cause, n in causes.items():
            lost.add_metric([*named, cause], n)
    yield from (captured, stored, filtered, lost)


def _count(said: object) -> float:
    """What a device says, if it can be a count."""
    return max(0.0, number_of(said) or 0.0)


def _known(state: str) -> str:
    """A label has few values, whatever devices say: each makes a series that whoever scrapes keeps for long."""
    return state if state in SAID_STATES or state == "silent" else "other"


class StandingDirectives:
    """How those of a shelf stand, one of several devices by what each has answered; that is read once, unless there is
    more."""

    def __init__(self, shelf: DirectiveShelf) -> None:
        self._shelf = shelf
        self._changed: dict[str, int] = {}
        self._waiting: dict[str, dict[str, int]] = {}
        self._answered: dict[str, dict[str, list[str]]] = {}

    def counts(self, now_ns: int) -> dict[str, int]:
        """How many are in each state at that time (UTC)."""
        found = Counter(dict.fromkeys(STATES, 0))
        for device in self._devices():
            changed_ns = self._shelf.changed_ns(device)
            if self._changed.get(device) != changed_ns:
                self._look(device)
                settled = abs(time.time_ns() - changed_ns) > SETTLED_NS
                self._changed[device] = changed_ns if settled else -1
            found.update(state for states in self._answered[device].values() for state in states)
            found.update("expired" if now_ns > ends_ns else "waits" for ends_ns in self._waiting[device].values())
        return dict(found)

    def _devices(self) -> list[str]:
        try:
            return self._shelf.devices()
        except OSError:
            return []

    def _look(self, device: str) -> None:
        answered = self._answered.setdefault(device, {})
        waiting = self._waiting[device] = {}
        again = self._shelf.answered_again(device)
        for name in self._shelf.names(device):
            if name in answered and name not in again:
                continue
            entry = self._shelf.entry(device, name)
            if entry.answer is not None:
                answered[name] = [each.state for each in (entry.answer, *entry.others)]
            elif entry.document is not None:
                waiting[name] = entry.document.expires_ns
