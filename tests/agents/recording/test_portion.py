"""What of a replay is recorded by one start of it, and what is counted by the next."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sensorium.agents.recording.encode import EncoderPool
from sensorium.agents.recording.recorder import Recorder
from sensorium.agents.spool.runs import Run
from sensorium.agents.spool.spool import Spool
from sensorium.agents.triggers.interval import Interval
from sensorium.episode import durable
from sensorium.episode.account import Tally
from sensorium.episode.documents import Account, Seal
from tests.agents.building import FRAMES, ROWS, add, manifest, records_in, rows

SECOND = 10**9
STEP = 10_000_000
Make = Callable[[Spool], Recorder]


@pytest.fixture
def make() -> Iterator[Make]:
    pool = EncoderPool()

    def begin(spool: Spool) -> Recorder:
        run = spool.runs.take_up("run")
        opening = manifest(ROWS, FRAMES, spool_id=spool.spool_id)
        return Recorder(spool, Interval(SECOND), opening, pool=pool, grace_ns=None, run=run)

    yield begin
    pool.close()


def known(spool: Spool) -> Run:
    run = spool._ledger.runs.get("run")
    assert run is not None
    return run


def drop(recorder: Recorder, n: int, at_ns: int, stream: str = "imu") -> None:
    recorder.account.enter(stream, n)
    recorder.add(stream, None, Tally(filtered={"rate": n}), (at_ns, at_ns))


def test_what_is_counted_behind_a_sealed_end_is_counted_again_by_the_next(tmp_path: Path, make: Make) -> None:
    """Rows run ahead of the frames: what was dropped of them behind 1 s is between when the first second is sealed."""
    spool = Spool(tmp_path, "rig")
    made = make(spool)
    add(made, rows(0, 100))
    drop(made, 3, 1_200_000_000)
    add(made, rows(0, 10, 10 * STEP, spec=FRAMES))
    drop(made, 1, SECOND, "cam")
    made.persist()
    spool.flush()
    assert known(spool).position is not None
    assert known(spool).position.end == (0, SECOND)  # type: ignore[union-attr]
    assert known(spool).position.counted == {}  # type: ignore[union-attr]
    behind = {name: Account(captured=n, filtered={"rate": n}) for name, n in (("imu", 3), ("cam", 1))}
    assert known(spool).counted == behind
    spool.close()  # and it dies

    spool = Spool(tmp_path, "rig")
    made = make(spool)
    assert spool.between_totals().streams == {"imu": Account(), "cam": Account()}
    add(made, rows(0, 100))
    drop(made, 3, 1_200_000_000)
    add(made, rows(0, 10, 10 * STEP, spec=FRAMES))
    drop(made, 1, SECOND, "cam")
    add(made, rows(110 * STEP, 1, spec=FRAMES))
    for name in ("imu", "cam"):
        made.sensor_ended(name)
    made.stop()
    spool.flush()
    paths = sorted((tmp_path / "episodes").iterdir())
    seals = [header for path in paths if isinstance(header := records_in(path)[-1].header, Seal)]
    assert [seal.account["imu"] for seal in seals][1:] == [Account(captured=3, filtered={"rate": 3})]
    assert spool.account.totals()["imu"] == Account(captured=3, filtered={"rate": 3})
    assert spool.account.totals()["cam"].captured == 2
    spool.close()


def test_a_replay_that_is_stopped_ends_at_one_moment_of_all_its_streams(tmp_path: Path, make: Make) -> None:
    spool = Spool(tmp_path, "rig")
    made = make(spool)
    add(made, rows(0, 50))
    add(made, rows(0, 2, 10 * STEP, spec=FRAMES))
    made.portion.ends()
    read = [made.portion.is_read]
    for block in (rows(50 * STEP, 30), rows(20 * STEP, 5, 10 * STEP, spec=FRAMES)):
        add(made, block)
        read.append(made.portion.is_read)
    assert read == [False, False, True]
    made.stop()
    spool.flush()
    (path,) = (tmp_path / "episodes").iterdir()
    seal = records_in(path)[-1].header
    assert isinstance(seal, Seal)
    assert seal.end_ns == 49 * STEP + 1
    assert seal.rows == {"imu": 50, "cam": 5}
    assert spool.account.totals()["imu"] == Account(captured=50, stored=50)
    assert spool.account.totals()["cam"] == Account(captured=5, stored=5)
    assert known(spool).position.passed == {}  # type: ignore[union-attr]
    spool.close()


def test_what_had_not_come_when_it_was_stopped_is_lost_and_counted_by_the_next(tmp_path: Path, make: Make) -> None:
    spool = Spool(tmp_path, "rig")
    made = make(spool)
    add(made, rows(0, 50))
    add(made, rows(0, 2, 10 * STEP, spec=FRAMES))
    made.stop()
    spool.flush()
    spool.close()

    spool = Spool(tmp_path, "rig")
    made = make(spool)
    add(made, rows(0, 60))
    add(made, rows(0, 7, 10 * STEP, spec=FRAMES))
    made.stop()
    assert spool.account.totals()["cam"] == Account(captured=5, stored=2, lost={"late": 3})
    assert spool.account.totals()["imu"] == Account(captured=10, stored=10)
    spool.close()


def test_an_episode_that_could_not_be_begun_at_once_keeps_no_run_from_its_end(
    tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path, "rig")
    made = make(spool)
    real, failing = durable.create, [True]

    def create(*given: Any, **more: Any) -> int:
        if failing:
            failing.pop()
            raise OSError(28, "No space left on device")
        return real(*given, **more)

    monkeypatch.setattr(durable, "create", create)
    add(made, rows(0, 50))
    add(made, rows(50 * STEP, 50))
    for name in ("imu", "cam"):
        made.sensor_ended(name)
    made.stop()
    spool.flush()
    assert spool.flush()
    assert not failing
    assert spool.counts() == {"pending": 1, "committed": 0, "discarded": 0}
    spool.runs.end("run", finished=True)
    assert known(spool).finished
    spool.close()
