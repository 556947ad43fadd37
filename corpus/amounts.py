"""Amounts: hours, bytes, rates and losses of many episodes, by device, mission and day, and by stream."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

Record = Mapping[str, Any]
"""An episode's, as `Corpus.each_record` has them."""


@dataclass(slots=True)
class Amount:
    """What episodes come to. `hours` is their captured time; counts are samples of all their streams together."""

    episodes: int = 0
    hours: float = 0.0
    bytes: int = 0
    captured: int = 0
    stored: int = 0
    filtered: int = 0
    lost: int = 0

    @property
    def bytes_per_s(self) -> float:
        """Stored bytes a second of captured time; 0 of none."""
        return self.bytes / (self.hours * 3600) if self.hours else 0.0

    @property
    def lost_share(self) -> float:
        """Of what was captured, 0 to 1."""
        return self.lost / self.captured if self.captured else 0.0

    def add(self, record: Record) -> None:
        """One more episode."""
        self.episodes += 1
        self.hours += float(record["duration_s"] or 0.0) / 3600
        self.bytes += int(record["bytes"] or 0)
        for account in record["account"].values():
            self.captured += account["captured"]
            self.stored += account["stored"]
            self.filtered += sum(account["filtered"].values())
            self.lost += sum(account["lost"].values())


@dataclass(slots=True)
class OfStream:
    """What one stream of one device comes to, over the episodes that have it; `nominal_hz` of the last of them."""

    hours: float = 0.0
    stored: int = 0
    nominal_hz: float | None = None
    filtered: dict[str, int] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)

    @property
    def rate_hz(self) -> float:
        """Stored samples a second of captured time; 0 of none."""
        return self.stored / (self.hours * 3600) if self.hours else 0.0

    def add(self, record: Record, name: str) -> None:
        """One more episode that has the stream `name`."""
        account = record["account"][name]
        self.hours += float(record["duration_s"] or 0.0) / 3600
        self.stored += account["stored"]
        self.nominal_hz = record["streams"].get(name, {}).get("rate_hz")
        for mine, theirs in ((self.filtered, account["filtered"]), (self.lost, account["lost"])):
            for why, count in theirs.items():
                mine[why] = mine.get(why, 0) + count


@dataclass(frozen=True, slots=True)
class Amounts:
    """By (device, mission, day) and by (device, stream), both in order. A day is `2026-05-03` of UTC, or empty where
    nobody knows it."""

    groups: dict[tuple[str, str, str], Amount]
    streams: dict[tuple[str, str], OfStream]

    def as_dict(self) -> dict[str, Any]:
        """As JSON: `by_device_mission_day` and `by_stream`, lists."""
        return {
            "by_device_mission_day": [
                {"device": device, "mission": mission, "day": day}
                | asdict(each)
                | {"bytes_per_s": each.bytes_per_s, "lost_share": each.lost_share}
                for (device, mission, day), each in self.groups.items()
            ],
            "by_stream": [
                {"device": device, "stream": stream} | asdict(each) | {"rate_hz": each.rate_hz}
                for (device, stream), each in self.streams.items()
            ],
        }


def amounts(records: Iterable[Record]) -> Amounts:
    """Sum episodes up, each as it comes.

    >>> account = {"front": {"captured": 4, "stored": 3, "filtered": {}, "lost": {"late": 1}}}
    >>> record = {"device": "rig", "mission": "m", "start_utc": "", "duration_s": 3600, "bytes": 7}
    >>> found = amounts([record | {"account": account, "streams": {}}])
    >>> found.groups[("rig", "m", "")].lost_share, found.streams[("rig", "front")].lost
    (0.25, {'late': 1})
    """
    groups: dict[tuple[str, str, str], Amount] = {}
    streams: dict[tuple[str, str], OfStream] = {}
    for record in records:
        device = str(record["device"])
        group = device, str(record["mission"] or ""), str(record["start_utc"] or "")[:10]
        groups.setdefault(group, Amount()).add(record)
        for name in record["account"]:
            streams.setdefault((device, name), OfStream()).add(record, name)
    return Amounts(dict(sorted(groups.items())), dict(sorted(streams.items())))
