"""The grace: how long a live episode waits for a stream that is silent."""

from pathlib import Path

from sensorium.agents.recording.encode import EncoderPool
from sensorium.agents.recording.recorder import Recorder
from sensorium.agents.spool.spool import Spool
from sensorium.agents.triggers.interval import Interval
from tests.agents.building import FRAMES, ROWS, add, manifest, rows

SECOND = 10**9


def test_it_is_one_second_after_the_end_of_the_episode(tmp_path: Path) -> None:
    spool, pool = Spool(tmp_path, "rig"), EncoderPool()
    try:
        made = Recorder(spool, Interval(SECOND), manifest(ROWS, FRAMES, spool_id=spool.spool_id), pool=pool)
        assert add(made, rows(0, 150)) is None  # the camera says nothing
        made.tick(2 * SECOND - 1)
        assert made.sealed == []
        made.tick(2 * SECOND)
        assert len(made.sealed) == 1
        made.stop()
    finally:
        pool.close()
        spool.close()
