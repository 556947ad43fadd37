"""A spool that was copied, restored or moved: it knows by what the hardware says, and no episode becomes a conflict."""

import os
import shutil
import sqlite3
from pathlib import Path
from uuid import UUID

import pytest

from sensorium.agents.charter import Charter
from sensorium.agents.directives.fetching import Fetching
from sensorium.agents.directives.releasing import Releasing
from sensorium.agents.spool.hardware import Words, hardware_words
from sensorium.agents.spool.inspect import inspect_spool
from sensorium.agents.spool.spool import Spool
from sensorium.episode.account import Tally
from sensorium.episode.documents import Account, Seal
from sensorium.link.directive import DirectiveDocument
from tests.agents.building import begin, chunk, commit, records, records_in


def machine(
    root: Path, serial: str, mac: str = "b8:27:eb:00:00:01", card: str = "ab01", ident: str = "1f" * 16
) -> Words:
    """What a machine of these says of itself."""
    for name, content in (
        ("sys/class/dmi/id/board_serial", serial),
        ("sys/class/net/eth0/address", "b8:27:eb:00:00:01"),
        ("sys/class/net/lo/address", "00:00:00:00:00:00"),
        ("sys/block/mmcblk0/device/cid", "ab01"),
        ("etc/machine-id", ident),
    ):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content + "\n")
    return hardware_words(root)


def sealed(spool: Spool, n: int = 2) -> UUID:
    episode, file = begin(spool)
    for row in range(n):
        file.append(*chunk(row))
    file.seal("complete", {"imu": n}, {"imu": Account(captured=n, stored=n)}, {}, 10**9)
    spool.flush()
    return episode


def used(path: Path, words: Words) -> tuple[UUID, UUID, UUID]:
    """A spool with episodes that are committed, sealed, and growing when its power was cut, and a sample in none."""
    spool = Spool(path, "rig", hardware=words)
    committed = sealed(spool)
    assert commit(spool, committed)
    pending = sealed(spool)
    growing, file = begin(spool)
    file.append(*chunk(0))
    spool.account.enter("imu", 3)
    spool.account.between("imu", Tally(filtered={"trigger": 3}))
    spool.persist()
    spool.flush()
    spool.close()
    return committed, pending, growing


# -- what the hardware says --------------------------------------------------------------------------------------------


def test_the_words_of_a_machine(tmp_path: Path) -> None:
    assert machine(tmp_path, "SN-77") == {
        "board serial": ["sn-77"],
        "MAC": ["b8:27:eb:00:00:01"],
        "SD card": ["ab01"],
        "machine id": ["1f" * 16],
    }
    assert hardware_words(tmp_path / "none") == {}


@pytest.mark.parametrize("word", ["", "To be filled by O.E.M.", "Default string", "00000000", "None", "..."])
def test_what_a_maker_left_there_tells_nothing(tmp_path: Path, word: str) -> None:
    assert "board serial" not in machine(tmp_path, word)


def test_a_golden_image_that_was_never_booted_has_no_machine_id(tmp_path: Path) -> None:
    assert "machine id" not in machine(tmp_path, "SN-77", ident="uninitialized")


@pytest.mark.parametrize("assigned", ["1", "3"])
def test_an_address_that_was_made_up_tells_nothing(tmp_path: Path, assigned: str) -> None:
    """A container's, a bridge's, or a random one for privacy."""
    machine(tmp_path, "SN-77")
    (tmp_path / "sys/class/net/eth0/addr_assign_type").write_text(f"{assigned}\n")
    assert "MAC" not in hardware_words(tmp_path)


# -- the same hardware -------------------------------------------------------------------------------------------------


def test_after_a_reboot_or_on_another_port_it_is_the_same_spool(tmp_path: Path) -> None:
    """Moved as `cp` does it: devices and inodes are others, the hardware is not."""
    words = machine(tmp_path / "a", "SN-77")
    used(tmp_path / "spool", words)
    shutil.copytree(tmp_path / "spool", tmp_path / "moved")
    spool = Spool(tmp_path / "spool", "rig", hardware=words)
    before, waiting = spool.spool_id, spool.waiting()
    spool.close()
    moved = Spool(tmp_path / "moved", "rig", hardware=machine(tmp_path / "a", "SN-77"))
    assert moved.spool_id == before
    assert moved.formers() == []
    assert moved.waiting() == waiting
    assert moved.ordinals() == (1, 3)
    moved.close()


