"""The live table: state, errors, rates, spool and deliveries of agents while they collect, in the room there is."""

import time
from collections.abc import Sequence
from typing import Any

from rich.console import Group
from rich.text import Text

from sensorium.cli.screen import size, table
from sensorium.cli.text_table import TextTable
from sensorium.episode.account import summed

LINES = 24
MOST_SAID = 300
"""Letters of what is wrong with a device; all of it is in the log, and said at the end."""


class LiveTable:
    """Turns the statuses of agents into tables; rates are since the last call."""

    def __init__(self) -> None:
        self._before: dict[tuple[str, str], int] = {}
        self._at = time.monotonic()

    def render(self, statuses: Sequence[dict[str, Any]], title: str = "", width: int = 80, lines: int = LINES) -> Group:
        """What the devices do and what is wrong, above as many of their streams as there are lines left for; those that
        lose samples come first where not all have one."""
        devices = [*map(Text, filter(None, [title])), *self._devices(statuses).lines(width)]
        now = time.monotonic()
        elapsed, self._at = max(now - self._at, 1e-3), now
        streams = []
        for status in statuses:
            for name, account in status["streams"].items():
                key = (status["device"], name)
                rate = (account.captured - self._before.get(key, 0)) / elapsed
                self._before[key] = account.captured
                filtered, lost = sum(account.filtered.values()), sum(account.lost.values())
                streams.append((*key, f"{rate:.1f}", account.captured, filtered, lost))
        room = max(1, lines - len(devices) - 2)
        rest: list[Text] = []
        if len(streams) > room:
            streams.sort(key=lambda row: row[5] == 0)
            others = summed(account for status in statuses for account in status["streams"].values())
            more = len(streams) - room + 1
            lost = sum(others.lost.values())
            rest = [Text(f"and {more} more; of all {others.captured} captured, {lost} lost")]
            streams = streams[: room - 1]
        columns = ["device", "stream", "per s>", "captured>", "filtered>", "lost>"]
        if len(statuses) == 1:
            columns, streams = columns[1:], [row[1:] for row in streams]  # type: ignore[misc]
        return Group(*devices, *table("", columns, streams, alarming=["lost"]).lines(width), *rest)

    def _devices(self, statuses: Sequence[dict[str, Any]]) -> TextTable:
        rows = []
        for status in statuses:
            link, ordinals = status["link"], status["ordinals"]
            away = "; ".join(f"{name} is away: {why}" for name, why in status["away"].items())
            wrong = status["error"] or away or link.get("last_error", "")
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
                    wrong if len(wrong) <= MOST_SAID else f"{wrong[:MOST_SAID]} ...",
                )
            )
        columns = ["device", "state", "episodes>", "spool>", "waiting>", "committed>", "link", "sent>", ""]
        return table("", columns, rows)
