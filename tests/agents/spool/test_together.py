"""What many small episodes have in common is done once for all: beginnings, names, seals, answers; and a start."""

import contextlib
import os
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from sensorium.agents.spool import group_commit, inspect
from sensorium.agents.spool.episode_file import EARLY_BYTES, EpisodeFile
from sensorium.agents.spool.pending import MOST_GROWING
from sensorium.agents.spool.spool import Spool
from sensorium.agents.uplink import spool_end
from sensorium.agents.uplink.spool_end import SpoolEnd
from sensorium.episode import durable, file_system
from sensorium.episode.documents import Account
from sensorium.errors import SpoolError, SpoolFull
from sensorium.link import wire
from sensorium.link.device import jobs
from sensorium.link.device.protocol import DeviceLink
from tests.agents.building import begin, chunk, records
from tests.failing_disk import FailingDisk

MANY = 40
CALLS = ("open", "writev", "fsync", "fdatasync", "unlink")


@pytest.fixture
def spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Spool]:
    """One whose disk is written to when the test says so."""
    monkeypatch.setattr(group_commit, "INTERVAL_S", 3600.0)
    made = opened(tmp_path / "spool")
    yield made
    made.close()


def opened(path: Path) -> Spool:
    made = Spool(path, "rig")
    made._commits.due = lambda: None  # type: ignore[method-assign]
    return made


@contextmanager
def counted(spool: Spool, patch: pytest.MonkeyPatch) -> Iterator["Counter[str]"]:
    """What the disk is asked for meanwhile; the ledger by statements."""
    asked: Counter[str] = Counter()

    class Counting:
        def __getattr__(self, name: str) -> Any:
            asked[name] += name in CALLS
            return getattr(os, name)

    patch.setattr(durable, "os", Counting())
    spool._ledger._file._db.set_trace_callback(lambda sql: asked.update([sql.partition(" ")[0]]))
    try:
        yield asked
    finally:
        patch.setattr(durable, "os", os)
        spool._ledger._file._db.set_trace_callback(None)


def small(spool: Spool, n: int = 1) -> tuple[UUID, EpisodeFile]:
    episode, file = begin(spool)
    for row in range(n):
        file.append(*chunk(row))
    file.seal("complete", {"imu": n}, {"imu": Account(captured=n, stored=n)}, {}, 10**9)
    return episode, file


