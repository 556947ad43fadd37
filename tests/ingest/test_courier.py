"""The courier: what waits is told once a session, what cannot go is answered here; a disk in trouble judges nothing."""

import os
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sensorium.corpus.directives import DIRECTIVES, DirectiveEntry, DirectiveShelf, GivenAnswer, issue
from sensorium.corpus.fleet import reports
from sensorium.episode import durable
from sensorium.episode.utc_text import utc_text
from sensorium.ingest import courier as courier_module
from sensorium.ingest.courier import Courier
from sensorium.ingest.store import Store
from sensorium.link import wire
from sensorium.link.directive import FORMAT
from sensorium.link.operators import new_operator, read_pair
from sensorium.link.server.messenger import Reported
from tests.link.test_protocol_server import Peer, new_link


def test_what_is_laid_under_a_name_is_told_or_answered_by_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    anna = read_pair(new_operator("anna", tmp_path / "keys")[1])
    peer = Peer(new_link())

    with Store.open(tmp_path / "store") as store:
        courier = Courier(store, peer.link, threading.Lock(), lambda: None, threading.Event())
        shelf = DirectiveShelf(tmp_path / "store")
        folder = tmp_path / "store" / DIRECTIVES / "rig-1"

        def told() -> list[str]:
            shelf.ring()
            courier.step()
            messages = [message for _, message in peer.link.take_messages()]
            return [str(each.document["id"]) for each in messages if isinstance(each, wire.Directive)]

        peer.hello(directives=FORMAT)
        (made,) = issue(tmp_path / "store", ["rig-1"], "stop", {}, anna, life_s=60)
        assert told() == [made.id]
        assert told() == []
        path = folder / f"{made.id}.directive"
        genuine = path.read_bytes()
        path.write_bytes(b"rubbish")
        assert told() == []
        assert [each.state(0) for each in shelf.all("rig-1")] == ["refused"]
        path.write_bytes(genuine[:-1] + b"x")
        assert told() == [made.id]
        path.write_bytes(genuine)
        (folder / f"{'n' * 101}.directive").write_bytes(genuine)
        peer.hello(directives=FORMAT)
        with monkeypatch.context() as patch:
            patch.setattr(durable, "look", broken)
            assert told() == []
        assert [each.state(0) for each in shelf.all("rig-1") if each.name == made.id] == ["waits"]
        peer.hello(directives=FORMAT)
        assert told() == [made.id]
        assert [each.state(0) for each in shelf.all("rig-1") if each.name != made.id] == ["refused"]


def test_of_many_devices_only_those_are_looked_at_for_which_something_is_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    anna = read_pair(new_operator("anna", tmp_path / "keys")[1])
    link = new_link()
    listed: list[str] = []
    waiting = DirectiveShelf.waiting

    def counted(shelf: DirectiveShelf, device: str, spool: str) -> list[DirectiveEntry]:
        listed.append(device)
        return waiting(shelf, device, spool)

    monkeypatch.setattr(DirectiveShelf, "waiting", counted)
    with Store.open(tmp_path / "store") as store:
        names = [f"rig-{number}" for number in range(4)]
        issue(tmp_path / "store", names[:2], "stop", {}, anna, life_s=60)
        for name in names[:2]:  # as if that was a while ago
            os.utime(tmp_path / "store" / DIRECTIVES / name, ns=(1, 1))
        courier = Courier(store, link, threading.Lock(), lambda: None, threading.Event())
        for name in names:
            Peer(link, name).hello(directives=FORMAT, spool_id=name)
        courier.step()
        assert set(listed) == set(names)
        listed.clear()
        (made,) = issue(tmp_path / "store", ["rig-1"], "stop", {}, anna, life_s=60)
        link.take_messages()
        courier.step()
        assert listed == ["rig-1"]
        told = [message for _, message in link.take_messages() if isinstance(message, wire.Directive)]
        assert [each.document["id"] for each in told] == [made.id]
        listed.clear()
        issue(tmp_path / "store", ["rig-1"], "stop", {}, anna, life_s=60)  # within a tick of the clock, perhaps
        courier.step()
        assert listed == ["rig-1"]


def test_answers_that_come_together_are_kept_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    anna = read_pair(new_operator("anna", tmp_path / "keys")[1])
    with Store.open(tmp_path / "store"):
        made = issue(tmp_path / "store", [f"rig-{number}" for number in range(20)], "stop", {}, anna, life_s=60)
        shelf = DirectiveShelf(tmp_path / "store")
        done = GivenAnswer(state="done")
        answers = [(each.device, each.id, done, "") for each in made]
        twice = [*answers, answers[0], ("rig-0", "nobody-asked-this", done, ""), ("rig-0", made[0].id, done, "other")]
        assert shelf.answered_all(twice) == [True] * 21 + [False, False]
        assert [each.state(0) for name in shelf.devices() for each in shelf.all(name)] == ["done"] * 20
        with monkeypatch.context() as patch:
            patch.setattr(durable, "write_at", broken)
            assert shelf.answered_all([("rig-0", made[0].id, done, "")]) == [True]  # nothing is written twice
            with pytest.raises(OSError, match="Input/output"):
                shelf.answered_all([("rig-0", made[0].id, GivenAnswer(state="failed", spool="b"), "")])
        assert not list((tmp_path / "store" / DIRECTIVES).glob(".new-*"))


