"""What a device reports to Prometheus, out of its agent's status as it is when it is scraped."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from sensorium.errors import SensoriumError
from sensorium.ingest.figures import histogram
from sensorium.ingest.fleet_metrics import CAUSES, CLOCK

_LINK = {
    "sent_bytes": "Episode bytes sent",
    "committed": "Episodes that the ingest says are in its store",
    "rejected": "Episodes that the ingest rejected",
    "sessions": "Sessions opened",
}


class DeviceMetrics(Collector):
    """`status` is that of a hosted agent."""

    def __init__(self, status: Callable[[], Mapping[str, Any]]) -> None:
        self._status = status

    def collect(self) -> Iterator[Metric]:
        """The metrics now; none once there is no agent any more."""
        try:
            status = self._status()
        except SensoriumError:
            return
        device, link = str(status["device"]), status.get("link") or {}
        yield from self._samples(device, status["streams"])
        for name, text in _LINK.items():
            metric = CounterMetricFamily(f"sensorium_device_{name}", text, labels=["device"])
            metric.add_metric([device], float(link.get(name, 0)))
            yield metric
        gauges = {
            "spool_bytes": ("Bytes in the spool", status["spool_bytes"]),
            "oldest_seconds": ("Age of the oldest episode that waits in the spool", status.get("oldest_s") or 0.0),
            "pending_episodes": ("Episodes that wait in the spool", status["ordinals"].get("pending", 0)),
            "held_episodes": ("Episodes that are held, and not offered", status["ordinals"].get("held", 0)),
            "in_flight_bytes": ("Bytes sent that the ingest has not dealt with", link.get("in_flight", 0)),
            "link_up": ("1 while a session is open", link.get("state") == "up"),
            "failed": ("1 if the agent has failed", status["state"] == "failed"),
            "full": ("1 while the spool takes nothing", status["state"] == "full"),
            "sensors_away": ("Sensors that are away or absent", len(status["away"]) + len(status.get("absent", {}))),
        }
        for name, (text, value) in gauges.items():
            gauge = GaugeMetricFamily(f"sensorium_device_{name}", text, labels=["device"])
            gauge.add_metric([device], float(value))
            yield gauge
        yield from _clock(device, status.get("clock") or {})
        text = "Until what waited for the spool's disk was durable, all files together"
        yield histogram("sensorium_device_sync_seconds", text, {"device": device}, status.get("syncs") or {})
        told = GaugeMetricFamily("sensorium_device_directives", "Directives kept, by state", labels=["device", "state"])
        for state, n in (status.get("directives") or {}).items():
            told.add_metric([device, state], n)
        yield told

    def _samples(self, device: str, streams: Mapping[str, Any]) -> Iterator[Metric]:
        captured = CounterMetricFamily("sensorium_device_captured", "Samples captured", labels=["device", "stream"])
        stored = CounterMetricFamily("sensorium_device_stored", "Samples stored", labels=["device", "stream"])
        filtered = CounterMetricFamily(
            "sensorium_device_filtered", "Samples left out, by rule", labels=["device", "stream", "rule"]
        )
        lost = CounterMetricFamily(
            "sensorium_device_lost", "Samples lost, by cause", labels=["device", "stream", "cause"]
        )
        for stream, account in streams.items():
            captured.add_metric([device, stream], account.captured)
            stored.add_metric([device, stream], account.stored)
            for rule, n in account.filtered.items():
                filtered.add_metric([device, stream, rule], n)
            for cause, n in (dict.fromkeys(CAUSES, 0) | dict(account.lost)).items():
                lost.add_metric([device, stream, cause], n)
        yield from (captured, stored, filtered, lost)


def _clock(device: str, error: Mapping[str, float]) -> Iterator[Metric]:
    """Without a value while nothing is known of it: 0 would be a good clock."""
    for key, (name, text) in CLOCK.items():
        gauge = GaugeMetricFamily(f"sensorium_device_{name}", text, labels=["device"])
        if (value := error.get(key)) is not None:
            gauge.add_metric([device], value)
        yield gauge
