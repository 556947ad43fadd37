"""The live table: rates, spool and deliveries of agents while they collect."""

import time
from collections.abc import Sequence
from typing import Any

from rich.console import Group
from rich.table import Table

from sensorium.cli.screen import size, table


class LiveTable:
    """Turns the statuses of agents into tables; rates are since the last call."""

    def __init__(self) -> None:
        self._before: dict[tuple[str, str], int] = {}
        self._at = time.monotonic()

    def render(self, statuses: Sequence[dict[str, Any]], title: str = "") -> Group:
        """One table of streams, one of devices."""
        now = time.monotonic()
        elapsed, self._at = max(now - self._at, 1e-3), now
        streams = []
        for status in statuses:
            for name, account in status["streams"].items():
                key = (status["device"], name)
                rate = (account.captured - self._before.get(key, 0)) / elapsed
                self._before[key] = account.captured
                lost = sum(account.lost.values())
                filtered = sum(account.filtered.values())
                streams.append((*key, f"{rate:.1f}", account.captured, filtered, f"[red]{lost}[/red]" if lost else 0))
        return Group(
            table(title, ["device", "stream", "per s>", "captured>", "filtered>", "lost>"], streams),
            self._devices(statuses),
        )

    def _devices(self, statuses: Sequence[dict[str, Any]]) -> Table:
        rows = []
        for status in statuses:
            link, ordinals = status["link"], status["ordinals"]
            away = ", ".join(f"{name} is away" for name in status["away"])
            rows.append(
                (
                    status["device"],
                    status["state"],
                    status["episodes"],
                    size(status["spool_bytes"]),
                    ordinals.get("pending", 0),
                    ordinals.get("committed", 0),
                    link.get("state", "none"),
                    size(link.get("sent_bytes", 0)),
                    status["error"] or away or link.get("last_error", ""),
                )
            )
        columns = ["device", "state", "episodes>", "spool>", "waiting>", "committed>", "link", "sent>", ""]
        return table("", columns, rows)
