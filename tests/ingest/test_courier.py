"""The courier: what waits is told once a session, what cannot go is answered here; a disk in trouble judges nothing."""

import threading
from pathlib import Path

import pytest

from sensorium.corpus.directives import DIRECTIVES, DirectiveShelf, issue
from sensorium.episode import durable
from sensorium.ingest.courier import Courier
from sensorium.ingest.store import Store
from sensorium.link import wire
from sensorium.link.directive import FORMAT
from sensorium.link.operators import new_operator, read_pair
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


def broken(*_: object, **__: object) -> None:
    raise OSError(5, "Input/output error")
