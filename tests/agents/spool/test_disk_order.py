"""The order in which the spool touches the disk: bytes before their offer, the ledger before a file goes."""

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from sensorium.agents.spool.ledger import Ledger
from sensorium.agents.spool.spool import Spool
from sensorium.episode.account import Tally
from sensorium.episode.documents import Account
from sensorium.errors import SpoolError
from tests.agents.building import begin, chunk, commit
from tests.effects import FULL, HeldDisk, commit_levels
from tests.spine.commands import wait_for


def test_only_what_a_whole_sync_has_covered_can_be_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not what is written, not what is being synced, and not what was written while it was synced."""
    disk = HeldDisk(monkeypatch)
    spool = Spool(tmp_path, "rig")
    try:
        episode, file = begin(spool)
        path = file.path
        wait_for(lambda: not file.is_early, "it to have a file")

        def sendable() -> int:
            size = spool.waiting()[0].size
            assert size == len(spool.read(episode, 0, 1 << 20)), "offered and read differ"
            assert size <= disk.synced(path), "what is not on disk could be sent"
            return size

        file.append(*chunk(0))
        written = file.written
        assert sendable() == 0
        disk.wait(begun=1)
        assert sendable() == 0
        file.append(*chunk(1))
        disk.allow(1)
        wait_for(lambda: sendable() > 0, "the sync to have its effect")
        assert sendable() == written, "what was written during a sync waits for the next"
        disk.allow()
        spool.flush()
        assert sendable() == file.written
    finally:
        disk.allow()
        spool.close()


# -- the ledger before the file ----------------------------------------------------------------------------------------


class FilesGo:
    """Which state the ledger on disk gave each episode at the moment its file was deleted, renamed or made."""

    def __init__(self, spool: Path, patch: pytest.MonkeyPatch) -> None:
        self._folder = spool
        self.left: dict[UUID, str] = {}
        self.made: dict[UUID, str] = {}
        for name in ("unlink", "remove", "rename", "replace"):
            patch.setattr(os, name, self._watched(getattr(os, name), self.left))
        opened: Any = os.open

        def open_file(path: Any, flags: int, *more: Any, **options: Any) -> int:
            if flags & os.O_CREAT:
                self._note(path, self.made)
            descriptor: int = opened(path, flags, *more, **options)
            return descriptor

        patch.setattr(os, "open", open_file)

    def _watched(self, real: Callable[..., Any], noted: dict[UUID, str]) -> Callable[..., Any]:
        def call(path: Any, *more: Any, **options: Any) -> Any:
            self._note(path, noted)
            return real(path, *more, **options)

        return call

    def _note(self, path: Any, noted: dict[UUID, str]) -> None:
        place = Path(os.fsdecode(path))
        if place.suffix != ".episode" or place.parent.name != "episodes":
            return
        episode = UUID(place.stem.partition("-")[2])
        # A connection of its own sees what was committed, and nothing else.
        ledger = sqlite3.connect(f"file:{self._folder / 'ledger.sqlite'}?mode=ro", uri=True)
        try:
            row = ledger.execute("SELECT state FROM episodes WHERE episode = ?", (episode.bytes,)).fetchone()
        finally:
            ledger.close()
        noted[episode] = row[0] if row else "unknown"


def sealed(spool: Spool, n: int = 2) -> UUID:
    episode, file = begin(spool)
    for row in range(n):
        file.append(*chunk(row))
    file.seal("complete", {"imu": n}, {"imu": Account(captured=n, stored=n)}, {}, 10**9)
    spool.flush()
    return episode


def settle(spool: Spool, episode: UUID, fate: str) -> None:
    match fate:
        case "committed":
            assert commit(spool, episode)
        case "discard":
            spool.discard(episode, "by hand", "discarded")
        case "rejected":
            spool.rejected(episode, "conflict", "other content")


@pytest.mark.parametrize(
    ("fate", "state"), [("committed", "committed"), ("discard", "discarded"), ("rejected", "discarded")]
)
def test_a_file_leaves_only_after_the_ledger_says_why(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, fate: str, state: str
) -> None:
    episode = sealed(spool)
    files = FilesGo(spool.path, monkeypatch)
    settle(spool, episode, fate)
    assert files.left == {episode: state}


def test_an_evicted_file_leaves_only_after_the_ledger_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(tmp_path, "rig", max_bytes=5 << 20, when_full="evict")
    try:
        episode = sealed(spool)
        files = FilesGo(tmp_path, monkeypatch)
        spool.require((1 << 20) - 100)
        assert files.left == {episode: "discarded"}
    finally:
        spool.close()


def test_a_growing_episode_that_is_discarded_is_in_the_ledger_first(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    episode, _ = begin(spool)
    files = FilesGo(spool.path, monkeypatch)
    spool.discard(episode, "by hand", "discarded")
    assert files.left == {episode: "discarded"}


def test_an_ordinal_is_in_the_ledger_before_its_file_is_made(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    files = FilesGo(spool.path, monkeypatch)
    episodes = [begin(spool)[0] for _ in range(3)]
    spool.flush()
    assert files.made == dict.fromkeys(episodes, "pending")


@pytest.mark.parametrize("fate", ["committed", "discard", "rejected"])
def test_without_its_entry_the_file_stays(spool: Spool, monkeypatch: pytest.MonkeyPatch, fate: str) -> None:
    """A ledger that cannot be written keeps the episode: it is sent again."""
    episode = sealed(spool)

    def full(*_: object) -> None:
        raise SpoolError("the ledger cannot be written")

    for call in ("committed", "discarded"):
        monkeypatch.setattr(Ledger, call, full)
    with pytest.raises(SpoolError, match="cannot be written"):
        settle(spool, episode, fate)
    (path,) = (spool.path / "episodes").glob("*.episode")
    assert path.stem.endswith(str(episode))
    assert [waiting.episode for waiting in spool.waiting()] == [episode]


# -- the ledger itself -------------------------------------------------------------------------------------------------


def test_every_change_of_the_ledger_is_on_disk_when_it_returns(tmp_path: Path) -> None:
    with commit_levels() as levels:
        spool = Spool(tmp_path, "rig")
        made = len(levels)
        spool.account.enter("imu", 1)
        spool.account.between("imu", Tally(filtered={"trigger": 1}))
        spool.persist()
        for fate in ("committed", "discard", "rejected"):
            settle(spool, sealed(spool), fate)
        spool.ledgered([1, 2])
        spool.add_probe("boot", 1, 2, 3, 4, True)
        spool.close()
    assert made >= 1
    assert len(levels) - made == 1 + 3 * 3 + 2, "begun, sealed and settled are a commit each"
    assert set(levels) == {FULL}
