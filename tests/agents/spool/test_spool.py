"""The spool: what is synced is sendable, what was promised survives, and nothing leaves without an entry."""

import errno
import fcntl
import os
import random
import threading
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.agents.spool import group_commit
from sensorium.agents.spool.episode_file import EpisodeFile
from sensorium.agents.spool.recovery import recover
from sensorium.agents.spool.spool import Spool
from sensorium.episode import durable
from sensorium.episode.documents import Account, Open, Seal
from sensorium.episode.records import Damage, Record, scan
from sensorium.errors import Corrupt, SensoriumError, SpoolError, SpoolFull
from sensorium.threads import Thread
from tests.agents.building import ROWS, begin, chunk, commit, manifest, records


def fill(file: EpisodeFile, n: int) -> None:
    for row in range(n):
        file.append(*chunk(row))


def seal(file: EpisodeFile, n: int) -> None:
    file.seal("complete", {"imu": n}, {"imu": Account(captured=n, stored=n)}, {}, 10**9)


def only_file(path: Path) -> Path:
    (found,) = (path / "episodes").glob("*.episode")
    return found


def test_nothing_unsynced_is_offered(spool: Spool) -> None:
    episode, file = begin(spool)
    spool.flush()
    before = spool.waiting()[0].size
    fill(file, 3)
    assert file.written > before
    assert spool.read(episode, 0, 1 << 20) == only_file(spool.path).read_bytes()[: spool.waiting()[0].size]
    spool.flush()
    assert spool.waiting()[0].size == file.written
    assert len(spool.read(episode, 0, 1 << 20)) == file.written


def test_a_sealed_episode_survives_reopening_byte_for_byte(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "rig")
    episode, file = begin(spool)
    fill(file, 5)
    seal(file, 5)
    spool.flush()
    before = only_file(tmp_path).read_bytes()
    waiting = spool.waiting()
    spool.close()
    again = Spool(tmp_path, "rig")
    assert again.waiting() == waiting
    assert again.read(episode, 0, 1 << 20) == before
    assert again.waiting()[0].recoveries == 0
    again.close()


def test_ordinals_count_on_and_every_one_has_a_fate(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "rig")
    for fate in ("commit", "reject", "discard", "keep"):
        episode, file = begin(spool)
        if fate != "discard":
            fill(file, 1)
            seal(file, 1)
            spool.flush()
        if fate == "commit":
            assert commit(spool, episode)
        elif fate == "reject":
            spool.rejected(episode, "conflict", "known with other content")
        elif fate == "discard":
            spool.discard(episode, "discarded by hand")
    spool.close()
    again = Spool(tmp_path, "rig")
    assert again.counts() == {"committed": 1, "discarded": 2, "pending": 1}
    assert again.ordinals() == (3, 4)
    assert dict(again.discards()) == {
        "rejected (conflict): known with other content": [1],
        "discarded by hand": [2],
    }
    again.ledgered([1, 2])
    assert again.discards() == []
    assert len(list((tmp_path / "rejected").glob("*.episode"))) == 1
    again.close()


def test_a_commit_wins_over_a_discard(spool: Spool) -> None:
    episode, file = begin(spool)
    fill(file, 1)
    seal(file, 1)
    spool.flush()
    (waiting,) = spool.waiting()
    spool.discard(episode, "evicted", "evicted")
    assert spool.committed(episode, waiting.digest)
    assert spool.counts() == {"committed": 1, "discarded": 0, "pending": 0}


def test_one_process_at_a_time(spool: Spool) -> None:
    with pytest.raises(SpoolError, match="another agent is using it"):
        Spool(spool.path, "rig", wait_s=0.0)


