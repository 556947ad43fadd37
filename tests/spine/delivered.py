"""What a store holds of one stream over all its episodes, and what the accounts say of it."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import sensorium


class Delivered(NamedTuple):
    """Stamps int64 [n] and rows [n, ...] in the order of the episodes; every episode's account of the stream."""

    captured_ns: np.ndarray
    data: np.ndarray
    accounts: list[dict[str, Any]]
    spec: Any

    def lost(self, cause: str) -> int:
        """Over all episodes."""
        return sum(account["lost"].get(cause, 0) for account in self.accounts)

    @property
    def missed_ns(self) -> list[tuple[int, int]]:
        """The stretches that accounts name, by episode."""
        return [tuple(account["lost_interval_ns"]) for account in self.accounts if account.get("lost_interval_ns")]

    def gaps(self, longest_s: float) -> list[tuple[int, int]]:
        """The stamps between which nothing came for longer."""
        at = np.flatnonzero(np.diff(self.captured_ns) > longest_s * 1e9)
        return [(int(self.captured_ns[row]), int(self.captured_ns[row + 1])) for row in at]


def delivered(store: Path, stream: str) -> Delivered:
    """Read all of it with Sensorium's reader; every account must balance."""
    episodes = sensorium.open(store).query(order_by="start_ns")
    accounts = [episode.account[stream] for episode in episodes]
    for account in accounts:
        assert account["captured"] == account["stored"] + sum(account["filtered"].values()) + sum(
            account["lost"].values()
        )
    streams = [episode.streams[stream] for episode in episodes]
    stamps = np.concatenate([each.captured_ns for each in streams])
    return Delivered(stamps, np.concatenate([each[:] for each in streams]), accounts, streams[0].spec)