@pytest.mark.parametrize("what", ["machine id", "MAC", "SD card", "board serial"])
def test_a_word_that_is_missing_tells_nothing(tmp_path: Path, what: str) -> None:
    """A container without machine-id, a network card that comes late, a user who may not read the serial number."""
    words = machine(tmp_path / "a", "SN-77")
    less = {name: said for name, said in words.items() if name != what}
    ids = []
    for each in (words, less, words, {}, less):
        spool = Spool(tmp_path / "spool", "rig", hardware=each)
        ids.append(spool.spool_id)
        spool.close()
    assert len(set(ids)) == 1
    other = words | {what: ["another"]}  # and what was noted is not forgotten meanwhile
    spool = Spool(tmp_path / "spool", "rig", hardware=other)
    assert spool.spool_id not in ids
    spool.close()


def test_one_network_card_more_is_the_same_machine(tmp_path: Path) -> None:
    words = machine(tmp_path / "a", "SN-77")
    first = Spool(tmp_path / "spool", "rig", hardware=words)
    first.close()
    more = words | {"MAC": ["00:11:22:33:44:55", *words["MAC"]]}
    for each in (more, words):
        spool = Spool(tmp_path / "spool", "rig", hardware=each)
        assert spool.spool_id == first.spool_id
        spool.close()


def test_a_spool_of_before_notes_the_hardware_and_keeps_its_id(tmp_path: Path) -> None:
    before = Spool(tmp_path, "rig")
    before.close()
    ids = []
    for serial in ("SN-77", "SN-77", "SN-78"):
        spool = Spool(tmp_path, "rig", hardware=machine(tmp_path / serial, serial))
        ids.append(spool.spool_id)
        spool.close()
    assert ids[0] == ids[1] == before.spool_id != ids[2]


# -- other hardware ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["machine id", "MAC", "SD card", "board serial"])
def test_a_cloned_image_is_another_spool(tmp_path: Path, what: str, caplog: pytest.LogCaptureFixture) -> None:
    words = machine(tmp_path / "a", "SN-77")
    committed, pending, growing = used(tmp_path / "spool", words)
    (file,) = (tmp_path / "spool" / "episodes").glob(f"*{pending}*")
    before = file.read_bytes()
    clone = tmp_path / "clone"
    shutil.copytree(tmp_path / "spool", clone)
    original = Spool(tmp_path / "spool", "rig", hardware=words)
    spool = Spool(clone, "rig", hardware=words | {what: ["another"]})
    try:
        assert spool.spool_id != original.spool_id
        assert spool.formers() == [original.spool_id]
        assert f"other hardware than before ({what})" in caplog.text
        # What was sealed is the same episode, from both.
        (waiting,) = spool.waiting(of=original.spool_id)
        assert waiting in original.waiting()
        assert (waiting.episode, waiting.ordinal) == (pending, 1)
        assert spool.read(pending, 0, 1 << 20) == before
        assert spool.ordinals(original.spool_id) == (1, 3)
        # What grew is set aside, untouched, and the original's to deliver: its ordinal is not given up.
        assert len(records(clone / "rejected" / f"{growing}.episode", growing)) == 2
        assert spool.discards(original.spool_id) == []
        assert spool.between_totals().streams["imu"].lost == {"copied": 1}
        assert spool.between_totals(original.spool_id) == original.between_totals()
        # And what is recorded from here on is the new spool's own.
        assert spool.ordinals() == (0, 0)
        fresh = sealed(spool)
        assert spool.ordinals() == (0, 1)
        assert [each.episode for each in spool.waiting(of="")] == [fresh]
        assert spool.counts() == {"pending": 2, "committed": 1, "discarded": 1}
        del committed
    finally:
        original.close()
        spool.close()
    again = Spool(clone, "rig", hardware=words | {what: ["another"]})
    try:
        assert [each.episode for each in again.waiting()] == [fresh, pending]
        assert commit(again, pending)
        assert commit(again, fresh)
        again.ledgered([0, 1, 2], original.spool_id)
        again.forget_totals(original.spool_id)
        assert again.formers() == []
        assert not list((clone / "episodes").iterdir())
    finally:
        again.close()