def broken(*_: object, **__: object) -> None:
    raise OSError(5, "Input/output error")


ODD_REPORTS: list[Any] = [
    {None: 1},
    {(1, 2): 3},
    {"x": msgspec.msgpack.Ext(5, b"x")},
    {"x": float("nan")},
    {"x": "y" * 60_000},
    {b"x": b"y"},
]


@pytest.mark.parametrize("said", [*({"device": each} for each in ODD_REPORTS), *(
    {"directives": [{"id": name, "state": "done", "why": "w" * 50_000}]}
    for name in ("\U0001f600" * 100, "a\0b", "../x", "..", ".", "a/b", "\x1b[2J\n", "é" * 100)
)])  # fmt: skip
def test_what_one_device_says_stops_no_other(tmp_path: Path, said: dict[str, Any]) -> None:
    anna = read_pair(new_operator("anna", tmp_path / "keys")[1])
    link = new_link()
    hostile, honest = Peer(link), Peer(link, "rig-2")
    with Store.open(tmp_path / "store") as store:
        courier = Courier(store, link, threading.Lock(), lambda: None, threading.Event())
        made = issue(tmp_path / "store", ["rig-1", "rig-2"], "stop", {}, anna, life_s=60)
        for number, peer in enumerate((hostile, honest)):
            peer.hello(directives=FORMAT, spool_id=f"s{number}")
        courier.step()
        for _ in range(3):
            hostile.say(as_it_comes(wire.Status(session=hostile.session, document=said)))
            answer = {"directives": [{"id": made[1].id, "state": "done", "why": "w" * 50_000}]}
            honest.say(
                as_it_comes(wire.Status(session=honest.session, document=answer | {"device": {"state": "well"}}))
            )
            courier.step()
        assert "rig-2" in {each.device for each in reports(tmp_path / "store")}
        shelf = DirectiveShelf(tmp_path / "store")
        assert [entry.state(0) for name in shelf.devices() for entry in shelf.all(name)] == ["waits", "done"]
        assert max(path.stat().st_size for path in shelf_files(tmp_path / "store")) < 4096


def shelf_files(store: Path) -> list[Path]:
    return [path for path in (store / DIRECTIVES).rglob("*") if path.is_file()]


def as_it_comes(message: wire.Status) -> wire.DeviceMessage:
    return wire.decode_from_device(wire.encode(message))


def test_while_the_disk_is_in_trouble_what_devices_say_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(courier_module, "MOST_OWED", 10)
    link = new_link()
    peer = Peer(link)
    with Store.open(tmp_path / "store") as store:
        courier = Courier(store, link, threading.Lock(), lambda: None, threading.Event())
        peer.hello(directives=FORMAT)
        with monkeypatch.context() as patch:
            patch.setattr(durable, "reopen", broken)
            for number in range(100):
                peer.say(wire.Status(session=peer.session, document={"device": {"state": f"{number}"}}))
                with pytest.raises(OSError, match="Input/output"):
                    courier.step()
                assert len(courier._owed) <= 20
        while courier.step():
            pass
        assert [each.state for each in reports(tmp_path / "store")] == [{"state": "99"}]


def test_what_has_expired_says_by_which_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An ingest whose clock is years ahead lets all expire: that shows."""
    anna = read_pair(new_operator("anna", tmp_path / "keys")[1])
    peer = Peer(new_link())
    with Store.open(tmp_path / "store") as store:
        courier = Courier(store, peer.link, threading.Lock(), lambda: None, threading.Event())
        issue(tmp_path / "store", ["rig-1"], "stop", {}, anna, life_s=60)
        peer.hello(directives=FORMAT)
        years_ns = time.time_ns() + 6 * 365 * 86_400 * 10**9
        with monkeypatch.context() as patch:
            patch.setattr(time, "time_ns", lambda: years_ns)
            courier.step()
        (entry,) = DirectiveShelf(tmp_path / "store").all("rig-1")
    assert entry.answer is not None
    assert (entry.answer.state, entry.answer.by) == ("expired", "ingest")
    assert entry.document is not None
    assert f"its end, {utc_text(entry.document.expires_ns)}; by the ingest's clock it is {utc_text(years_ns)}" in (
        entry.answer.why
    )


def test_while_the_disk_is_in_trouble_the_last_report_of_each_spool_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    peers = [Peer(new_link()), Peer(new_link(), "rig-2")]
    peers[1].link = link = peers[0].link
    with Store.open(tmp_path / "store") as store:
        courier = Courier(store, link, threading.Lock(), lambda: None, threading.Event())
        for peer in peers:
            peer.hello()
        with monkeypatch.context() as patch:
            patch.setattr(durable, "rename", broken)
            for turn in range(20):
                for peer in peers:
                    peer.say(wire.Status(session=peer.session, document={"device": {"state": str(turn)}}))
                with pytest.raises(OSError, match="Input/output"):
                    courier.step()
        assert [each.document for each in courier._owed if isinstance(each, Reported)] == [{"state": "19"}] * 2
        courier.step()
        link.take_messages()
        for _ in range(3):
            courier.step()
    assert {each.device: each.state["state"] for each in reports(tmp_path / "store")} == {"rig-1": "19", "rig-2": "19"}
