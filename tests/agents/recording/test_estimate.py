"""What a crash cost is estimated up to the newest record, and not behind it: nobody knows when it was."""

import shutil
from pathlib import Path

from sensorium.agents.recording.encode import EncoderPool
from sensorium.agents.recording.recorder import Recorder
from sensorium.agents.spool.spool import Spool
from sensorium.agents.triggers.interval import Interval
from sensorium.episode.documents import Seal
from tests.agents.building import FRAMES, ROWS, add, manifest, records_in, rows

SECOND = 10**9


def test_the_estimate_ends_with_the_newest_record_of_any_stream(tmp_path: Path) -> None:
    """Rows are written up to 0.99 s, frames up to 1.4 s: 41 rows are missing as far as anything tells."""
    spool, pool = Spool(tmp_path / "spool", "rig"), EncoderPool()
    made = Recorder(spool, Interval(60 * SECOND), manifest(ROWS, FRAMES), pool=pool)
    add(made, rows(0, 110))
    add(made, rows(0, 15, 100_000_000, spec=FRAMES))
    pool.close()
    made.tick(None)
    spool.flush()
    shutil.copytree(tmp_path / "spool", tmp_path / "killed")
    spool.close()

    spool = Spool(tmp_path / "killed", "rig")
    (path,) = (tmp_path / "killed" / "episodes").iterdir()
    seal = records_in(path)[-1].header
    assert isinstance(seal, Seal)
    imu, cam = seal.account["imu"], seal.account["cam"]
    assert (imu.stored, imu.lost, imu.lost_interval_ns) == (100, {"interrupted": 41}, (990_000_000, 1_400_000_000))
    assert (cam.stored, cam.lost, cam.lost_interval_ns) == (15, {}, (1_400_000_000, 1_400_000_000))
    spool.close()
