"""A disk in trouble for a while: nothing ends, nothing leaks, nothing is forgotten, and what was due is done later."""

import errno
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import pytest

from sensorium.agents.spool import group_commit, mending
from sensorium.agents.spool.episode_file import EpisodeFile
from sensorium.agents.spool.held import Held
from sensorium.agents.spool.spool import Spool
from sensorium.agents.uplink import spool_end
from sensorium.agents.uplink.spool_end import SpoolEnd
from sensorium.drivers.clock import boottime_ns
from sensorium.episode import durable
from sensorium.episode.account import Tally
from sensorium.episode.documents import Account, Seal
from sensorium.errors import SpoolError, SpoolFull
from sensorium.link import wire
from sensorium.link.device import jobs
from sensorium.link.device.protocol import DeviceLink
from tests.agents.building import ROWS, begin, chunk, commit, manifest, records, records_in
from tests.failing_disk import FailingDisk
from tests.spine.commands import wait_for

T = TypeVar("T")


def seal(file: EpisodeFile, n: int) -> None:
    file.seal("complete", {"imu": n}, {"imu": Account(captured=n, stored=n)}, {}, 10**9)


class Life:
    """A spool's life, as the recorder and the uplink live it: what the disk refuses they do again."""

    def __init__(self, spool: Spool) -> None:
        self.spool = spool
        self.fates: dict[str, UUID] = {}

    def live(self) -> None:
        spool = self.spool
        spool.account.enter("imu", 5)
        spool.account.between("imu", Tally(filtered={"trigger": 5}))
        self._until(spool.persist)
        sealed = self._sealed("committed")
        assert self._until(lambda: commit(spool, sealed))
        sealed = self._sealed("rejected")
        self._until(lambda: spool.rejected(sealed, "conflict", "said the server"))
        sealed = self._sealed("discarded")
        self._until(lambda: spool.discard(sealed, "by hand"))
        episode, file = self._until(lambda: begin(spool))
        self.fates["refused"] = episode
        self._until(lambda: file.append(*chunk(0)))
        spool.flush()
        self._until(lambda: spool.rejected(episode, "format", "said the server"))
        self._until(lambda: seal(file, 1))
        damaged = self._sealed("damaged")
        path = self._path(damaged)
        content = bytearray(path.read_bytes())
        content[records(path, damaged)[2].offset + 25] ^= 1
        path.write_bytes(content)
        self._until(lambda: spool.recheck(damaged))
        self._sealed("waiting")
        self.settle()

    def settle(self) -> None:
        """What the thread that syncs does, until all is done."""
        for _ in range(100):
            if self.spool.flush() and self.spool._owed.again():
                return
        raise AssertionError("the disk works again, and not all that is owed is done")

    def check(self) -> None:
        """What holds in the end, whatever failed on the way."""
        spool, path = self.spool, self.spool.path
        waiting = {each.episode: each for each in spool.waiting()}
        assert set(waiting) == {self.fates["damaged"], self.fates["waiting"]}
        assert all(each.sealed for each in waiting.values())
        assert {UUID(file.stem.partition("-")[2]) for file in (path / "episodes").iterdir()} == set(waiting)
        for file in (path / "episodes").iterdir():
            found = records_in(file)
            assert isinstance(found[-1].header, Seal)
            assert file.stat().st_size == waiting[UUID(file.stem.partition("-")[2])].size
        aside = {self.fates["rejected"], self.fates["refused"]}
        assert {file.name for file in (path / "rejected").iterdir()} == {
            f"{episode}.{suffix}" for episode in aside for suffix in ("episode", "why")
        }
        counts = spool.counts()
        assert (counts["pending"], counts["committed"]) == (2, 1)
        assert sum(counts.values()) == spool.ordinals()[1], "an ordinal without a fate"

    def _sealed(self, fate: str) -> UUID:
        episode, file = self._until(lambda: begin(self.spool))
        self.fates[fate] = episode
        for row in range(3):
            self._until(lambda row=row: file.append(*chunk(row)))  # type: ignore[misc]
            self.spool.flush()
        self._until(lambda: seal(file, 3))
        self.settle()
        return episode

    def _path(self, episode: UUID) -> Path:
        (path,) = (self.spool.path / "episodes").glob(f"*{episode}*")
        return path

    def _until(self, call: Callable[[], T]) -> T:
        for _ in range(100):
            try:
                return call()
            except SpoolError:
                self.spool.flush()
                self.spool._owed.again()
        raise AssertionError("the disk works again, and the call still fails")