@pytest.mark.parametrize(
    ("owner", "call", "number", "lacks"),
    [
        (fcntl, "flock", errno.ENOLCK, "no locks"),
        (fcntl, "flock", errno.EOPNOTSUPP, "no locks"),
        (durable, "sync_folder", errno.EINVAL, "no folders that can be synced"),
        (durable, "sync_folder", errno.EOPNOTSUPP, "no folders that can be synced"),
    ],
)
def test_a_file_system_that_cannot_hold_one_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, call: str, number: int, lacks: str
) -> None:
    def cannot(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    there = tmp_path / "copied"
    Spool(there, "rig").close()
    monkeypatch.setattr(owner, call, cannot)
    for path in (tmp_path / "new", there):
        with pytest.raises(SpoolError, match=f"this file system has {lacks} .*, which a spool needs"):
            Spool(path, "rig")


def test_a_spool_belongs_to_one_device(tmp_path: Path) -> None:
    Spool(tmp_path, "rig").close()
    with pytest.raises(SpoolError, match="belongs to device 'rig'"):
        Spool(tmp_path, "other")


def test_priority_then_age_is_the_order_of_delivery(spool: Spool) -> None:
    from sensorium.episode.documents import Mission

    for priority in (1.0, 5.0, 1.0):
        begin(spool, mission=Mission(priority=priority))
    assert [(w.priority, w.ordinal) for w in spool.waiting()] == [(5.0, 1), (1.0, 0), (1.0, 2)]


# -- after a crash -----------------------------------------------------------------------------------------------------


def crashed(tmp_path: Path, n: int) -> tuple[UUID, bytes, Open]:
    """A spool whose process went away with one episode of `n` chunks open; the file's bytes."""
    spool = Spool(tmp_path, "rig")
    episode, file = begin(spool)
    fill(file, n)
    opening = file.manifest
    spool.close()  # no SEAL was written
    return episode, only_file(tmp_path).read_bytes(), opening


@settings(deadline=None, max_examples=25)
@given(st.data())
def test_a_torn_tail_is_cut_and_the_rest_sealed(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("spool")
    episode, whole, _ = crashed(path, 4)
    ends = [r.offset + r.size for r in scan(episode.bytes, whole) if isinstance(r, Record)]
    cut = data.draw(st.integers(ends[0], len(whole)))
    rubbish = data.draw(st.binary(max_size=60))
    only_file(path).write_bytes(whole[:cut] + rubbish)
    spool = Spool(path, "rig")
    found = records(only_file(path), episode)
    kept = sum(end <= cut for end in ends)
    assert [r.number for r in found] == list(range(kept + 1))
    closing = found[-1].header
    assert isinstance(closing, Seal)
    assert closing.reason == "interrupted"
    assert closing.rows == {"imu": kept - 1}
    assert closing.account["imu"].balances
    assert closing.account["imu"].estimated
    waiting = spool.waiting()[0]
    assert (waiting.recoveries, waiting.sealed, waiting.size) == (1, True, only_file(path).stat().st_size)
    spool.close()
    again = Spool(path, "rig")  # recovery leaves a file that needs none
    assert again.waiting() == [waiting]
    again.close()


def test_a_bad_record_followed_by_good_ones_costs_just_itself(tmp_path: Path) -> None:
    episode, whole, _ = crashed(tmp_path, 5)
    third = [r for r in scan(episode.bytes, whole) if isinstance(r, Record)][3]
    bad = bytearray(whole)
    bad[third.offset + third.size // 2] ^= 0x10
    only_file(tmp_path).write_bytes(bad)
    spool = Spool(tmp_path, "rig")
    found = records(only_file(tmp_path), episode)
    assert [r.payload[0] for r in found[1:-1]] == [0, 1, 3, 4]
    closing = found[-1].header
    assert isinstance(closing, Seal)
    assert closing.account["imu"].lost == {"corrupt": 1}
    assert closing.account["imu"].stored == 4
    assert closing.account["imu"].balances
    spool.close()


def test_a_damaged_manifest_is_restored_from_the_ledger(tmp_path: Path) -> None:
    episode, whole, opening = crashed(tmp_path, 3)
    bad = bytearray(whole)
    bad[30] ^= 0xFF
    only_file(tmp_path).write_bytes(bad)
    spool = Spool(tmp_path, "rig")
    found = records(only_file(tmp_path), episode)
    assert found[0].header == opening
    assert len(found) == 1 + 3 + 1
    spool.close()


def test_recheck_takes_out_what_went_bad_after_sealing(spool: Spool) -> None:
    episode, file = begin(spool)
    fill(file, 4)
    seal(file, 4)
    spool.flush()
    before = spool.waiting()[0]
    spool.recheck(episode)
    assert spool.waiting()[0] == before
    path = only_file(spool.path)
    bad = bytearray(path.read_bytes())
    second = [r for r in scan(episode.bytes, bytes(bad)) if isinstance(r, Record)][2]
    bad[second.offset + 25] ^= 1
    path.write_bytes(bad)
    spool.recheck(episode)
    after = spool.waiting()[0]
    assert after.recoveries == before.recoveries + 1
    assert after.digest != before.digest
    closing = records(path, episode)[-1].header
    assert isinstance(closing, Seal)
    assert closing.account["imu"] == Account(captured=4, stored=3, lost={"corrupt": 1})
    assert spool.used_bytes() == path.stat().st_size


def test_an_episode_that_was_cut_short_ends_where_it_did_after_damage_is_taken_out(spool: Spool) -> None:
    """Else it would seem to last into the next one."""
    episode, file = begin(spool)
    fill(file, 4)
    file.seal("complete", {"imu": 4}, {"imu": Account(captured=4, stored=4)}, {}, 41)
    spool.flush()
    path = only_file(spool.path)
    bad = bytearray(path.read_bytes())
    second = [r for r in scan(episode.bytes, bytes(bad)) if isinstance(r, Record)][2]
    bad[second.offset + 25] ^= 1
    path.write_bytes(bad)
    spool.recheck(episode)
    closing = records(path, episode)[-1].header
    assert isinstance(closing, Seal)
    assert (closing.reason, closing.end_ns) == ("complete", 41)


@pytest.mark.parametrize("content", [b"", b"rubbish" * 100])
def test_a_file_with_nothing_readable_is_discarded_with_a_reason(tmp_path: Path, content: bytes) -> None:
    crashed(tmp_path, 2)
    only_file(tmp_path).write_bytes(content)
    spool = Spool(tmp_path, "rig")
    assert spool.waiting() == []
    ((reason, ordinals),) = spool.discards()
    assert "nothing of it can be read" in reason
    assert ordinals == [0]
    spool.close()


def test_an_ordinal_whose_file_never_came_to_be_is_discarded(tmp_path: Path) -> None:
    crashed(tmp_path, 1)
    only_file(tmp_path).unlink()
    spool = Spool(tmp_path, "rig")
    assert spool.discards() == [("lost before its first sync", [0])]
    spool.close()


def test_files_are_found_again_when_the_ledger_is_lost(tmp_path: Path) -> None:
    episode, _, _ = crashed(tmp_path, 3)
    for file in tmp_path.glob("ledger.sqlite*"):
        file.unlink()
    spool = Spool(tmp_path, "rig")
    assert [w.episode for w in spool.waiting()] == [episode]
    (former,) = spool.formers()
    assert spool.ordinals(former) == (0, 1), "it is delivered as what it says to be"
    spool.close()


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32), n=st.integers(1, 6), flips=st.integers(1, 4))
def test_flipped_bits_never_deliver_a_wrong_byte(
    tmp_path_factory: pytest.TempPathFactory, seed: int, n: int, flips: int
) -> None:
    path = tmp_path_factory.mktemp("file") / "x.episode"
    opening = manifest(ROWS)
    file = EpisodeFile(path, opening)
    fill(file, n)
    seal(file, n)
    file.sync()
    rng = random.Random(seed)
    bad = bytearray(path.read_bytes())
    for _ in range(flips):
        bad[rng.randrange(len(bad))] ^= 1 << rng.randrange(8)
    path.write_bytes(bad)
    try:
        recover(path, opening, 1)
    except Corrupt:  # the flips hit every record
        assert not any(isinstance(item, Record) for item in scan(opening.episode, bytes(bad)))
        return
    found = records(path, UUID(bytes=opening.episode))
    good = {chunk(row)[1] for row in range(n)}
    assert all(bytes(r.payload) in good for r in found[1:-1])
    closing = found[-1].header
    assert isinstance(closing, Seal)
    assert closing.account["imu"].balances
    assert closing.account["imu"].stored == len(found) - 2


def test_scan_survives_rubbish() -> None:
    rubbish = random.Random(1).randbytes(5000) + b"SNR1" * 50
    assert not [item for item in scan(bytes(16), rubbish) if isinstance(item, Record | Damage)]


# -- disks that fail ---------------------------------------------------------------------------------------------------


def test_a_short_write_is_taken_back(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    episode, file = begin(spool)
    fill(file, 2)
    file.put_down()
    real = os.writev
    monkeypatch.setattr(os, "writev", lambda fd, buffers: real(fd, [b"".join(buffers)[:50]]))

    def full(fd: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(SpoolFull, match="taken back"):
        file.append(*chunk(2))
    monkeypatch.undo()
    file.append(*chunk(2))
    seal(file, 3)
    spool.flush()
    assert [r.payload[:1] for r in records(only_file(spool.path), episode)[1:-1]] == [b"\0", b"\1", b"\2"]


def test_after_a_failed_sync_nothing_more_is_sent_until_it_was_read_back(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, file = begin(spool)
    spool.flush()
    before = file.sendable
    fill(file, 2)

    def broken(fd: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", broken)
    with pytest.raises(SpoolError, match="sync failed"):
        file.sync()
    assert file.sendable == before
    monkeypatch.undo()
    path = only_file(spool.path)
    good = path.read_bytes()
    with path.open("r+b") as damaged:  # as a kernel that dropped the dirty pages
        damaged.seek(before + 30)
        damaged.write(b"\0" * 20)
    with pytest.raises(SpoolError, match="not what was written"):
        file.sync()
    assert file.sendable == before
    with path.open("r+b") as mended:
        mended.write(good)
    file.sync()
    assert file.sendable == file.written


def test_the_quota_counts_what_was_rejected(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "rig", max_bytes=16 << 20)
    episode, file = begin(spool)
    for row in range(3):
        file.append(chunk(row)[0], bytes(1 << 20))
    seal(file, 3)
    spool.flush()
    spool.require(8 << 20)
    spool.rejected(episode, "broken", "no")
    assert spool.used_bytes() > 3 << 20
    with pytest.raises(SpoolFull, match=r"raise spool\.max_bytes"):
        spool.require(10 << 20)
    spool.close()
    again = Spool(tmp_path, "rig", max_bytes=16 << 20)
    assert again.used_bytes() > 3 << 20
    again.close()


def test_evict_discards_the_least_priority_first_then_the_oldest(tmp_path: Path) -> None:
    from sensorium.episode.documents import Mission

    spool = Spool(tmp_path, "rig", max_bytes=16 << 20, when_full="evict")
    ids = []
    for priority in (1.0, 0.5, 0.5):
        episode, file = begin(spool, mission=Mission(priority=priority))
        file.append(chunk(0)[0], bytes(3 << 20))
        seal(file, 1)
        spool.flush()
        ids.append(episode)
    _, growing = begin(spool, mission=Mission(priority=0.0))
    growing.append(chunk(0)[0], bytes(1 << 20))
    spool.require(4 << 20)
    assert [w.episode for w in spool.waiting()][:-1] == [ids[0], ids[2]]
    assert spool.discards() == [("evicted", [1])]
    with pytest.raises(SpoolFull):
        spool.require(15 << 20)
    assert [w.ordinal for w in spool.waiting()] == [3]  # the growing one is never evicted
    spool.close()


def test_the_reserve_is_there_and_can_be_given_back(spool: Spool) -> None:
    reserve = spool.path / "reserve"
    assert reserve.stat().st_blocks * 512 >= 4 << 20
    spool.room.release_reserve()
    assert not reserve.exists()
    spool.room.restore_reserve()
    assert reserve.exists()


def test_a_disk_that_hangs_in_a_sync_keeps_the_end_no_longer_than_its_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the thread that hangs holds is left to the next start."""
    hung, released, real = threading.Event(), threading.Event(), durable.sync

    def sync(fd: int) -> None:
        if threading.current_thread().name == "spool-sync":
            hung.set()
            released.wait(60.0)
        real(fd)

    monkeypatch.setattr(group_commit, "Thread", partial(Thread, stop_s=0.2))
    deaths: list[SensoriumError] = []
    spool = Spool(tmp_path, "rig", died=deaths.append)
    monkeypatch.setattr(durable, "sync", sync)
    _, file = begin(spool)
    fill(file, 3)
    assert hung.wait(60.0)
    closing = Thread("closer", "closes", spool.close, deaths.append)
    try:
        assert closing.join(30.0)
        assert not file.closed
    finally:
        released.set()
    assert spool._commits._thread.join(60.0)
    file.close()
    again = Spool(tmp_path, "rig")
    (found,) = again.waiting()
    closing_record = records(only_file(tmp_path), found.episode)[-1].header
    assert isinstance(closing_record, Seal)
    assert closing_record.rows == {"imu": 3}
    again.close()
    assert not deaths
