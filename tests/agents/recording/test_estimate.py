"""What a crash cost is estimated up to the last sign of life; where there is none, up to the newest record."""

import shutil
import time
from pathlib import Path

import msgspec

from sensorium.agents.recording.encode import EncoderPool
from sensorium.agents.recording.recorder import Recorder
from sensorium.agents.spool.spool import Spool
from sensorium.agents.triggers.interval import Interval
from sensorium.drivers.clock import boottime_ns, live_clock
from sensorium.episode.documents import Open, Seal
from tests.agents.building import FRAMES, ROWS, add, manifest, records_in, rows

SECOND = 10**9
AGES_NS = 10**18


def killed(folder: Path, opening: Open, start_ns: int) -> Seal:
    """The SEAL of an episode whose recorder was killed: 110 rows are in, 100 of them written; 15 frames, to 1.4 s."""
    spool, pool = Spool(folder / "spool", "rig"), EncoderPool()
    made = Recorder(spool, Interval(AGES_NS), opening, pool=pool, max_episode_ns=AGES_NS)
    add(made, rows(start_ns, 110))
    add(made, rows(start_ns, 15, 100_000_000, spec=FRAMES))
    pool.close()
    made.tick(None)
    spool.flush()
    while not (folder / "spool" / "alive").stat().st_size:
        time.sleep(0.01)
    shutil.copytree(folder / "spool", folder / "killed")
    spool.close()

    spool = Spool(folder / "killed", "rig")
    (path,) = (folder / "killed" / "episodes").iterdir()
    seal = records_in(path)[-1].header
    assert isinstance(seal, Seal)
    spool.close()
    return seal


def test_without_a_sign_of_life_it_ends_with_the_newest_record_of_any_stream(tmp_path: Path) -> None:
    """Rows are written up to 0.99 s, frames up to 1.4 s: 41 rows are missing as far as anything tells."""
    seal = killed(tmp_path, manifest(ROWS, FRAMES), 0)
    imu, cam = seal.account["imu"], seal.account["cam"]
    assert (imu.stored, imu.lost, imu.lost_interval_ns) == (100, {"interrupted": 41}, (990_000_000, 1_400_000_000))
    assert (cam.stored, cam.lost, cam.lost_interval_ns) == (15, {}, (1_400_000_000, 1_400_000_000))


def test_what_was_only_in_memory_is_missing_up_to_the_last_sign_of_life(tmp_path: Path) -> None:
    """It was alive at least 3 s after the last frame: 441 rows and 30 frames are missing, or a few more."""
    start_ns = boottime_ns() - 4_400_000_000
    opening = msgspec.structs.replace(manifest(ROWS, FRAMES), clock=live_clock())
    seal = killed(tmp_path, opening, start_ns)
    imu, cam = seal.account["imu"], seal.account["cam"]
    assert imu.lost_interval_ns is not None
    assert imu.lost_interval_ns[0] == start_ns + 990_000_000
    assert start_ns + 4_400_000_000 <= imu.lost_interval_ns[1] <= boottime_ns()
    assert cam.lost_interval_ns == (start_ns + 1_400_000_000, imu.lost_interval_ns[1])
    missed_s = (imu.lost_interval_ns[1] - start_ns) / SECOND
    assert imu.lost == {"interrupted": int((missed_s - 0.99) * 100)}