def opened(path: Path) -> Spool:
    spool = Spool(path, "rig")
    spool._commits.due = lambda: None  # type: ignore[method-assign]
    return spool


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def no_more_descriptors_than(before: int) -> bool:
    return descriptors() <= before


def test_any_call_may_fail_for_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "INTERVAL_S", 3600.0)
    disk = FailingDisk(monkeypatch)
    spool = opened(tmp_path / "calm")
    disk.trouble(0, 0, 0)
    life = Life(spool)
    life.live()
    life.check()
    calls, expected = disk.calls, spool.between_totals()
    spool.close()
    assert calls > 80
    kinds = ((1, errno.EIO), (7, errno.ENOSPC), (7, errno.EIO), (1, errno.ENOSPC))
    for first in range(calls):
        n, error = kinds[first % 4]
        path, before = tmp_path / f"{first}-{n}", descriptors()
        spool = opened(path)
        disk.trouble(first, n, error)
        life = Life(spool)
        life.live()
        life.check()
        assert spool.between_totals().streams == expected.streams, (first, n, error)
        spool.close()
        again = opened(path)  # and it is all on disk
        assert again.between_totals().streams == expected.streams, (first, n, error)
        life.spool = again
        life.check()
        again.close()
        wait_for(partial(no_more_descriptors_than, before), f"no descriptor to be left: {(first, n, error)}")


def test_opening_in_trouble_leaks_nothing_and_can_be_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "INTERVAL_S", 3600.0)
    disk = FailingDisk(monkeypatch)
    for number in range(40):
        path = tmp_path / str(number)
        spool = opened(path)
        for _ in range(2):
            _, file = begin(spool)
            file.append(*chunk(0))
            spool.flush()
        spool.close()
        before = descriptors()
        disk.trouble(number, 5, errno.EIO)
        again: Spool | None = None
        while again is None:
            try:
                again = opened(path)
            except SpoolError:
                assert descriptors() == before, number
        again._owed.again()
        again._owed.again()
        disk.works()
        assert again._owed.again()
        assert [waiting.ordinal for waiting in again.waiting()] == [0, 1], number
        again.close()
        if disk.calls < number:
            return
    raise AssertionError("opening has more calls than this")


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
def test_syncing_goes_on_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int) -> None:
    """The disk is in trouble while what was written is noted in the ledger."""
    monkeypatch.setattr(group_commit, "RETRY_S", 0.01)
    deaths: list[object] = []
    disk = FailingDisk(monkeypatch)
    spool = Spool(tmp_path, "rig", died=deaths.append)
    try:
        _, file = begin(spool)
        file.append(*chunk(0))
        disk.trouble(0, 10**9, error)
        given_up, _ = begin(spool)
        wait_for(lambda: spool._ledger.is_stuck, "it to be found that it cannot be begun")
        with pytest.raises(SpoolError):
            begin(spool)
        spool.account.enter("imu", 1)
        spool.account.between("imu", Tally(filtered={"trigger": 1}))
        with pytest.raises(SpoolError):
            spool.persist()
        wait_for(lambda: disk.calls > 10, "the thread to have tried some times")
        disk.works()
        spool.discard(given_up, "by hand")
        seal(file, 1)
        wait_for(lambda: [waiting.sealed for waiting in spool.waiting()] == [True], "the seal to be noted")
        spool.persist()
        assert spool.between_totals().streams["imu"].captured == 1
        assert not deaths
        assert len(list((tmp_path / "episodes").iterdir())) == 1
    finally:
        spool.close()


