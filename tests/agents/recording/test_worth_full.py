"""A full spool under `worth`: what was decided to be kept waits for room, and the spool stays within its quota."""

from collections import deque
from pathlib import Path

import numpy as np

from sensorium.agents.recording.encode import EncoderPool
from sensorium.agents.recording.recorder import Recorder
from sensorium.agents.spool.spool import Spool
from sensorium.drivers.stream import Block, StreamSpec
from tests.agents.building import add, commit, manifest
from tests.agents.selecting import config

SECOND_NS = 10**9
QUOTA = 16 << 20
LARGE = StreamSpec(name="cam", modality="image", dtype="uint8", shape=(512, 512), rate_hz=2.0)
SECONDS = 70
PICTURES = np.random.default_rng(5).integers(0, 256, (2, *LARGE.shape), np.uint8)


def second(n: int) -> Block:
    stamps = n * SECOND_NS + np.arange(2) * (SECOND_NS // 2)
    return Block("cam", stamps, PICTURES, scores={"wish": np.array([1.0] * 2)})


def test_a_replay_waits_for_room_with_what_is_kept_and_loses_nothing(tmp_path: Path) -> None:
    """Undecided pictures wait raw, and are found worth it all at once: more than the spool takes beside what it has."""
    spool = Spool(tmp_path, "rig", max_bytes=QUOTA)
    wanted = config(share=1.0, floor=0.0, always=("cam.wish = 1",), pre_roll_s=60.0, max_waiting_bytes=9 << 20)
    pool = EncoderPool()
    opening = manifest(LARGE, spool_id=spool.spool_id)
    made = Recorder(spool, wanted.start([LARGE]), opening, pool=pool, grace_ns=None, max_episode_ns=4 * SECOND_NS)
    waiting = deque((second(n), False) for n in range(SECONDS))
    stood = 0
    while waiting or made.waits:
        if waiting:
            block, again = waiting.popleft()
            if (rest := add(made, block, again=again)) is not None:
                waiting.appendleft((rest, True))
            elif not waiting:
                made.sensor_ended("cam")
        made.tick(None)
        spool.flush()
        assert spool.used_bytes() <= QUOTA
        if made.full:
            stood += 1
            sealed = [each.episode for each in spool.waiting() if each.sealed]
            assert sealed, "what is full can be delivered"
            for episode in sealed:
                commit(spool, episode)
    made.stop()
    assert stood
    account = made.account.totals()["cam"]
    assert (account.captured, account.stored, account.lost) == (2 * SECONDS, 2 * SECONDS, {})
    spool.close()
    pool.close()
