"""What was deleted beside a running ingest is out of the sketches in memory, and devices are told the new ones."""

import threading
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from sensorium.corpus.deletions import certificates
from sensorium.corpus.sketches import Sketches
from sensorium.episode import durable
from sensorium.episode.documents import Note
from sensorium.episode.look_note import LOOK, look_value
from sensorium.episode.unit import Look
from sensorium.ingest.requests import ASKED, DeletionRequest
from sensorium.ingest.sharing import Sharing
from sensorium.ingest.store import Store
from sensorium.ingest.store_folder import REQUESTS
from sensorium.link import wire
from sensorium.link.directive import FORMAT
from sensorium.link.operators import new_operator, read_pair
from sensorium.link.server.messenger import Reported, SessionBegun
from sensorium.threads import Thread
from tests.ingest.test_deleting import commit
from tests.link.test_protocol_server import Peer, new_link


def with_looks(make_episode: Any) -> list[Any]:
    """Two episodes that look different."""
    made = []
    for number, vector in enumerate(np.eye(2, 16, dtype=np.int8) * 120):
        note = Note(kind=LOOK, name="cam", value=look_value(Look(by="m", vector=vector.tobytes())))
        made.append(make_episode({"imu": np.ones((9, 3)) * number}, ordinal=number, notes=[note]))
    return made


def ask_to_delete(path: Path, episode: Any) -> None:
    request = DeletionRequest(episodes=(str(episode.episode),), reason="r", who="w")
    durable.make_folder(path / REQUESTS)
    (path / REQUESTS / f"a{ASKED}").write_bytes(msgspec.json.encode(request))


def test_a_sketch_in_memory_forgets_what_was_deleted(tmp_path: Path, make_episode: Any) -> None:
    anna = read_pair(new_operator("anna", tmp_path / "keys")[1])
    path, peer, stop = tmp_path / "store", Peer(new_link()), threading.Event()
    made = with_looks(make_episode)
    with Store.open(path) as store:
        for each in made:
            commit(store, each)
        sharing = Sharing(store, peer.link, threading.Lock(), lambda: None, stop, anna)
        peer.hello(directives=FORMAT)
        ((session, (device, _)),) = peer.link.messenger.sessions().items()

        def told() -> int:
            """How many rows a device that has nothing is told."""
            sharing.hear(SessionBegun(session, device))
            sharing.hear(Reported.of(device, "spool-a", {"memory": {"mission": "kitchen", "held": {"m": {}}}}))
            while sharing.step():
                pass
            messages = [message for _, message in peer.link.take_messages()]
            (directive,) = [each for each in messages if isinstance(each, wire.Directive)]
            return directive.version  # how many rows there are

        assert told() == 2
        ask_to_delete(path, made[0])
        store.carry_out_requests()
        assert told() == 1
        stop.set()
        sharing.run()
    (cover,) = Sketches(path).covers.values()
    assert [row[:-1].argmax() for row in cover.sketch.rows] == [1]


def test_no_sketch_of_before_is_saved_behind_a_deletion(
    tmp_path: Path, make_episode: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or, where the ingest is killed then, it would be there with what was deleted, and be believed."""
    anna = read_pair(new_operator("anna", tmp_path / "keys")[1])
    path, peer, stop = tmp_path / "store", Peer(new_link()), threading.Event()
    made = with_looks(make_episode)
    save, deleting = Sketches.save, []
    with Store.open(path) as store:
        for each in made:
            commit(store, each)

        def save_slowly(sketches: Sketches) -> None:
            """While it saves, the courier's thread carries out a deletion, as far as it gets."""
            ask_to_delete(path, made[0])
            deleting.append(Thread("courier", "deletes", store.carry_out_requests, lambda _: None))
            deleting[0].join(1.0)
            save(sketches)

        sharing = Sharing(store, peer.link, threading.Lock(), lambda: None, stop, anna)
        while sharing.step():
            pass
        monkeypatch.setattr(Sketches, "save", save_slowly)
        stop.set()
        sharing.run()  # saves what it has, and ends
        assert deleting[0].join(60.0)
    assert [each.tombstone.episode for each in certificates(path)] == [str(made[0].episode)]
    assert Sketches(path).covers == {}, "to be made of what is left"
