"""An episode begins: what it takes is kept with it from then on, what waits is bounded, what is told is durable."""

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from sensorium.agents.recording.encode import EncoderPool
from sensorium.agents.recording.recorder import Recorder
from sensorium.agents.spool import group_commit
from sensorium.agents.spool.episode_file import EARLY_BYTES, EpisodeFile
from sensorium.agents.spool.pending import MOST_GROWING
from sensorium.agents.spool.spool import Spool
from sensorium.agents.triggers.interval import Interval
from sensorium.episode import durable
from sensorium.episode.account import Tally
from sensorium.episode.documents import Account, Open
from sensorium.errors import SpoolError, SpoolFull
from tests.agents.building import ROWS, add, begin, chunk, manifest, records_in, rows
from tests.agents.spool.test_together import files, killed, opened, small

S = 10**9
CALIBRATION = {"table": "y" * 70_000}


@pytest.fixture
def spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Spool]:
    """One whose disk is written to when the test says so."""
    monkeypatch.setattr(group_commit, "INTERVAL_S", 3600.0)
    made = opened(tmp_path / "spool")
    yield made
    made.close()


class Refusing:
    """One of the disk's calls fails `left` times; `tried` counts how often it was asked to."""

    def __init__(self, patch: pytest.MonkeyPatch, call: str, error: int, left: int = 10**9) -> None:
        self.left, self.tried = left, 0
        real: Callable[..., Any] = getattr(durable, call)

        def refuse(*arguments: Any, **named: Any) -> Any:
            if str(arguments[0]).endswith((".episode", "episodes")) or isinstance(arguments[0], int):
                self.tried += 1
                if self.left:
                    self.left -= 1
                    raise OSError(error, os.strerror(error))
            return real(*arguments, **named)

        patch.setattr(durable, call, refuse)


# -- an OPEN of more than what is held in memory else ------------------------------------------------------------------


@pytest.mark.parametrize("left", [1, 10**9])
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("call", ["create", "append"])
def test_a_large_open_takes_nothing_that_it_does_not_keep(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, call: str, error: int, left: int
) -> None:
    spool.account.enter("imu", 7)
    spool.account.between("imu", Tally(filtered={"trigger": 7}))
    spool.persist()
    disk = Refusing(monkeypatch, call, error, left)
    unclaimed = [Tally(filtered={"trigger": 5})]
    made: list[EpisodeFile] = []

    def create() -> EpisodeFile:
        def opening(ordinal: int, told: dict[str, Account]) -> Open:
            more: dict[str, Any] = {"between": told, "software": CALIBRATION}
            return manifest(ROWS, spool_id=spool.spool_id, ordinal=ordinal, **more)

        claimed = {"imu": unclaimed[0]} if unclaimed else {}
        file = spool.create(opening, kept=claimed, claimed=claimed)
        unclaimed.clear()
        return file

    for _ in range(3):
        made.append(create())
        spool.flush()
        assert made[-1].written > EARLY_BYTES, "this is about those"
    assert [file.manifest.ordinal for file in made] == [0, 1, 2]
    assert [{k: a.filtered for k, a in file.manifest.between.items()} for file in made] == [
        {"imu": {"trigger": 2}},
        {},
        {},
    ]
    disk.left = 0
    for file in made:
        file.append(*chunk(0))
        file.seal("complete", {"imu": 1}, {"imu": Account(captured=1, stored=1)}, {}, S)
    assert spool.flush()
    assert [(each.ordinal, each.sealed) for each in spool.waiting()] == [(0, True), (1, True), (2, True)]
    assert all(len(records_in(file.path)) == 3 for file in made)
    assert spool.between_totals().streams["imu"].filtered == {"trigger": 2}
    assert spool.between() == {}
    assert (spool.counts()["pending"], spool.ordinals()) == (3, (0, 3))