def test_how_long_a_round_of_syncs_takes_is_told_where_it_fails_too(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool.flush()
    assert spool.room.times.told()["+Inf"] == 0
    small(spool)
    small(spool)
    spool.flush()
    told = spool.room.times.told()
    assert told["+Inf"] == 1
    assert told["sum"] > 0
    small(spool)
    with monkeypatch.context() as patch:
        patch.setattr(EpisodeFile, "sync", failing)
        spool.flush()
    assert spool.room.times.told()["+Inf"] == 2


def failing(*_: object) -> None:
    raise SpoolError("the disk is away")


def killed(spool: Spool) -> None:
    """What it has in memory is no more."""
    spool._closed = True
    spool._commits.flush = lambda **_: True  # type: ignore[method-assign]
    spool._commits._stop.set()
    spool._commits._due.set()
    spool._commits._thread.join()
    spool._ledger.close()
    spool._folder.unlock()


def files(spool: Spool) -> list[str]:
    return sorted(path.name for path in (spool.path / "episodes").iterdir())


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> "Counter[str]":
    """The file system is one whose sync is trusted; how often it was asked for, which fails as long as `fails`."""
    asked: Counter[str] = Counter()

    def sync(_: int) -> None:
        asked["syncfs"] += 1
        if asked["fails"]:
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(file_system, "is_trusted", lambda _: True)
    monkeypatch.setattr(file_system, "is_calm", lambda: True)
    monkeypatch.setattr(durable, "sync_file_system", sync)
    return asked


@pytest.mark.parametrize("why", ["is_trusted", "is_calm", "mounted"])
def test_begun_and_sealed_together_they_cost_one_sync_each_and_a_few_for_all(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, at_once: "Counter[str]", why: str
) -> None:
    """Where the sync of the file system is not known to be theirs, waits for others, or is not that of the files."""
    if why == "mounted":
        spool._folder._is_one = False
    else:
        monkeypatch.setattr(file_system, why, lambda *_: False)
    with counted(spool, monkeypatch) as asked:
        episodes = [small(spool)[0] for _ in range(MANY)]
        assert not any(asked[name] for name in CALLS), "the disk was not asked for anything yet"
        assert spool.flush()
    assert (asked["fdatasync"], asked["writev"], at_once["syncfs"]) == (MANY, MANY, 0)
    assert asked["fsync"] == 1, "of the folder, which has all the names"
    assert asked["COMMIT"] == 2, "of the beginnings, and of the seals"
    assert [each.episode for each in spool.waiting() if each.sealed] == episodes


def test_where_the_file_system_is_trusted_they_cost_one_sync_together(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, at_once: "Counter[str]"
) -> None:
    with counted(spool, monkeypatch) as asked:
        episodes = [small(spool)[0] for _ in range(MANY)]
        growing, _ = begin(spool)
        assert spool.flush()
        few = [small(spool)[0] for _ in range(group_commit.AT_ONCE - 1)]
        assert at_once["syncfs"] == 1
        assert asked["fdatasync"] == 0
        assert spool.flush()
    assert at_once["syncfs"] == 1
    assert asked["fdatasync"] == len(few)
    assert asked["fsync"] == 2, "of the folder, once for each flush"
    assert {each.episode for each in spool.waiting() if each.sealed} == {*episodes, *few}
    assert next(each.size for each in spool.waiting() if each.episode == growing) > 0


def test_the_folder_is_synced_behind_all_even_if_no_name_is_new(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, at_once: "Counter[str]"
) -> None:
    growing = [begin(spool)[1] for _ in range(MANY)]
    spool.flush()
    for file in growing:
        file.append(*chunk(0))
    order: list[str] = []
    monkeypatch.setattr(durable, "sync_file_system", lambda _: order.append("all"))
    monkeypatch.setattr(durable, "sync_folder", lambda _: order.append("folder"))
    assert spool.flush()
    assert order == ["all", "folder"]
    assert at_once["syncfs"] == 1
    assert all(file.sendable == file.written for file in growing)


def test_after_one_sync_for_all_failed_each_is_asked_for_itself_until_what_was_open_then_is_closed(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, at_once: "Counter[str]"
) -> None:
    """It is said once, not of what, and may have been of one that grows on."""
    growing, file = begin(spool)
    spool.flush()
    at_once["fails"] = 1
    with counted(spool, monkeypatch) as asked:
        for _ in range(MANY):
            small(spool)
        assert spool.flush()
        assert (at_once["syncfs"], asked["fdatasync"]) == (1, MANY)
        at_once["fails"] = 0
        for _ in range(MANY):
            small(spool)
        assert spool.flush()
        assert (at_once["syncfs"], asked["fdatasync"]) == (1, 2 * MANY)
        file.seal("complete", {"imu": 0}, {"imu": Account()}, {}, 10**9)
        assert spool.flush()
        for _ in range(MANY):
            small(spool)
        assert spool.flush()
        assert (at_once["syncfs"], asked["fdatasync"]) == (2, 2 * MANY + 1)
    assert len([each for each in spool.waiting() if each.sealed]) == 3 * MANY + 1
    assert growing in {each.episode for each in spool.waiting()}


def test_what_was_appended_while_all_was_synced_is_not_sent(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, at_once: "Counter[str]"
) -> None:
    growing, file = begin(spool)
    for row in range(3):
        file.append(*chunk(row))
    for _ in range(MANY):
        small(spool)
    before = file.written

    def sync(_: int) -> None:
        file.append(*chunk(3))

    monkeypatch.setattr(durable, "sync_file_system", sync)
    assert spool.flush()
    assert file.written > before
    assert next(each.size for each in spool.waiting() if each.episode == growing) == before
    monkeypatch.undo()


def test_they_leave_together(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    episodes = [small(spool)[0] for _ in range(MANY)]
    growing, _ = begin(spool)
    spool.flush()
    said = [(each.episode, each.digest) for each in spool.waiting() if each.sealed]
    wrong = [(said[0][0], bytes(32)), (growing, bytes(32)), (UUID(int=7), bytes(32))]
    with counted(spool, monkeypatch) as asked:
        assert spool.committed_all([*wrong, *said[1:], said[1]]) == [*episodes[1:], episodes[1]]
    assert (asked["COMMIT"], asked["fsync"], asked["unlink"]) == (1, 1, MANY - 1)
    assert [each.episode for each in spool.waiting()] == [episodes[0], growing]
    assert spool.counts() == {"pending": 2, "committed": MANY - 1, "discarded": 0}
    assert len(files(spool)) == 2


def test_a_file_that_cannot_be_deleted_keeps_no_other(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    episodes = [small(spool)[0] for _ in range(3)]
    spool.flush()
    real, stuck = os.unlink, [True]

    def unlink(path: Any, **more: Any) -> None:
        if stuck and str(episodes[1]) in str(path):
            raise OSError(5, "Input/output error")
        real(path, **more)

    monkeypatch.setattr(os, "unlink", unlink)
    assert spool.committed_all([(each.episode, each.digest) for each in spool.waiting()]) == episodes
    assert len(files(spool)) == 1
    stuck.clear()
    assert spool._owed.again()
    assert files(spool) == []


def test_what_grows_is_not_synced_with_what_is_sealed_before_its_time(spool: Spool) -> None:
    small(spool)
    _, file = begin(spool)
    file.append(*chunk(0))
    assert spool._commits.flush(every=False)
    assert not file.is_early, "a kill would not cost it"
    assert [each.sealed for each in spool.waiting()] == [True, False]
    assert file.sendable == 0
    spool.flush()
    assert file.sendable == file.written


def test_what_waits_for_the_disk_in_memory_is_bounded(spool: Spool) -> None:
    for _ in range(MOST_GROWING):
        small(spool)
    assert files(spool) == []
    small(spool)
    assert len(files(spool)) == MOST_GROWING
    assert sum(each.sealed for each in spool.waiting()) == MOST_GROWING


def test_used_bytes_are_those_of_what_grows_is_sealed_and_is_no_more(spool: Spool) -> None:
    grown = [begin(spool) for _ in range(3)]
    for _, file in grown:
        file.append(*chunk(0))
        file.append_all([chunk(1)])
    assert spool.used_bytes() == sum(file.written for _, file in grown)
    spool.discard(grown[0][0], "by hand")
    with pytest.raises(SpoolError):
        grown[0][1].append(*chunk(2))
    small(spool)
    assert spool.flush()
    grown[1][1].append(*chunk(2))
    assert spool.used_bytes() == sum(file.written for _, file in grown[1:]) + spool.waiting()[-1].size


# -- before the disk has it --------------------------------------------------------------------------------------------


def test_a_little_is_held_in_memory_and_more_is_not(spool: Spool) -> None:
    episode, file = begin(spool)
    header, _ = chunk(0)
    file.append(header, bytes(EARLY_BYTES // 2))
    assert (file.is_early, files(spool)) == (True, [])
    assert spool.used_bytes() == file.written
    assert spool.read(episode, 0, 100) == b"", "nothing of it can be sent"
    file.append(chunk(1)[0], bytes(EARLY_BYTES // 2))
    assert not file.is_early
    assert len(records(file.path, episode)) == 3
    assert spool.ordinals() == (0, 1)


def test_a_kill_before_that_leaves_nothing_and_its_ordinal_is_free(spool: Spool) -> None:
    small(spool)
    spool.flush()
    lost, _ = small(spool)
    killed(spool)
    again = opened(spool.path)
    try:
        assert again.ordinals()[1] == 1
        assert again.counts() == {"pending": 1, "committed": 0, "discarded": 0}
        episode, file = small(again)
        assert (file.manifest.ordinal, episode != lost) == (1, True)
    finally:
        again.close()


def test_an_ordinal_that_was_told_is_not_given_again(spool: Spool) -> None:
    """Though nothing of its episode is on disk: HELLO says which is the next."""
    begin(spool)
    assert spool.ordinals() == (0, 1)
    killed(spool)
    again = opened(spool.path)
    try:
        assert again.ordinals()[1] == 1
        assert again.counts() == {"pending": 0, "committed": 0, "discarded": 1}, "lost before its first sync"
    finally:
        again.close()


def test_one_that_is_given_up_before_has_its_entry_all_the_same(spool: Spool) -> None:
    first, file = begin(spool)
    spool.discard(first, "by hand")
    assert file.closed
    second, _ = small(spool)
    spool.rejected(second, "format", "said the server")
    assert spool.flush()
    assert spool.discards() == [("by hand", [0]), ("rejected (format): said the server", [1])]
    assert files(spool) == []
    assert (spool.path / "rejected" / f"{second}.episode").exists()


@pytest.mark.parametrize("first", range(8))
def test_whatever_fails_on_the_way_down_it_is_whole_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: int
) -> None:
    """BEGIN, COMMIT, open, writev, ... a disk fails for three calls, with half of a write there."""
    monkeypatch.setattr(group_commit, "INTERVAL_S", 3600.0)
    disk = FailingDisk(monkeypatch)
    spool = opened(tmp_path / "spool")
    try:
        made = [small(spool, 3) for _ in range(2)]
        disk.trouble(first, 3, 28)
        assert not spool.flush()
        if spool._ledger.is_stuck:
            with pytest.raises((SpoolError, SpoolFull)):
                begin(spool)
        disk.works()
        assert spool.flush()
        for episode, file in made:
            assert [record.payload[:1] for record in records(file.path, episode)[1:-1]] == [b"\0", b"\1", b"\2"]
        assert spool.counts() == {"pending": 2, "committed": 0, "discarded": 0}
    finally:
        disk.works()
        spool.close()


# -- a start, and a look from outside ----------------------------------------------------------------------------------


def test_a_start_asks_the_ledger_no_more_of_many_than_of_few(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    episodes = [small(spool)[0] for _ in range(MANY)]
    spool.flush()
    before = spool.waiting()
    spool.close()
    asked: list[str] = []
    real = sqlite3.connect

    def connect(*arguments: Any, **named: Any) -> sqlite3.Connection:
        made: sqlite3.Connection = real(*arguments, **named)
        made.set_trace_callback(asked.append)
        return made

    monkeypatch.setattr(sqlite3, "connect", connect)
    again = opened(spool.path)
    try:
        assert again.waiting() == before
        assert [each.episode for each in again.waiting()] == episodes
        assert len(asked) < MANY
    finally:
        again.close()


def test_a_look_from_outside_while_files_go(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    episodes = [small(spool)[0] for _ in range(3)]
    spool.flush()
    real = os.scandir

    def scandir(path: Any) -> Any:
        found = list(real(path))
        for entry in found:
            if str(episodes[1]) in entry.name:
                Path(entry.path).unlink()
        return contextlib.nullcontext(found)

    monkeypatch.setattr(os, "scandir", scandir)
    found = inspect.inspect_spool(spool.path)["episodes"]
    assert [(each["episode"], bool(each["bytes"]), bool(each["file"])) for each in found] == [
        (str(episode), number != 1, number != 1) for number, episode in enumerate(episodes)
    ]


# -- the uplink's end --------------------------------------------------------------------------------------------------


def test_answers_that_come_close_together_are_noted_together(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first at once; none is offered again meanwhile."""
    now_ns = [10**12]
    monkeypatch.setattr(spool_end, "boottime_ns", lambda: now_ns[0])
    end, link = SpoolEnd(spool), DeviceLink("rig", "id", "boot", spool.ordinals, lambda _: [], lambda: 0.5)
    link.poll(0)
    hello = next(message for message in link.take_messages() if isinstance(message, wire.Hello))
    link.receive(wire.Welcome(session=9, nonce=hello.nonce), now_ns[0])
    episodes = [small(spool)[0] for _ in range(5)]
    spool.flush()
    digests = {each.episode: each.digest for each in spool.waiting()}
    noted: list[int] = []
    real = spool.committed_all

    def committed_all(said: Sequence[tuple[UUID, bytes]], say: Any) -> list[UUID]:
        noted.append(len(said))
        return real(said, say)

    monkeypatch.setattr(spool, "committed_all", committed_all)
    for ordinal, episode in enumerate(episodes[:4]):
        end.do(jobs.Delete(episode, ordinal, digests[episode]), link)
    assert (noted, end.committed, end.has_answers) == ([1], 1, True)
    end.begin()
    end._settle_ns = now_ns[0] + 1
    end.offer(link, now_ns[0])
    offered = [message.episode for message in link.take_messages() if isinstance(message, wire.Offer)]
    assert offered == [episodes[4].bytes]
    now_ns[0] += int(spool_end.SETTLE_S * 10**9)
    end.settle(now_ns[0])
    assert (noted, end.committed, end.has_answers) == ([1, 3], 4, False)
    end.do(jobs.Delete(episodes[4], 4, digests[episodes[4]]), link)
    end.settle()
    assert end.committed == 5, "at the end they wait for nothing"
    assert spool.is_empty
