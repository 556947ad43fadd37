"""A disk in trouble under the recorder: capture stands or goes on, never ends by it, and every sample is counted."""

import errno
import itertools
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sensorium.agents.recording import full_spool
from sensorium.agents.recording.encode import EncoderPool
from sensorium.agents.recording.recorder import Recorder
from sensorium.agents.spool.spool import Spool
from sensorium.agents.triggers.events import EventSpans
from sensorium.agents.triggers.interval import Interval
from sensorium.agents.triggers.manual import Manual
from sensorium.agents.triggers.trigger import Trigger
from sensorium.errors import SpoolFull
from tests.agents.building import ROWS, add, manifest, records_in, rows
from tests.failing_disk import FailingDisk
from tests.spine.commands import wait_for

SECOND = 10**9
FOR_LONG = 10**9


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> FailingDisk:
    return FailingDisk(monkeypatch)


@pytest.fixture
def pool() -> Iterator[EncoderPool]:
    made = EncoderPool()
    yield made
    made.close()


@pytest.fixture
def spool(tmp_path: Path, disk: FailingDisk) -> Iterator[Spool]:
    opened = Spool(tmp_path / "spool", "rig")
    yield opened
    disk.works()
    opened.close()


def recorder(spool: Spool, pool: EncoderPool, trigger: Trigger) -> Recorder:
    return Recorder(spool, trigger, manifest(ROWS, spool_id=spool.spool_id), pool=pool, grace_ns=None)


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
def test_samples_in_no_episode_wait_for_the_disk(
    disk: FailingDisk, spool: Spool, pool: EncoderPool, error: int, caplog: pytest.LogCaptureFixture
) -> None:
    made = recorder(spool, pool, Manual(EventSpans(0, 0, 60 * SECOND)))
    assert add(made, rows(0, 100)) is None
    disk.trouble(0, FOR_LONG, error)
    for _ in range(3):
        made.persist()
    assert len([line for line in caplog.messages if "rig" in line or "ledger" in line]) == 1, "said once"
    assert "imu" not in spool.between_totals().streams
    disk.works()
    made.persist()
    assert spool.between_totals().streams["imu"].filtered == {"trigger": 100}
    made.stop()


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("calls", [1, 8, 40])
def test_what_is_open_at_the_end_is_sealed_once_the_disk_works_again(
    disk: FailingDisk, spool: Spool, pool: EncoderPool, error: int, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(full_spool, "LAST_PAUSES_S", (0.001,) * 50)
    made = recorder(spool, pool, Interval(10 * SECOND))
    assert add(made, rows(0, 100)) is None
    spool.flush()
    disk.trouble(0, calls, error)
    made.stop()
    disk.works()
    wait_for(lambda: spool.flush() and [waiting.sealed for waiting in spool.waiting()] == [True], "its seal")
    (file,) = (spool.path / "episodes").iterdir()
    (account,) = records_in(file)[-1].header.account.values()  # type: ignore[union-attr]
    assert account.captured == 100
    assert account.balances
    assert not account.estimated
    assert not made.account.held()


def test_capture_does_not_go_on_before_what_was_cut_is_sealed(
    disk: FailingDisk, spool: Spool, pool: EncoderPool, caplog: pytest.LogCaptureFixture
) -> None:
    """There is room, and yet the disk takes nothing: that is said once, and not with every block."""
    made = recorder(spool, pool, Interval(10 * SECOND))
    assert add(made, rows(0, 100)) is None
    disk.trouble(0, FOR_LONG, errno.EIO)
    blocks = (rows(second * SECOND, 100) for second in itertools.count(1))
    rest = add(made, next(blocks))

    def goes_on() -> str:
        nonlocal rest
        made.tick(None)
        rest = add(made, next(blocks)) if rest is None else add(made, rest, again=True)
        return made.full

    wait_for(goes_on, "capture to stand")
    for _ in range(10):
        goes_on()
    assert made.full
    assert len([line for line in caplog.messages if line.startswith("capture")]) == 1
    disk.works()
    made.tick(None)
    assert rest is not None
    assert add(made, rest, again=True) is None
    assert not made.full
    made.stop()
    assert not made.account.held()


def test_where_there_is_plenty_blocks_are_taken_unasked_for_a_moment(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(full_spool, "PLENTY_S", 3600.0)
    full = full_spool.FullSpool(spool)
    assert not full.has_plenty(1), "nobody has looked yet"
    assert full.takes(10, 0, ())
    assert full.has_plenty(full_spool.PLENTY_BYTES // 2)
    assert not full.has_plenty(full_spool.PLENTY_BYTES // 2), "it is used up"
    full = full_spool.FullSpool(spool)
    assert full.takes(10, 0, ())
    full.failed(SpoolFull("the disk is full"), ())
    assert not full.has_plenty(1), "it is full now"
    monkeypatch.setattr(full_spool, "PLENTY_S", 0.0)
    full = full_spool.FullSpool(spool)
    assert full.takes(10, 0, ())
    assert not full.has_plenty(1), "it was a while ago"


def test_where_there_is_little_each_block_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(full_spool, "PLENTY_S", 3600.0)
    with closing(Spool(tmp_path / "little", "rig", max_bytes=32 << 20)) as spool:
        full = full_spool.FullSpool(spool)
        assert full.takes(10, 0, ())
        assert not full.has_plenty(1)
