"""Directives of a store: files that are there whole or not at all, with a version each, and one answer."""

import time
from pathlib import Path

import msgspec
import pytest

from sensorium.corpus.device_report import FLEET, DeviceReport
from sensorium.corpus.directives import DIRECTIVES, DirectiveShelf, GivenAnswer, issue
from sensorium.episode import durable
from sensorium.errors import ConfigError, StoreError
from sensorium.ingest.store import Store
from sensorium.link.directive import is_genuine
from sensorium.link.operators import OperatorPair, new_operator, read_pair
from tests.forgetful_disk import ForgetfulDisk


@pytest.fixture
def anna(tmp_path: Path) -> OperatorPair:
    return read_pair(new_operator("anna", tmp_path / "keys")[1])


@pytest.fixture
def store(tmp_path: Path) -> Path:
    Store.open(tmp_path / "store").close()
    return tmp_path / "store"


def test_they_wait_until_they_are_answered_once(store: Path, anna: OperatorPair) -> None:
    shelf = DirectiveShelf(store)
    assert (shelf.devices(), shelf.waiting("rig-1"), shelf.bell()) == ([], [], b"")
    made = issue(store, ["rig-1", "rig-2", "rig-1"], "stop", {}, anna, life_s=60)
    rung = shelf.bell()
    assert rung
    assert [(each.device, each.version) for each in made[:2]] == [("rig-1", 1), ("rig-2", 1)]
    (again,) = issue(store, ["rig-1"], "stop", {}, anna, life_s=60)
    assert again.version > 1
    assert shelf.bell() != rung
    waiting = shelf.waiting("rig-2")
    assert [each.document for each in waiting] == [made[1]]
    assert waiting[0].directive is not None
    assert is_genuine(waiting[0].directive)
    assert waiting[0].state(made[1].issued_ns) == "waits"
    assert waiting[0].state(made[1].expires_ns + 1) == "expired"
    assert shelf.answered("rig-2", made[1].id, GivenAnswer(state="done"))
    assert shelf.answered("rig-2", made[1].id, GivenAnswer(state="refused"))
    assert not shelf.answered("rig-2", "no-such", GivenAnswer(state="done"))
    assert not shelf.answered("rig-2", f"../rig-1/{again.id}", GivenAnswer(state="done"))
    assert not shelf.waiting("rig-2")
    assert [each.state(0) for each in shelf.all("rig-2")] == ["done"]
    assert shelf.all("rig-1")[-1].document == again


@pytest.mark.parametrize(
    ("said", "of_another", "version"), [(7, 0, 8), (7, 9, 10), (2**60, 0, 1), ("x", None, 1), (-1, 1.5, 2)]
)
def test_what_a_device_has_obeyed_of_another_store_is_older(
    store: Path, anna: OperatorPair, said: object, of_another: object, version: int
) -> None:
    other = DeviceReport(device="rig-1", spool_id="b", state={"directive_version": of_another})
    report = DeviceReport(device="rig-1", spool_id="a", state={"directive_version": said}, others=(other,))
    (store / FLEET).mkdir()
    (store / FLEET / "rig-1.json").write_bytes(msgspec.json.encode(report))
    made = issue(store, ["rig-1", "rig-2"], "stop", {}, anna, life_s=60)
    assert [each.version for each in made] == [version, 1]
    (again,) = issue(store, ["rig-1"], "stop", {}, anna, life_s=60)
    assert again.version == version + 1


def test_what_cannot_be_read_is_said(store: Path, anna: OperatorPair) -> None:
    (made,) = issue(store, ["rig-1"], "stop", {}, anna, life_s=60)
    folder = store / DIRECTIVES / "rig-1"
    (folder / "torn.directive").write_bytes((folder / f"{made.id}.directive").read_bytes()[:-9])
    (folder / "huge.directive").write_bytes(bytes(1 << 20))
    faults = {each.name: each.fault for each in DirectiveShelf(store).waiting("rig-1")}
    assert "is no directive" in faults["torn"]
    assert "1048576 bytes" in faults["huge"]
    assert faults[made.id] == ""
    (folder / f"{made.id}.answer").write_bytes(b"{")
    assert [each.state(0) for each in DirectiveShelf(store).all("rig-1") if each.document] == ["unreadable"]


def test_what_is_said_of_a_forged_copy_is_not_the_answer_of_the_genuine_one(store: Path, anna: OperatorPair) -> None:
    shelf = DirectiveShelf(store)
    (made,) = issue(store, ["rig-1"], "stop", {}, anna, life_s=60)
    path = store / DIRECTIVES / "rig-1" / f"{made.id}.directive"
    genuine = path.read_bytes()
    for data in (genuine[:-1] + bytes([genuine[-1] ^ 1]), b"rubbish", bytes(1 << 20)):
        path.write_bytes(data)
        (forged,) = shelf.waiting("rig-1")
        assert forged.digest
        refused = GivenAnswer(state="refused", why="no")
        assert not shelf.answered("rig-1", made.id, refused, "f" * 32)
        assert shelf.answered("rig-1", made.id, refused, forged.digest)
        assert not shelf.waiting("rig-1")
        assert shelf.all("rig-1")[0].state(0) == "refused"
        path.write_bytes(genuine)
        assert [each.document for each in shelf.waiting("rig-1")] == [made]
    assert shelf.answered("rig-1", made.id, GivenAnswer(state="done"))
    path.write_bytes(b"rubbish")
    assert not shelf.waiting("rig-1")
    assert [each.state(0) for each in shelf.all("rig-1")] == ["done"]


