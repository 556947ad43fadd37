"""Power lost at any moment of a spool's life: what could be sent is there, every ordinal has its entry."""

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest

from sensorium.agents.spool import group_commit
from sensorium.agents.spool.spool import Spool
from sensorium.episode import durable, file_system
from sensorium.episode.documents import Account
from tests.agents.building import begin, chunk, commit, records
from tests.forgetful_disk import ForgetfulDisk


@dataclass
class Seen:
    """At one moment: the bytes that could have been sent, what the ledger says is refused, and how many ordinals had
    been given out."""

    sendable: dict[UUID, bytes]
    refused: set[UUID]
    begun: int


@pytest.mark.parametrize("at_once", [False, True])
def test_power_lost_behind_any_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: bool) -> None:
    """`at_once`: what is due is put on disk by one sync of its file system."""
    monkeypatch.setattr(group_commit, "AT_ONCE", 1 if at_once else 1000)
    for asked in ("is_calm", "is_trusted"):
        monkeypatch.setattr(file_system, asked, lambda *_: True)
    root = tmp_path / "spool"
    root.mkdir()
    seen: list[Seen] = []
    spool: Spool | None = None

    def look() -> None:
        if spool is None:
            return
        ledger = sqlite3.connect(root / "ledger.sqlite")
        said = ledger.execute("SELECT episode FROM episodes WHERE state = 'discarded' AND aside").fetchall()
        seen.append(Seen({}, {UUID(bytes=episode) for (episode,) in said}, spool.ordinals()[1]))
        given_up = {ordinal for _, ordinals in spool.discards() for ordinal in ordinals}
        for each in spool.waiting():
            if each.ordinal not in given_up:
                seen[-1].sendable[each.episode] = spool.read(each.episode, 0, each.size)
        copy = tmp_path / f"copy-{len(seen) - 1}"
        disk.after_power_loss(copy)
        for file in copy.glob("ledger.sqlite*"):
            file.unlink()
        kept = sqlite3.connect(copy / "ledger.sqlite")
        ledger.backup(kept)  # as it is at the last COMMIT
        ledger.close()
        kept.close()

    monkeypatch.setattr(group_commit, "INTERVAL_S", 3600.0)
    disk = ForgetfulDisk(root, look)
    monkeypatch.setattr(durable, "os", disk)
    spool = Spool(root, "rig")
    monkeypatch.setattr(spool._commits, "due", lambda: None)
    for number in range(3):
        episode, file = begin(spool)
        for row in range(4):
            file.append(*chunk(row))
            if row % 2:
                spool.flush()
        file.append(*chunk(4))
        if number:
            file.seal("complete", {"imu": 5}, {"imu": Account(captured=5, stored=5)}, {}, 10**9)
            spool.flush()
        if number == 1:
            assert commit(spool, episode)
        elif number == 2:
            spool.rejected(episode, "conflict", "said the server")
    together = [begin(spool) for _ in range(3)]
    for _, file in together:
        file.append(*chunk(0))
        file.seal("complete", {"imu": 1}, {"imu": Account(captured=1, stored=1)}, {}, 10**9)
    spool.flush()
    digests = {each.episode: each.digest for each in spool.waiting()}
    spool.committed_all([(episode, digests[episode]) for episode, _ in together[:2]])
    look()
    spool.close()
    monkeypatch.undo()
    assert len(seen) > 12
    assert any(each.refused for each in seen[:-1]), "power is lost between the ledger's entry and the move"
    assert [len(each.sendable) for each in (seen[2], seen[-1])] == [1, 2], "the others are settled, but for one"
    for number, before in enumerate(seen):
        again = Spool(tmp_path / f"copy-{number}", "rig")
        try:
            waiting = {w.episode: w for w in again.waiting()}
            for episode, sent in before.sendable.items():
                if sent:
                    assert waiting[episode].sealed
                    assert again.read(episode, 0, len(sent)) == sent, number
            assert again.ordinals()[1] >= before.begun, number
            assert sum(again.counts().values()) == again.ordinals()[1], number
            for episode in before.refused:
                assert len(records(tmp_path / f"copy-{number}" / "rejected" / f"{episode}.episode", episode)) == 7, (
                    number
                )
        finally:
            again.close()


def test_what_an_agent_that_was_killed_had_written_is_on_disk_before_it_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill keeps what is in memory: it is found whole, and power may be lost before anyone has synced it."""
    root = tmp_path / "spool"
    root.mkdir()
    disk = ForgetfulDisk(root)
    monkeypatch.setattr(group_commit, "INTERVAL_S", 3600.0)
    monkeypatch.setattr(durable, "os", disk)
    spool = Spool(root, "rig")
    monkeypatch.setattr(spool._commits, "due", lambda: None)
    monkeypatch.setattr(spool._folder, "sync", lambda: None)  # killed before the name was synced
    episode, file = begin(spool)
    file.append(*chunk(0))
    file.seal("complete", {"imu": 1}, {"imu": Account(captured=1, stored=1)}, {}, 10**9)
    file.put_down()
    spool._ledger.close()
    spool._folder.unlock()
    assert disk.content(file.path) is None
    again = Spool(root, "rig")
    try:
        (waiting,) = again.waiting()
        assert waiting.sealed
        assert disk.content(file.path) == again.read(episode, 0, waiting.size)
    finally:
        again.close()
        file.close()
