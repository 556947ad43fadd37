"""Power lost at any moment while a trace is written: of its units a beginning is there, with all that was synced."""

import sqlite3
from pathlib import Path

import pytest

from sensorium.agents.recording.trace_writer import TraceWriter
from sensorium.agents.spool import group_commit
from sensorium.agents.spool.spool import Spool
from sensorium.episode import durable
from sensorium.episode.unit import Judged, encoded
from tests.agents.recording.tracing import AMPLE, delivered, writer
from tests.episode.judged import SECOND_NS, judged
from tests.forgetful_disk import ForgetfulDisk

UNITS = 17


def unit(number: int) -> Judged:
    """Of two boots, the second from the tenth on."""
    boot = "boot-a" if number < 10 else "boot-b"
    return judged(number * SECOND_NS, boot=boot, score=float(number), saved=number % 5 == 4, begun=number in (0, 10))


def test_power_lost_behind_any_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Episodes of six units, in chunks of two; what is left of the budget is noted in a file."""
    root = tmp_path / "spool"
    root.mkdir()
    promised: list[int] = []
    trace: TraceWriter | None = None
    synced = 0

    def look() -> None:
        if trace is None:
            return
        copy = tmp_path / f"copy-{len(promised)}"
        promised.append(synced)
        disk.after_power_loss(copy)
        for file in copy.glob("ledger.sqlite*"):
            file.unlink()
        ledger, kept = sqlite3.connect(root / "ledger.sqlite"), sqlite3.connect(copy / "ledger.sqlite")
        ledger.backup(kept)  # as it is at the last COMMIT
        ledger.close()
        kept.close()

    monkeypatch.setattr(group_commit, "INTERVAL_S", 3600.0)
    disk = ForgetfulDisk(root, look)
    monkeypatch.setattr(durable, "os", disk)
    spool = Spool(root, "rig")
    monkeypatch.setattr(spool._commits, "due", lambda: None)
    left = Path("selection") / "trace"
    trace = writer(spool, chunk_rows=2, episode_ns=6 * SECOND_NS, left=root / left)
    for number in range(UNITS):
        trace.log(unit(number))
        if number % 3 == 2:
            assert spool.flush()
            synced = trace.status.units - trace.status.waiting
            look()
    trace.stop()
    assert spool.flush()
    synced = trace.status.units
    look()
    spool.close()
    monkeypatch.undo()
    assert len(promised) > 20
    assert {0, 2, 6, UNITS} < set(promised)
    logged = [encoded(unit(number).decision) for number in range(UNITS)]
    for number, expected in enumerate(promised):
        copy = tmp_path / f"copy-{number}"
        again = Spool(copy, "rig")
        assert all(each.sealed for each in again.waiting())
        begun = writer(again, left=copy / left)
        assert begun._bucket.level <= AMPLE * 60
        again.close()
        found = delivered(copy, tmp_path / f"store-{number}")
        assert [encoded(each.judged.decision) for each in found] == logged[: len(found)], number
        assert len(found) >= expected, number
        assert [each.judged.saved for each in found] == [unit(n).saved for n in range(len(found))]