def test_what_was_between_is_told_once_by_an_episode_that_the_disk_would_not_have_begin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = FailingDisk(monkeypatch)
    spool = Spool(tmp_path, "rig")
    try:
        spool.account.enter("imu", 3)
        spool.account.between("imu", Tally(filtered={"trigger": 3}))
        spool.persist()

        def create() -> EpisodeFile:
            return spool.create(lambda n, told: manifest(ROWS, spool_id=spool.spool_id, ordinal=n, between=told))

        disk.trouble(0, 10**9, errno.ENOSPC)
        file = create()
        assert file.manifest.between["imu"].filtered == {"trigger": 3}
        assert not spool.flush()
        with pytest.raises(SpoolFull):
            create()
        assert spool.between()["imu"].filtered == {"trigger": 3}, "as the disk has it"
        disk.works()
        assert spool.flush()
        assert spool.counts() == {"pending": 1, "committed": 0, "discarded": 0}
        assert spool.between() == {}
        assert create().manifest.between == {}, "one OPEN has told of them"
        assert spool.between_totals().streams["imu"].filtered == {"trigger": 3}
    finally:
        spool.close()


def test_a_file_system_that_does_not_answer_is_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(tmp_path, "rig")

    def gone(_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    try:
        with monkeypatch.context() as patch:
            patch.setattr(os, "statvfs", gone)
            with pytest.raises(SpoolFull, match="does not answer: Input/output error"):
                spool.require(1)
            spool.room.restore_reserve()
        spool.require(1)
    finally:
        spool.close()


# -- read back ---------------------------------------------------------------------------------------------------------


class Forgets:
    """A disk whose sync fails once, and which has then something else than what was written."""

    def __init__(self, patch: pytest.MonkeyPatch, path: Path, at: int) -> None:
        self._path, self._at, self._done = path, at, False
        patch.setattr(durable, "sync", self._sync)

    def _sync(self, fd: int) -> None:
        if not self._done:
            self._done = True
            content = bytearray(self._path.read_bytes())
            content[self._at] ^= 1
            with self._path.open("r+b") as file:
                file.write(content)
            raise OSError(errno.EIO, "Input/output error")
        os.fdatasync(fd)


@pytest.mark.parametrize("of_seal", [False, True])
def test_what_a_disk_lost_while_it_grew_is_taken_out_once_it_is_sealed(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, of_seal: bool
) -> None:
    monkeypatch.setattr(group_commit, "RETRY_S", 0.01)
    spool._commits._stop.set()
    spool._commits._thread.join()
    episode, file = begin(spool)
    for row in range(4):
        file.append(*chunk(row))
    file.put_down()
    second = records(file.path, episode)[2]
    at = second.offset + 25
    if of_seal:
        spool.flush()
        before, at = file.sendable, file.written + 30
        seal(file, 4)
    Forgets(monkeypatch, file.path, at)
    assert not spool.flush()
    assert file.sendable <= second.offset or of_seal
    spool.flush()
    if not of_seal:
        assert file.sendable == 0, "nothing of what is not as it was written can be sent"
        file.append(*chunk(4))
        seal(file, 5)
    else:
        assert file.sendable == before
    wait_for(lambda: spool.flush() and spool.waiting()[0].sealed, "it to be mended")
    (waiting,) = spool.waiting()
    assert waiting.recoveries == 1
    found = records(file.path, episode)
    closing = found[-1].header
    assert isinstance(closing, Seal)
    assert closing.digest == waiting.digest
    rows = [record.payload[0] for record in found[1:-1]]
    assert rows == ([0, 1, 2, 3] if of_seal else [0, 2, 3, 4])
    assert closing.account["imu"].balances
    if not of_seal:
        assert closing.account["imu"].lost == {"corrupt": 1}


def test_a_disk_that_cannot_be_read_back_is_asked_again(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "RETRY_S", 0.01)
    failing = {"sync": 1, "read_at": 3}

    def fails(name: str) -> Callable[..., Any]:
        real = getattr(durable, name)

        def call(*arguments: Any) -> Any:
            if failing[name]:
                failing[name] -= 1
                raise OSError(errno.EIO, "Input/output error")
            return real(*arguments)

        return call

    for name in failing:
        monkeypatch.setattr(durable, name, fails(name))
    _, file = begin(spool)
    file.append(*chunk(0))
    wait_for(lambda: file.sendable == file.written, "the disk to have been asked often enough")
    assert failing == {"sync": 0, "read_at": 0}
    assert not file.damaged


@pytest.mark.parametrize("call", ["recover", "recheck"])
def test_an_episode_that_cannot_be_read_now_is_kept_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """A bad sector, or a disk that comes back: what is not read is not lost."""
    monkeypatch.setattr(group_commit, "RETRY_S", 0.01)
    spool = Spool(tmp_path, "rig")
    episodes = []
    for _ in range(2):
        episode, file = begin(spool)
        episodes.append(episode)
        file.append(*chunk(0))
        if call == "recheck":
            seal(file, 1)
    spool.flush()
    real, failing = durable.read_at, [True]

    def bad(fd: int, size: int, offset: int) -> bytes:
        if failing[0] and str(episodes[0]) in os.readlink(f"/proc/self/fd/{fd}"):  # noqa: PTH115 - a descriptor's name
            raise OSError(errno.EIO, "Input/output error")
        return real(fd, size, offset)

    monkeypatch.setattr(durable, "read_at", bad)
    if call == "recheck":
        with pytest.raises(OSError, match="Input/output error"):
            spool.recheck(episodes[0])
        assert [waiting.episode for waiting in spool.waiting()] == episodes
        failing[0] = False
        spool.recheck(episodes[0])
    else:
        spool.close()
        spool = Spool(tmp_path, "rig")
        assert [waiting.episode for waiting in spool.waiting()] == episodes[1:]
        assert spool.counts()["pending"] == 2
        failing[0] = False
        wait_for(lambda: len(spool.waiting()) == 2, "it to be read after all")
    assert [(waiting.episode, waiting.sealed) for waiting in spool.waiting()] == [(each, True) for each in episodes]
    used = sum(file.stat().st_size for file in (tmp_path / "episodes").iterdir())
    assert spool.used_bytes() == used
    spool.close()


# -- the uplink's end --------------------------------------------------------------------------------------------------


def test_what_the_ingest_says_meanwhile_is_done_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = FailingDisk(monkeypatch)
    spool = Spool(tmp_path, "rig")
    try:
        end, link = SpoolEnd(spool), DeviceLink("rig", "id", "boot", spool.ordinals, lambda _: [], lambda: 0.5)
        link.poll(0)
        hello = next(message for message in link.take_messages() if isinstance(message, wire.Hello))
        link.receive(wire.Welcome(session=9, nonce=hello.nonce), 0)
        episodes = []
        for _ in range(2):
            episode, file = begin(spool)
            file.append(*chunk(0))
            seal(file, 1)
            episodes.append(episode)
        spool.flush()
        digest = spool.waiting()[0].digest
        disk.trouble(0, 10**9, errno.ENOSPC)
        for job in (
            jobs.Delete(episodes[0], 0, digest),
            jobs.SetAside(episodes[1], "conflict", "said the server"),
            jobs.KeepProbe(1, 2, 3),
            jobs.ForgetDiscards((7,)),
        ):
            end.do(job, link)
        assert (end.committed, end.rejected) == (0, 0)
        disk.works()
        end.begin()
        end.offer(link, boottime_ns())
        assert (end.committed, end.rejected) == (1, 1)
        assert spool.counts() == {"pending": 0, "committed": 1, "discarded": 1}
        end.begin()
        end.offer(link, boottime_ns())
        assert (end.committed, end.rejected) == (1, 1)
    finally:
        disk.works()
        spool.close()


def test_an_episode_that_goes_while_it_is_being_refused_ends_nothing(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two threads have the last word on it at the same time: the one that syncs, and the uplink's."""
    episode, file = begin(spool)
    file.append(*chunk(0))
    spool.rejected(episode, "format", "said the server")
    real = spool._mending.sealed

    def sealed(files: Sequence[tuple[Held, EpisodeFile]]) -> None:
        real(files)
        if files:
            spool.discard(episode, "by hand")

    monkeypatch.setattr(spool._mending, "sealed", sealed)
    seal(file, 1)
    wait_for(lambda: spool.counts()["discarded"] == 1, "its end")
    assert spool.flush()
    assert spool._commits._thread.alive
    assert spool.discards() == [("by hand", [0])]


# -- a bad sector ------------------------------------------------------------------------------------------------------


def bad_sector(patch: pytest.MonkeyPatch, path: Path, page: int) -> None:
    """The disk gives a page of this very file never again."""
    inode, real, start = path.stat().st_ino, os.pread, page * 4096

    def pread(fd: int, size: int, offset: int) -> bytes:
        if os.fstat(fd).st_ino == inode and offset < start + 4096 and offset + size > start:
            raise OSError(errno.EIO, "Input/output error")
        return real(fd, size, offset)

    patch.setattr(os, "pread", pread)


def salvaged(spool: Spool, episode: UUID, n: int) -> None:
    """All but what was in that page is there, and can be sent."""
    (waiting,) = spool.waiting()
    assert (waiting.episode, waiting.sealed, waiting.recoveries) == (episode, True, 1)
    (path,) = (spool.path / "episodes").iterdir()
    assert spool.read(episode, 0, 1 << 20) == path.read_bytes()
    closing = records(path, episode)[-1].header
    assert isinstance(closing, Seal)
    account = closing.account["imu"]
    assert account.balances
    assert account.captured >= n
    assert 10 < account.lost["corrupt"] < 30
    assert account.stored == n - account.lost["corrupt"]


def test_what_a_disk_will_never_give_is_taken_out_in_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "RETRY_S", 0.01)
    monkeypatch.setattr(mending, "SALVAGE_TRIES", 3)
    spool = Spool(tmp_path, "rig")
    episode, file = begin(spool)
    for row in range(200):
        file.append(*chunk(row))
    spool.close()
    bad_sector(monkeypatch, file.path, 3)
    spool = Spool(tmp_path, "rig")
    try:
        assert spool.waiting() == []
        wait_for(spool.waiting, "it to be salvaged")
        salvaged(spool, episode, 200)
    finally:
        spool.close()


def test_what_cannot_be_read_to_be_sent_is_taken_out_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path, "rig")
    try:
        end = SpoolEnd(spool)
        episode, file = begin(spool)
        for row in range(200):
            file.append(*chunk(row))
        seal(file, 200)
        spool.flush()
        data = wire.Data(session=1, episode=episode.bytes, offset=12000, want=1)
        with monkeypatch.context() as patch:
            patch.setattr(os, "pread", failing_pread)
            for _ in range(2 * spool_end.SALVAGE_READS):  # the whole disk is in trouble: nothing is given up
                assert end.read(data, 4000) is None
        assert spool.waiting()[0].recoveries == 0
        bad_sector(monkeypatch, file.path, 3)
        for _ in range(spool_end.SALVAGE_READS):
            assert spool.waiting()[0].recoveries == 0
            assert end.read(data, 4000) is None
        salvaged(spool, episode, 200)
        assert end.read(data, 4000) is not None
    finally:
        spool.close()


def failing_pread(*_: object) -> bytes:
    raise OSError(errno.EIO, "Input/output error")