def test_what_a_large_open_told_is_told_again_if_it_never_came_to_the_disk(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool.account.enter("imu", 7)
    spool.account.between("imu", Tally(filtered={"trigger": 7}))
    Refusing(monkeypatch, "create", errno.ENOSPC)
    spool.create(lambda n, told: manifest(spool_id=spool.spool_id, ordinal=n, between=told, software=CALIBRATION))
    assert not spool.flush()
    killed(spool)
    again = opened(spool.path)
    try:
        assert again.counts() == {"pending": 0, "committed": 0, "discarded": 1}
        assert again.between()["imu"].filtered == {"trigger": 7}
    finally:
        again.close()


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
def test_the_recorder_counts_each_sample_once_though_its_episodes_begin_late(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    pool = EncoderPool()
    recorder = Recorder(
        spool,
        Interval(S),
        manifest(ROWS, spool_id=spool.spool_id, software=CALIBRATION),
        pool=pool,
        grace_ns=None,
    )
    disk = Refusing(monkeypatch, "create", error)
    for n in range(10):
        disk.left = disk.left if n < 4 else 0
        rest = add(recorder, rows(n * S // 2, 50, lost=3 if n < 4 else 0))
        if rest is not None:
            assert add(recorder, rest, again=n > 3) is None or n < 4
        recorder.tick(None)
    disk.left = 0
    recorder.stop()
    assert spool.flush()
    total = recorder.account.totals()["imu"]
    between = spool.between_totals().streams.get("imu", Account())
    seals = [records_in(path)[-1].header.account["imu"] for path in (spool.path / "episodes").iterdir()]  # type: ignore[union-attr]
    assert total.balances
    assert total.stored == sum(seal.stored for seal in seals)
    assert total.captured == between.captured + sum(seal.captured for seal in seals)
    assert min([between.captured, *between.filtered.values(), *between.lost.values()]) >= 0
    assert all(state.sealed for state in spool.waiting())
    assert len(spool.waiting()) == len(files(spool)) == spool.counts()["pending"] == spool.ordinals()[1]


# -- what waits in memory ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "kind"),
    [("create", errno.ENOSPC, SpoolFull), ("create", errno.EIO, SpoolError), ("sync_folder", errno.EIO, SpoolError)],
)
def test_no_more_begin_than_may_wait_for_a_disk_that_takes_none(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, call: str, error: int, kind: type[SpoolError]
) -> None:
    """The inodes are used up, or a sector is bad: the ledger, which is there, still grows."""
    disk = Refusing(monkeypatch, call, error)
    for _ in range(MOST_GROWING):
        small(spool)
    for _ in range(3):
        disk.tried = 0
        with pytest.raises(SpoolError) as refused:
            begin(spool)
        assert type(refused.value) is kind
        assert disk.tried == 1, "it is not asked for each of them"
    assert spool.counts()["pending"] == MOST_GROWING
    disk.left = 0
    small(spool)
    assert spool.flush()
    assert [each.ordinal for each in spool.waiting() if each.sealed] == list(range(MOST_GROWING + 1))
    assert len(files(spool)) == MOST_GROWING + 1


def test_many_that_grow_are_none_that_wait(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is there may go on growing; none of it keeps another from its beginning."""
    for _ in range(MOST_GROWING):
        begin(spool)
    assert spool.flush()
    disk = Refusing(monkeypatch, "sync", errno.EIO)
    begin(spool)
    disk.left = 0
    assert spool.ordinals() == (0, MOST_GROWING + 1)


# -- what is told ------------------------------------------------------------------------------------------------------


def test_an_ordinal_that_comes_while_they_are_told_is_not_told(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    begin(spool)
    real = spool._ledger.ordinals

    def meanwhile(of: str = "") -> tuple[int, int]:
        begin(spool)
        return real(of)

    monkeypatch.setattr(spool._ledger, "ordinals", meanwhile)
    told = spool.ordinals()
    assert told == (0, 1)
    killed(spool)
    again = opened(spool.path)
    try:
        assert again.ordinals()[1] == told[1]
    finally:
        again.close()


def test_the_ordinals_are_of_one_reading(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else one that begins between two of them would be neither pending nor yet to come."""
    real = spool._ledger._file.read

    def read(sql: str, values: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        found = real(sql, values)
        monkeypatch.setattr(spool._ledger._file, "read", real)
        begin(spool)
        spool.persist()
        return found

    monkeypatch.setattr(spool._ledger._file, "read", read)
    assert spool.ordinals() == (0, 0)
    assert spool.ordinals() == (0, 1)


# -- names -------------------------------------------------------------------------------------------------------------


def test_a_name_whose_sync_failed_is_synced_before_anything_is_sent(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    episode, file = small(spool)
    disk = Refusing(monkeypatch, "sync_folder", errno.EIO, 1)
    assert not spool.flush()
    assert (disk.tried, file.sendable, spool.read(episode, 0, 100)) == (1, 0, b"")
    assert not any(each.size or each.sealed for each in spool.waiting())
    assert spool.flush()
    assert disk.tried == 2, "the folder again"
    (waiting,) = spool.waiting()
    assert (waiting.size, waiting.sealed) == (file.written, True)
    assert UUID(bytes=file.manifest.episode) == episode
