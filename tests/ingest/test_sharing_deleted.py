"""What was deleted beside a running ingest is out of the sketches in memory, and devices are told the new ones."""

import threading
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from sensorium.corpus.sketches import Sketches
from sensorium.episode import durable
from sensorium.episode.documents import Note
from sensorium.episode.look_note import LOOK, look_value
from sensorium.episode.unit import Look
from sensorium.ingest.requests import ASKED, REQUESTS, DeletionRequest
from sensorium.ingest.sharing import Sharing
from sensorium.ingest.store import Store
from sensorium.link import wire
from sensorium.link.directive import FORMAT
from sensorium.link.operators import new_operator, read_pair
from sensorium.link.server.messenger import Reported, SessionBegun
from tests.ingest.test_deleting import commit
from tests.link.test_protocol_server import Peer, new_link


def test_a_sketch_in_memory_forgets_what_was_deleted(tmp_path: Path, make_episode: Any) -> None:
    anna = read_pair(new_operator("anna", tmp_path / "keys")[1])
    path, peer, stop = tmp_path / "store", Peer(new_link()), threading.Event()
    vectors = np.eye(2, 16, dtype=np.int8) * 120
    made = []
    for number, vector in enumerate(vectors):
        note = Note(kind=LOOK, name="cam", value=look_value(Look(by="m", vector=vector.tobytes())))
        made.append(make_episode({"imu": np.ones((9, 3)) * number}, ordinal=number, notes=[note]))
    with Store.open(path) as store:
        for each in made:
            commit(store, each)
        sharing = Sharing(store, peer.link, threading.Lock(), lambda: None, stop, anna)
        peer.hello(directives=FORMAT)
        ((session, device),) = peer.link.messenger.sessions().items()

        def told() -> int:
            """How many rows a device that has nothing is told."""
            sharing.hear(SessionBegun(session, device))
            sharing.hear(Reported(device, "spool-a", {"memory": {"mission": "kitchen", "held": {"m": {}}}}))
            while sharing.step():
                pass
            messages = [message for _, message in peer.link.take_messages()]
            (directive,) = [each for each in messages if isinstance(each, wire.Directive)]
            return directive.version  # how many rows there are

        assert told() == 2
        request = DeletionRequest(episodes=(str(made[0].episode),), reason="r", who="w")
        durable.make_folder(path / REQUESTS)
        (path / REQUESTS / f"a{ASKED}").write_bytes(msgspec.json.encode(request))
        store.carry_out_requests()
        assert told() == 1
        stop.set()
        sharing.run()
    (cover,) = Sketches(path).covers.values()
    assert [row.argmax() for row in cover.sketch.rows] == [1]
