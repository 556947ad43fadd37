"""What the ingest reports of itself: a table for people, metrics for Prometheus."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from sensorium.episode.sync_times import SUM
from sensorium.link.server.protocol import ServerLink

COUNTERS = {
    "sessions": "Sessions opened",
    "written_bytes": "Episode bytes written to staging",
    "resumed_bytes": "Episode bytes that an earlier run of the ingest had taken in",
    "dropped_bytes": "Bytes of DATA dropped: out of turn or of no use",
    "stale_bytes": "Bytes of DATA of sessions that are over",
    "committed": "Episodes committed",
    "damaged": "Times that an episode came damaged",
    "rejected": "Episodes rejected",
    "busy": "Times that an episode was put off",
    "refused_hellos": "Sessions refused",
    "violations": "Sessions and messages that broke the protocol",
    "copied_spools": "Times that a spool came from two machines by turns",
}


class Rates:
    """Remembers the bytes of the last `table`, to say bytes per second since."""

    def __init__(self) -> None:
        self._last_ns = 0
        self._bytes: dict[str, int] = {}

    def table(self, link: ServerLink, now_ns: int) -> dict[str, Any]:
        """`devices` {name: sessions, bytes, bytes_per_s, committed, staged, seen_s}, `sessions_open`, counters."""
        elapsed_s = (now_ns - self._last_ns) / 1e9
        devices: dict[str, dict[str, Any]] = {}
        for name, figures in link.out.devices.items():
            new_bytes = figures.written_bytes - self._bytes.get(name, 0)
            devices[name] = {
                "sessions": sum(session.device == name for session in link.sessions.values()),
                "bytes": figures.written_bytes,
                "bytes_per_s": new_bytes / elapsed_s if self._last_ns and elapsed_s > 0 else 0.0,
                "committed": figures.committed,
                "staged": sum(t.accepted for t in link.arrivals.by_episode.values() if t.owner[0] == name),
                "seen_s": (now_ns - figures.heard_ns) / 1e9,
            }
        self._last_ns, self._bytes = now_ns, {name: row["bytes"] for name, row in devices.items()}
        counters = {name: link.out.counters[name] for name in COUNTERS}
        return {"devices": devices, "sessions_open": len(link.sessions), **counters}


def counts_of(table: Mapping[str, Any]) -> dict[str, int]:
    """What `LinkMetrics` tells, out of the figures that `Ingest.stats` gave; all 0 before there are any."""
    counts = {name: int(table.get(name, 0)) for name in (*COUNTERS, "sessions_open")}
    return counts | {"store_trouble": bool(table.get("trouble"))}


class LinkMetrics(Collector):
    """Prometheus metrics out of the link's counters, read when they are scraped."""

    def __init__(self, counts: Callable[[], dict[str, int]]) -> None:
        self._counts = counts

    def collect(self) -> Iterator[Metric]:
        """The metrics now."""
        counts = self._counts()
        for name, text in COUNTERS.items():
            yield CounterMetricFamily(f"sensorium_ingest_{name}", text, value=counts.get(name, 0))
        yield GaugeMetricFamily("sensorium_ingest_sessions_open", "Sessions open now", value=counts["sessions_open"])
        text = "1 while the store cannot be written as it should"
        yield GaugeMetricFamily("sensorium_ingest_store_trouble", text, value=counts["store_trouble"])


class CommitTimes(Collector):
    """How long commits took, as `SyncTimes` tells it: nothing before that is known."""

    def __init__(self, told: Callable[[], Mapping[str, float]]) -> None:
        self._told = told

    def collect(self) -> Iterator[Metric]:
        """The metric now."""
        text = "Until what a commit writes was durable, small episodes together"
        yield histogram("sensorium_ingest_commit_seconds", text, {}, self._told())


def histogram(name: str, text: str, labels: Mapping[str, str], told: Mapping[str, float]) -> HistogramMetricFamily:
    """What `SyncTimes` tells, for Prometheus."""
    found = HistogramMetricFamily(name, text, labels=list(labels))
    if told:
        buckets = [(bound, n) for bound, n in told.items() if bound != SUM]
        found.add_metric(list(labels.values()), buckets, told[SUM])
    return found