def test_a_copy_of_a_copy(tmp_path: Path) -> None:
    """Each id has its own ordinals, and what waits of each goes under it."""
    path, ids, waiting = tmp_path / "spool", [], []
    for serial in ("SN-1", "SN-2", "SN-3"):
        spool = Spool(path, "rig", hardware=machine(tmp_path / serial, serial))
        ids.append(spool.spool_id)
        waiting.append([sealed(spool), sealed(spool)])
        assert spool.ordinals() == (0, 2)
        spool.discard(waiting[-1][0], "by hand")
        spool.close()
    again = Spool(path, "rig", hardware=machine(tmp_path / "SN-3", "SN-3"))
    try:
        assert again.formers() == sorted(ids[:2])
        for spool_id, (discarded, pending) in zip(ids, waiting, strict=True):
            of = "" if spool_id == again.spool_id else spool_id
            assert [(each.episode, each.ordinal) for each in again.waiting(of=of)] == [(pending, 1)]
            assert again.discards(of) == [("by hand", [0])]
            assert again.ordinals(of) == (1, 2)
            again.ledgered([0], of)
            assert again.discards(of) == []
            del discarded
    finally:
        again.close()


def test_of_a_former_spool_what_is_evicted_is_lost_here_and_told_under_its_id(tmp_path: Path) -> None:
    used(tmp_path / "spool", machine(tmp_path / "a", "SN-1"))
    spool = Spool(tmp_path / "spool", "rig", hardware=machine(tmp_path / "b", "SN-2"))
    try:
        (former,) = spool.formers()
        (waiting,) = spool.waiting()
        spool.discard(waiting.episode, "evicted", "evicted")
        assert spool.discards(former) == [("evicted", [1])]
        assert spool.discards() == []
        assert spool.between_totals().streams["imu"].lost == {"copied": 1, "evicted": 2}
        assert spool.account.totals() == {}, "nothing of it was captured in this run"
    finally:
        spool.close()


def test_what_was_held_under_a_former_id_is_fetched_and_released_as_what_is_held_now(tmp_path: Path) -> None:
    words = machine(tmp_path / "a", "SN-1")
    spool = Spool(tmp_path / "spool", "rig", hardware=words)
    former, held = spool.spool_id, [sealed(spool) for _ in range(3)]
    for episode in held:
        spool.holding.hold(episode, "preview")
    spool.close()
    spool = Spool(tmp_path / "spool", "rig", hardware=machine(tmp_path / "b", "SN-2"))
    try:
        assert spool.formers() == [former]
        held.append(sealed(spool))
        spool.holding.hold(held[3], "preview")
        assert {each.episode for each in spool.holding.all()} == set(held)
        fetched = Fetching(spool)(directive("fetch", episodes=[str(held[0]), str(held[3])]), Charter())
        assert fetched == "2 to be delivered"
        assert [each.episode for each in spool.waiting(of=former)] == [held[0]]
        assert [each.episode for each in spool.waiting(of="")] == [held[3]]
        assert Releasing(spool)(directive("release", episodes=[str(held[1])]), Charter()) == "1 released"
        assert spool.discards(former) == [("released by directive d", [1])]
        assert spool.discards() == []
        assert commit(spool, held[0])
        assert [each.episode for each in spool.holding.all()] == [held[2]]
        assert spool.formers() == [former]
    finally:
        spool.close()


def directive(kind: str, **body: object) -> DirectiveDocument:
    return DirectiveDocument(id="d", device="rig", kind=kind, version=1, issued_ns=0, expires_ns=1, body=body)


def test_power_lost_before_the_move_is_made_up_for(tmp_path: Path) -> None:
    """The new id is in the ledger, and the file that grew is still where it was."""
    _, _, growing = used(tmp_path, machine(tmp_path / "a", "SN-1"))
    other = machine(tmp_path / "b", "SN-2")
    spool = Spool(tmp_path, "rig", hardware=other)
    spool.close()
    aside = tmp_path / "rejected" / f"{growing}.episode"
    content = aside.read_bytes()
    aside.rename(tmp_path / "episodes" / f"0000000002-{growing}.episode")
    aside.with_suffix(".why").unlink()
    spool = Spool(tmp_path, "rig", hardware=other)
    assert aside.read_bytes() == content
    assert aside.with_suffix(".why").read_text().startswith("copied")
    assert spool.used_bytes() == sum(
        file.stat().st_size for name in ("episodes", "rejected") for file in (tmp_path / name).iterdir()
    )
    spool.close()