def test_a_name_that_no_message_can_hold_is_none(store: Path, anna: OperatorPair) -> None:
    issue(store, ["rig-1"], "stop", {}, anna, life_s=60)
    folder = store / DIRECTIVES / "rig-1"
    (folder / "\udcff.directive").write_bytes(b"x")
    assert len(DirectiveShelf(store).all("rig-1")) == 1


def test_what_cannot_be_asked_is_said(store: Path, anna: OperatorPair, tmp_path: Path) -> None:
    for devices, life_s in ((["../x"], 60.0), (["rig-1"], 0.0), (["rig-1"], 1e9)):
        with pytest.raises(ConfigError):
            issue(store, devices, "stop", {}, anna, life_s=life_s)
    assert not (store / DIRECTIVES).exists()
    with pytest.raises(StoreError):
        issue(tmp_path / "no-store", ["rig-1"], "stop", {}, anna, life_s=60)


def test_after_power_loss_what_was_asked_and_answered_is_there(
    store: Path, anna: OperatorPair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = ForgetfulDisk(tmp_path)
    monkeypatch.setattr(durable, "os", disk)
    (made,) = issue(store, ["rig-1"], "stop", {}, anna, life_s=60)
    disk.after_power_loss(tmp_path.parent / "asked")
    DirectiveShelf(store).answered("rig-1", made.id, GivenAnswer(state="done"))
    disk.after_power_loss(tmp_path.parent / "answered")
    monkeypatch.undo()
    found = [DirectiveShelf(tmp_path.parent / name / "store").all("rig-1") for name in ("asked", "answered")]
    assert [(each.document, each.state(0)) for (each,) in found] == [(made, "waits"), (made, "done")]


def test_devices_of_one_name_answer_each_for_itself(store: Path, anna: OperatorPair) -> None:
    shelf = DirectiveShelf(store)
    (made,) = issue(store, ["rig"], "settings", {"reset": True}, anna, life_s=60)
    assert [each.name for each in shelf.waiting("rig", "a")] == [made.id]
    done = GivenAnswer(state="done", spool="a", answered_utc="1")
    refused = GivenAnswer(state="refused", why="no", spool="b", answered_utc="2")
    assert shelf.answered("rig", made.id, done)
    assert shelf.waiting("rig", "a") == []
    assert [each.name for each in shelf.waiting("rig", "b")] == [made.id]
    assert shelf.answered("rig", made.id, refused)
    assert shelf.waiting("rig", "b") == []
    assert [each.answer for each in shelf.all("rig")[0].apart()] == [done, refused]
    assert shelf.answered("rig", made.id, done)
    failed = GivenAnswer(state="failed", why="damaged", spool="a", answered_utc="3")
    assert shelf.answered("rig", made.id, failed)
    assert shelf.answered("rig", made.id, done)
    for entry in (shelf.entry("rig", made.id), shelf.find("rig", made.id), DirectiveShelf(store).all("rig")[0]):
        assert entry is not None
        assert [each.answer for each in entry.apart()] == [failed, refused]
        assert entry.state(0) == "failed"
    assert [each.name for each in shelf.waiting("rig", "../c")] == [made.id]
    assert shelf.answered("rig", made.id, GivenAnswer(state="done", spool="../c", answered_utc="4"))
    assert shelf.waiting("rig", "../c") == []
    assert len(list((store / DIRECTIVES / "rig").iterdir())) == 5


def test_what_has_expired_is_not_asked_of_another_once_one_has_answered(store: Path, anna: OperatorPair) -> None:
    shelf = DirectiveShelf(store)
    (made,) = issue(store, ["rig"], "stop", {}, anna, life_s=0.001)
    time.sleep(0.01)
    assert [each.name for each in shelf.waiting("rig", "a")] == [made.id]
    assert shelf.answered("rig", made.id, GivenAnswer(state="done", spool="a"))
    assert shelf.waiting("rig", "b") == []


def test_an_answer_of_an_earlier_release_is_for_all_of_a_name_and_may_change(store: Path, anna: OperatorPair) -> None:
    shelf = DirectiveShelf(store)
    (made,) = issue(store, ["rig"], "settings", {"reset": True}, anna, life_s=60)
    former = b'{"state":"done","why":"in force","answered_utc":"1","by":"device"}'
    (store / DIRECTIVES / "rig" / f"{made.id}.answer").write_bytes(former)
    assert shelf.waiting("rig", "a") == []
    assert shelf.answered("rig", made.id, GivenAnswer(state="done", spool="a", answered_utc="2"))
    assert [each.answer.spool for each in shelf.all("rig")[0].apart() if each.answer] == [""]
    failed = GivenAnswer(state="failed", spool="a", answered_utc="3")
    assert shelf.answered("rig", made.id, failed)
    assert [each.answer for each in shelf.all("rig")[0].apart()] == [failed]


def test_who_refuses_unkept_keeps_nobody_else_of_its_name_from_it(store: Path, anna: OperatorPair) -> None:
    shelf = DirectiveShelf(store)
    (made,) = issue(store, ["rig"], "settings", {"reset": True}, anna, life_s=60)
    (entry,) = shelf.waiting("rig", "a")
    refused = GivenAnswer(state="refused", spool="a", answered_utc="1")
    assert shelf.answered("rig", made.id, refused, entry.digest)
    assert shelf.waiting("rig", "a") == []
    assert [each.name for each in shelf.waiting("rig", "b")] == [made.id]
    done = GivenAnswer(state="done", spool="b", answered_utc="2")
    assert shelf.answered("rig", made.id, done)
    assert shelf.waiting("rig", "b") == []
    assert [each.answer for each in shelf.all("rig")[0].apart()] == [done, refused]
