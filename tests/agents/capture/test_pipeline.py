"""The pipeline when the spool is full: a replay waits and loses nothing, a live device loses and counts."""

import itertools
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from sensorium.agents.capture.arrival import Arrival
from sensorium.agents.capture.pipeline import Pipeline, streams_of
from sensorium.agents.filters.chain import FilterChain
from sensorium.agents.filters.rate import Rate
from sensorium.agents.recording.encode import EncoderPool
from sensorium.agents.recording.recorder import Recorder
from sensorium.agents.spool.spool import Spool
from sensorium.agents.triggers.interval import Interval
from sensorium.drivers.marks import EpisodeEnd, Passed
from sensorium.drivers.stream import Block, StreamSpec
from sensorium.episode.documents import Chunk, Seal
from tests.agents.building import ROWS, manifest, records, rows

SECOND = 10**9
BIG = StreamSpec(name="cam", modality="image", dtype="uint8", shape=(1000, 1000), rate_hz=10.0)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Spool]:
    opened = Spool(tmp_path / "small", "rig", max_bytes=16 << 20)
    yield opened
    opened.close()


class Server:
    """Takes what is sealed away, and remembers the stamps and accounts."""

    def __init__(self, spool: Spool) -> None:
        self.spool = spool
        self.stamps: dict[int, list[int]] = {0: [], 1: []}
        self.seals: list[Seal] = []

    def collect(self, most: int = 1000) -> None:
        self.spool.flush()
        for waiting in self.spool.waiting(most):
            if waiting.sealed:
                (path,) = (self.spool.path / "episodes").glob(f"*{waiting.episode}*")
                for record in records(path, UUID(str(waiting.episode))):
                    if isinstance(record.header, Chunk):
                        self.stamps[record.header.stream] += np.frombuffer(record.header.captured_ns, "<i8").tolist()
                    elif isinstance(record.header, Seal):
                        self.seals.append(record.header)
                assert self.spool.committed(waiting.episode, waiting.digest)


def pipeline(
    spool: Spool, pool: EncoderPool, *, live: bool, cam: StreamSpec = BIG, length_ns: int = 100 * SECOND
) -> tuple[Pipeline, Recorder]:
    specs = (cam, ROWS)
    recorder = Recorder(spool, Interval(length_ns), manifest(*specs, spool_id=spool.spool_id), grace_ns=None, pool=pool)
    chain = FilterChain(specs, {"imu": [Rate(kind="rate", max_hz=50.0)]})
    return Pipeline(chain, recorder, streams_of({"rig": specs}, specs), spool.account, live=live), recorder


