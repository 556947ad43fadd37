"""A run comes no further than what is on disk of it: what a kill takes is recorded anew, nothing is passed over."""

from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID

import pytest

from sensorium.agents.spool import group_commit
from sensorium.agents.spool.episode_file import EpisodeFile
from sensorium.agents.spool.runs import Position
from sensorium.agents.spool.spool import Spool
from sensorium.episode import durable
from sensorium.episode.documents import Account
from tests.agents.building import begin, chunk
from tests.agents.spool.test_together import killed, opened

RUN = "source-configuration"


@pytest.fixture
def spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Spool]:
    """One in which a replay is recorded, whose disk is written to when the test says so."""
    monkeypatch.setattr(group_commit, "INTERVAL_S", 3600.0)
    made = opened(tmp_path / "spool")
    made.runs.take_up(RUN)
    yield made
    made.close()


def begun(spool: Spool, second: int) -> tuple[UUID, EpisodeFile]:
    episode, file = begin(spool, start_ns=second * 10**9, end_ns=(second + 1) * 10**9)
    file.append(*chunk(0))
    return episode, file


def seal(spool: Spool, episode: UUID, file: EpisodeFile) -> None:
    """As a recorder does."""
    spool.runs.reaches(episode, Position(resets=0, until_ns=file.manifest.end_ns))
    file.seal("complete", {"imu": 1}, {"imu": Account(captured=1, stored=1)}, {}, file.manifest.end_ns)


def failing(bad: int) -> Callable[[int], None]:
    """The call that syncs, which the disk fails for this descriptor."""
    real = durable.sync

    def sync(fd: int) -> None:
        if fd == bad:
            raise OSError(5, "Input/output error")
        real(fd)

    return sync


def taken_up(spool: Spool) -> tuple[int, list[UUID]]:
    """Killed and begun again: up to where the run is done, and what is there of that."""
    killed(spool)
    again = opened(spool.path)
    try:
        run = again.runs.take_up(RUN)
        return (run.position.until_ns if run.position else 0), [each.episode for each in again.waiting()]
    finally:
        again.close()


def test_what_is_sealed_while_it_is_looked_through_passes_nothing_over(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first is looked at, then both are sealed, then the second is looked at."""
    first, second = begun(spool, 0), begun(spool, 1)
    spool.flush()
    looked: list[EpisodeFile] = []
    real = vars(EpisodeFile)["sealed"].fget

    def is_sealed(file: EpisodeFile) -> bool:
        found = bool(real(file))
        if file is first[1] and not looked:
            looked.append(file)
            seal(spool, *first)
            seal(spool, *second)
        return found

    monkeypatch.setattr(EpisodeFile, "sealed", property(is_sealed))
    assert spool._commits.flush(every=False), "between two ticks: what is sealed, and no more"
    assert looked
    assert taken_up(spool) == (0, [])


@pytest.mark.parametrize("again", [False, True])
def test_what_the_disk_fails_for_passes_nothing_over(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, again: bool
) -> None:
    first, second = begun(spool, 0), begun(spool, 1)
    spool.flush()
    seal(spool, *first)
    seal(spool, *second)
    with monkeypatch.context() as patch:
        patch.setattr(durable, "sync", failing(first[1]._fd))
        assert not spool.flush()
    assert not any(each.sealed for each in spool.waiting())
    if again:
        assert spool.flush()
    assert taken_up(spool) == ((2 * 10**9, [first[0], second[0]]) if again else (0, []))


def test_what_is_mended_is_not_recorded_anew(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run goes on behind it, so that nobody would."""
    first, second = begun(spool, 0), begun(spool, 1)
    spool.flush()
    at = first[1].written
    first[1].append(*chunk(1))
    with monkeypatch.context() as patch:
        patch.setattr(durable, "sync", failing(first[1]._fd))
        assert not spool.flush()
    with first[1].path.open("r+b") as file:
        file.seek(at + 60)
        file.write(bytes(20))
    seal(spool, *first)
    seal(spool, *second)
    assert spool.flush()
    assert taken_up(spool) == (2 * 10**9, [first[0], second[0]])


def test_what_is_sealed_first_is_there_before_the_next(spool: Spool) -> None:
    first, second = begun(spool, 0), begun(spool, 1)
    seal(spool, *first)
    spool.flush()
    assert taken_up(spool) == (10**9, [first[0]]), second