def test_files_whose_ledger_was_lost_go_under_the_id_that_they_name(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "rig")
    former, episodes = spool.spool_id, [sealed(spool), sealed(spool)]
    spool.close()
    for file in tmp_path.glob("ledger.sqlite*"):
        file.unlink()
    again = Spool(tmp_path, "rig")
    try:
        assert again.spool_id != former
        assert again.formers() == [former]
        assert [each.episode for each in again.waiting(of=former)] == episodes
        assert again.ordinals() == (0, 0)
        assert again.ordinals(former) == (0, 2)
        sealed(again)
        assert again.ordinals() == (0, 1)
        (file, *_) = sorted((tmp_path / "episodes").iterdir())
        assert isinstance(records_in(file)[-1].header, Seal)
    finally:
        again.close()


def test_a_ledger_of_before_is_read_and_goes_on(tmp_path: Path) -> None:
    """One that has neither former ids nor what is set aside."""
    committed, pending, growing = used(tmp_path, {})
    database = sqlite3.connect(tmp_path / "ledger.sqlite")
    for column in ("aside", "spool_id", "spool_ordinal"):
        database.execute(f"ALTER TABLE episodes DROP COLUMN {column}")
    database.execute("DELETE FROM meta WHERE key IN ('hardware', 'former')")
    database.commit()
    database.close()
    before = inspect_spool(tmp_path)
    assert [each["episode"] for each in before["episodes"]] == [str(pending), str(growing)]
    assert all(each["file"] for each in before["episodes"])
    spool = Spool(tmp_path, "rig", hardware=machine(tmp_path / "a", "SN-1"))
    try:
        assert spool.spool_id == before["spool_id"]
        assert [(each.episode, each.ordinal) for each in spool.waiting()] == [(pending, 1), (growing, 2)]
        assert sealed(spool) != committed
        assert spool.ordinals() == (1, 4)
    finally:
        spool.close()


def test_what_has_its_seal_is_sealed_though_the_ledger_does_not_know(tmp_path: Path) -> None:
    """Power was cut, or the copy taken, between the file and its entry."""
    _, pending, _ = used(tmp_path, machine(tmp_path / "a", "SN-1"))
    database = sqlite3.connect(tmp_path / "ledger.sqlite")
    database.execute("UPDATE episodes SET sealed_bytes = NULL, digest = NULL WHERE episode = ?", (pending.bytes,))
    database.execute("DELETE FROM accounts WHERE episode = ?", (pending.bytes,))
    database.commit()
    database.close()
    spool = Spool(tmp_path, "rig", hardware=machine(tmp_path / "b", "SN-2"))
    (waiting,) = spool.waiting()
    assert (waiting.episode, waiting.sealed, waiting.recoveries) == (pending, True, 0)
    spool.close()


def test_a_replay_that_is_taken_up_on_the_other_machine_counts_its_samples_once(tmp_path: Path) -> None:
    """What grew in the original, and was lost here as `copied`, is read again."""
    spool = Spool(tmp_path, "rig", hardware=machine(tmp_path / "a", "SN-1"))
    spool.runs.take_up("replay")
    _, file = begin(spool)
    file.append(*chunk(0))
    spool.account.enter("imu", 3)
    spool.account.between("imu", Tally(filtered={"trigger": 3}))
    spool.persist()
    spool.flush()
    spool.close()
    spool = Spool(tmp_path, "rig", hardware=machine(tmp_path / "b", "SN-2"))
    try:
        assert spool.between_totals().streams["imu"].lost == {"copied": 1}
        spool.runs.take_up("replay")
        assert spool.between_totals().streams["imu"].captured == 0
        assert spool.between() == {} or not spool.between()["imu"].captured
    finally:
        spool.close()


def test_a_pipe_where_the_file_of_one_that_grew_was_keeps_nobody_waiting(tmp_path: Path) -> None:
    path = tmp_path / "spool"
    _, pending, growing = used(path, machine(tmp_path / "one", "SN-1"))
    (file,) = (path / "episodes").glob(f"*{growing}*")
    file.unlink()
    os.mkfifo(file)
    spool = Spool(path, "rig", hardware=machine(tmp_path / "other", "SN-2", ident="2e" * 16))
    assert [each.episode for each in spool.waiting()] == [pending]
    spool.close()
    assert file.is_fifo()