def blocks(n: int) -> Iterator[Block]:
    """Noise at 10 Hz, rows at 100 Hz, five blocks of each in turn: three times what the spool holds."""
    rng = np.random.default_rng(0)
    for i in range(0, n, 5):
        for at_ns in range(i * SECOND // 10, (i + 5) * SECOND // 10, SECOND // 10):
            yield Block("cam", np.array([at_ns], np.int64), rng.integers(0, 256, (1, 1000, 1000), np.uint8))
        for at_ns in range(i * SECOND // 10, (i + 5) * SECOND // 10, SECOND // 10):
            yield rows(at_ns, 10)


@pytest.mark.parametrize("simulated", [True, False])
def test_what_comes_seldom_is_in_the_episode_that_its_source_ends(
    small: Spool, caplog: pytest.LogCaptureFixture, simulated: bool
) -> None:
    """A source tells where its episode ends, behind the only sample of a stream there, far from the one before."""
    pool = EncoderPool()
    recorder = Recorder(small, Interval(10 * SECOND), manifest(ROWS, spool_id=small.spool_id), grace_ns=None, pool=pool)
    chain = FilterChain((ROWS,), {})
    ends = streams_of({"rig": (ROWS,)}, (ROWS,))
    made = Pipeline(chain, recorder, ends, small.account, live=False, simulated=simulated)
    server = Server(small)
    for number in range(3):
        block = rows(number * 20 * SECOND, 1)
        recorder.account.enter(block.stream, 1)
        made.accept(Arrival("rig", 2 * number, block, block.stream))
        end = EpisodeEnd(number * 20 * SECOND + 2 * SECOND, "", passed=True)
        made.accept(Arrival("rig", 2 * number + 1, said=end))
    made.finish()
    server.collect()
    pool.close()
    assert server.stamps[0] == [0, 20 * SECOND, 40 * SECOND]
    assert "clock reset" not in caplog.text
    assert recorder.account.totals()["imu"].stored == 3


def test_no_episode_waits_for_streams_that_are_silent_where_their_source_says_how_far_it_has_come(small: Spool) -> None:
    """What is further than that is not set back, and all that comes later has its place."""
    pool = EncoderPool()
    cam = StreamSpec(name="cam", modality="image", dtype="uint8", shape=(8, 8))
    made, recorder = pipeline(small, pool, live=False, cam=cam, length_ns=SECOND)

    def deliver(order: int, block: Block) -> None:
        recorder.account.enter(block.stream, len(block))
        made.accept(Arrival("rig", order, block, block.stream))

    for n in range(5):
        deliver(n, rows(n * SECOND, 10, SECOND // 10))
    assert not recorder.sealed, "nothing is known of the camera"
    made.accept(Arrival("rig", 5, said=Passed(3 * SECOND)))
    assert len(recorder.sealed) == 3
    deliver(6, Block("cam", np.array([3 * SECOND + 1], np.int64), np.zeros((1, 8, 8), np.uint8)))
    deliver(7, rows(5 * SECOND, 10, SECOND // 10))
    made.finish()
    pool.close()
    totals = recorder.account.totals()
    assert (totals["cam"].stored, totals["cam"].lost, totals["imu"].lost) == (1, {}, {})
    assert recorder.epoch == 0


def test_a_replay_waits_for_room_and_loses_nothing(small: Spool) -> None:
    pool = EncoderPool()
    made, recorder = pipeline(small, pool, live=False)
    server = Server(small)
    waits = 0
    for order, block in enumerate(blocks(35)):
        while made.must_wait:
            waits += 1
            server.collect()
            made.retry()
            assert waits < 100
        recorder.account.enter(block.stream, len(block))
        made.accept(Arrival("rig", order, block, block.stream))
    server.collect()
    made.finish()
    server.collect()
    pool.close()
    assert waits >= 2
    assert server.stamps[0] == [i * SECOND // 10 for i in range(35)]
    assert server.stamps[1] == [i * SECOND // 50 for i in range(175)]
    accounts = [seal.account for seal in server.seals]
    assert sum(account["imu"].filtered.get("rate", 0) for account in accounts) == 175
    assert all(account.balances and not account.lost for each in accounts for account in each.values())
    assert recorder.account.totals()["imu"].captured == 350


def test_a_live_device_loses_and_counts(small: Spool) -> None:
    pool = EncoderPool()
    made, recorder = pipeline(small, pool, live=True)
    server = Server(small)
    for order, block in enumerate(blocks(35)):
        recorder.account.enter(block.stream, len(block))
        made.accept(Arrival("rig", order, block, block.stream))
        assert made.empty
        assert small.used_bytes() <= 16 << 20
    made.finish()
    server.collect()
    pool.close()
    total = recorder.account.totals()["cam"]
    between = small.between()["cam"]
    assert total.captured == 35
    assert between.lost["spool_full"] == 35 - len(server.stamps[0]) > 0
    assert total.lost == between.lost


def test_derived_streams_end_with_their_sensor() -> None:
    derived = [
        StreamSpec(name=name, modality="image", dtype="uint8", shape=(2, 2), derived_from=source)
        for name, source in (("small", "cam"), ("smaller", "small"))
    ]
    assert streams_of({"a": (BIG,), "b": (ROWS,)}, (BIG, ROWS, *derived)) == {
        "a": ["cam", "small", "smaller"],
        "b": ["imu"],
    }


def waits(made: Pipeline) -> bool:
    return not made.empty


def test_a_sensor_that_ends_while_some_of_it_waits_for_room_has_that_stored(small: Spool) -> None:
    pool = EncoderPool()
    made, recorder = pipeline(small, pool, live=False)
    server = Server(small)
    given: dict[str, int] = {"cam": 0, "imu": 0}

    def give(block: Block) -> None:
        given[block.stream] += len(block)
        recorder.account.enter(block.stream, len(block))
        made.accept(Arrival("rig", sum(given.values()), block, block.stream))

    came = blocks(30)
    while not waits(made):
        give(next(came))
    recorder.seal_all("truncated")  # so that there is room again, which nobody has tried yet
    server.collect()
    give(rows((given["cam"] - 1) * SECOND // 10, 10))
    made.accept(Arrival("rig", 1000, None, "", change="ended"))
    while waits(made):
        server.collect()
        made.retry()
    made.finish()
    server.collect()
    pool.close()
    assert len(server.stamps[0]) == given["cam"]
    accounts = [seal.account for seal in server.seals]
    assert all(not account.lost for each in accounts for account in each.values())


TILE = replace(BIG, shape=(100, 500))
CAM_BLOCKS, IMU_BLOCKS = st.integers(1, 3), st.integers(5, 120)


def in_order(cam: int, imu: int) -> Iterator[Block]:
    """Of 3 s, in blocks of so many samples, as one driver delivers them: the one with the earlier end first."""
    rng, at = np.random.default_rng(0), {"cam": 0, "imu": 0}
    size, step_ns = {"cam": cam, "imu": imu}, {"cam": SECOND // 10, "imu": SECOND // 100}
    while left := [stream for stream in at if at[stream] < 3 * SECOND]:
        ends = {stream: min(at[stream] + size[stream] * step_ns[stream], 3 * SECOND) for stream in left}
        stream = min(left, key=lambda stream: ends[stream] - step_ns[stream])
        stamps = np.arange(at[stream], ends[stream], step_ns[stream], dtype=np.int64)
        if stream == "cam":
            yield Block("cam", stamps, rng.integers(0, 256, (len(stamps), *TILE.shape), np.uint8))
        else:
            yield rows(at[stream], len(stamps))
        at[stream] = ends[stream]


@settings(max_examples=10, deadline=None)
@example(cam=1, imu=100, taken=[0] * 40 + [1] * 20)
@given(cam=CAM_BLOCKS, imu=IMU_BLOCKS, taken=st.lists(st.integers(0, 2), max_size=80))
def test_a_replay_never_stands_still_however_slowly_it_is_delivered(cam: int, imu: int, taken: list[int]) -> None:
    """What is open is sealed once nothing but what waits is missing in it, and so there is room again."""
    pool = EncoderPool()
    with tempfile.TemporaryDirectory() as folder, closing(Spool(Path(folder), "rig", max_bytes=5_000_000)) as spool:
        made, recorder = pipeline(spool, pool, live=False, cam=TILE, length_ns=SECOND * 3 // 10)
        server, came = Server(spool), in_order(cam, imu)
        idle = 0
        for most in itertools.chain(taken, itertools.repeat(1000)):
            server.collect(most)
            if made.must_wait:
                made.retry()
            elif (block := next(came, None)) is not None:
                recorder.account.enter(block.stream, len(block))
                made.accept(Arrival("rig", 0, block, block.stream))
            elif made.empty:
                break
            else:
                idle += 1
                assert idle < 3, f"what waits for room waits for ever, though {spool.used_bytes()} bytes are used"
        made.finish()
        server.collect()
    pool.close()
    # episodes come in the order in which they were sealed and synced, which need not be that of their ordinals
    assert sorted(server.stamps[0]) == [i * SECOND // 10 for i in range(30)]
    assert sorted(server.stamps[1]) == [i * SECOND // 50 for i in range(150)]
    assert all(not account.lost for seal in server.seals for account in seal.account.values())
