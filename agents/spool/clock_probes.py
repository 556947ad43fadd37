"""The clock probes of a spool: what its device's clock and the server's were, by boot."""

from sensorium.agents.spool.ledger_file import LedgerFile

PROBES = """
CREATE TABLE IF NOT EXISTS probes (
    boot_id TEXT NOT NULL, device_ns INTEGER NOT NULL, server_ns INTEGER NOT NULL, round_trip_ns INTEGER NOT NULL,
    realtime_ns INTEGER NOT NULL, synchronised INTEGER NOT NULL, PRIMARY KEY (boot_id, device_ns)) WITHOUT ROWID;
"""
"""SQL of the table."""

Probe = tuple[int, int, int]
"""(device_ns, server_ns, round_trip_ns)."""


class ClockProbes:
    """Part of a ledger's file."""

    def __init__(self, file: LedgerFile) -> None:
        self._file = file

    def add(self, boot_id: str, probe: Probe, realtime_ns: int, synchronised: bool) -> None:
        """Log one of this boot."""
        with self._file.change() as change:
            change.execute(
                "INSERT OR REPLACE INTO probes VALUES (?, ?, ?, ?, ?, ?)", (boot_id, *probe, realtime_ns, synchronised)
            )

    def around(self, boot_id: str, start_ns: int, end_ns: int) -> list[Probe]:
        """Of one boot: the nearest probe at or before `start_ns`, those between, the nearest at or after `end_ns`."""
        return self._file.read(
            "SELECT device_ns, server_ns, round_trip_ns FROM probes WHERE boot_id = ?1 AND device_ns BETWEEN"
            " coalesce((SELECT max(device_ns) FROM probes WHERE boot_id = ?1 AND device_ns <= ?2), ?2) AND"
            " coalesce((SELECT min(device_ns) FROM probes WHERE boot_id = ?1 AND device_ns >= ?3), ?3)"
            " ORDER BY device_ns",
            (boot_id, start_ns, end_ns),
        )
