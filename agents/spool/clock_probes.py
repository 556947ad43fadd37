"""The clock probes of a spool: a device's clock and the server's, by boot, for as long as anybody may ask."""

import sqlite3
from collections.abc import Callable, Mapping

import msgspec

from sensorium.agents.spool.entries import Brief
from sensorium.agents.spool.ledger_file import LedgerFile

PROBES = """
CREATE TABLE IF NOT EXISTS probes (
    boot_id TEXT NOT NULL, device_ns INTEGER NOT NULL, server_ns INTEGER NOT NULL, round_trip_ns INTEGER NOT NULL,
    realtime_ns INTEGER NOT NULL, synchronised INTEGER NOT NULL, PRIMARY KEY (boot_id, device_ns)) WITHOUT ROWID;
"""
"""SQL of the table."""

Probe = tuple[int, int, int]
"""(device_ns, server_ns, round_trip_ns)."""


LOOK_EVERY = 256
"""A probe is made every few seconds."""
MOST_AT_ONCE = 4096
"""So many are deleted in one change at most: a spool of before may have kept those of years."""
KEPT_NS = 3600 * 10**9
"""Of this boot those of the last hour stay: what is begun later may have begun then."""


class ClockProbes:
    """Part of a ledger's file."""

    def __init__(self, file: LedgerFile) -> None:
        self._file = file
        self._count = 0

    def add(
        self,
        boot_id: str,
        probe: Probe,
        realtime_ns: int,
        synchronised: bool,
        begun: Callable[[], Mapping[str, int]],
    ) -> None:
        """Log one of this boot; once in a while forget those that no episode asks for any more.

        Args:
            begun: When, by boot, the earliest episode that is pending began.
        """
        with self._file.change() as change:
            change.execute(
                "INSERT OR REPLACE INTO probes VALUES (?, ?, ?, ?, ?, ?)", (boot_id, *probe, realtime_ns, synchronised)
            )
            if self._count % LOOK_EVERY == 0:
                _forget(change, _earliest({boot_id: probe[0] - KEPT_NS}, begun(), _aside(change)))
        self._count += 1

    def around(self, boot_id: str, start_ns: int, end_ns: int) -> list[Probe]:
        """Of one boot: the nearest probe at or before `start_ns`, those between, the nearest at or after `end_ns`."""
        return self._file.read(
            "SELECT device_ns, server_ns, round_trip_ns FROM probes WHERE boot_id = ?1 AND device_ns BETWEEN"
            " coalesce((SELECT max(device_ns) FROM probes WHERE boot_id = ?1 AND device_ns <= ?2), ?2) AND"
            " coalesce((SELECT min(device_ns) FROM probes WHERE boot_id = ?1 AND device_ns >= ?3), ?3)"
            " ORDER BY device_ns",
            (boot_id, start_ns, end_ns),
        )


def _aside(change: sqlite3.Connection) -> dict[str, int]:
    """When, by boot, the earliest of those began that were set aside, and may be sent after all."""
    rows = change.execute("SELECT manifest FROM episodes WHERE aside AND manifest IS NOT NULL")
    said = [msgspec.msgpack.decode(manifest, type=Brief) for (manifest,) in rows]
    return _earliest(*({each.clock.boot_id: each.start_ns} for each in said if each.clock.boot_id is not None))


def _earliest(*begun: Mapping[str, int]) -> dict[str, int]:
    """The earliest of each boot."""
    found: dict[str, int] = {}
    for each in begun:
        for boot_id, at_ns in each.items():
            found[boot_id] = min(at_ns, found.get(boot_id, at_ns))
    return found


def _forget(change: sqlite3.Connection, begun: Mapping[str, int]) -> None:
    """Delete what lies before the last that is no later than what began first in its boot; of other boots, all."""
    boots = [boot for (boot,) in change.execute("SELECT DISTINCT boot_id FROM probes")]
    for boot_id in boots:
        change.execute(
            "DELETE FROM probes WHERE boot_id = ?1 AND device_ns IN (SELECT device_ns FROM probes WHERE boot_id = ?1"
            " AND (?2 IS NULL OR device_ns < (SELECT max(device_ns) FROM probes WHERE boot_id = ?1"
            " AND device_ns <= ?2)) ORDER BY device_ns LIMIT ?3)",
            (boot_id, begun.get(boot_id), MOST_AT_ONCE),
        )
