"""Connections take descriptors: those that would be too many are hung up on, and nothing else is touched for it."""

import contextlib
import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from sensorium.ingest import server, sockets
from sensorium.ingest.connections import KEY_BYTES, MUTE_S, WORDS_BYTES, Connections
from sensorium.ingest.server import Ingest
from sensorium.ingest.store import Store
from sensorium.link.zap import Refusals
from tests.spine.commands import wait_for

MOST = 3


def accepted(descriptor: int) -> dict[str, int]:
    return {"event": zmq.EVENT_ACCEPTED, "value": descriptor}


@contextlib.contextmanager
def pairs(count: int) -> Iterator[list[tuple[socket.socket, socket.socket]]]:
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        made = []
        for _ in range(count):
            peer = stack.enter_context(socket.create_connection(listening.getsockname()))
            made.append((stack.enter_context(listening.accept()[0]), peer))
            peer.settimeout(0.0)
        yield made


def is_over(peer: socket.socket) -> bool:
    try:
        return peer.recv(1) == b""
    except BlockingIOError:
        return False


def test_who_only_connects_makes_room_for_who_has_a_key(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    connections = Connections(MOST, Refusals(), lambda: now[0])
    with pairs(MOST + 6) as made:

        def come(number: int, says: int = 0) -> None:
            assert connections.told(accepted(made[number][0].fileno()))
            made[number][1].send(bytes(says))

        def gone() -> list[int]:
            return [number for number, (_, peer) in enumerate(made) if is_over(peer)]

        come(0, says=KEY_BYTES)  # as it is for some time where nothing is to be delivered
        come(1)
        come(2)
        assert gone() == []
        come(3, says=WORDS_BYTES)
        come(4, says=KEY_BYTES)
        assert gone() == [1, 2]
        for number in (1, 2):
            assert connections.told({"event": zmq.EVENT_DISCONNECTED, "value": made[number][0].fileno()})
        assert len(connections) == MOST
        come(5)
        assert gone() == [1, 2, 5], "who has shown a key stays, as long as it may be about to speak"
        now[0] = MUTE_S
        come(6, says=KEY_BYTES)
        come(7)
        assert gone() == [0, 1, 2, 4, 5], "who speaks stays"
        come(8)
        assert gone() == [0, 1, 2, 4, 5, 7]
        assert [each.getMessage().count("hung up on") for each in caplog.records] == [1]
        assert connections.told({"event": zmq.EVENT_ACCEPT_FAILED, "value": errno.EMFILE})
        assert gone() == [0, 1, 2, 4, 5, 7, 8], "where there is no descriptor left strangers give theirs back"
    assert not connections.told({"event": zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL, "value": 7})


def test_a_descriptor_that_is_nothing_or_a_file_by_now_is_let_be(tmp_path: Path) -> None:
    connections = Connections(0, Refusals())
    gone = os.open(tmp_path / "a", os.O_CREAT | os.O_RDWR)
    os.close(gone)
    assert connections.told(accepted(gone))
    with (tmp_path / "a").open("wb") as file:
        assert connections.told(accepted(file.fileno()))
        file.write(b"whole")
    assert (tmp_path / "a").read_bytes() == b"whole"


def test_one_that_is_over_and_told_of_late_is_not_the_next_of_its_number_on_the_other_socket() -> None:
    connections = Connections(MOST, Refusals())
    connections.told(accepted(2**20), 0)
    connections.told(accepted(2**20), 1)
    assert connections.told({"event": zmq.EVENT_DISCONNECTED, "value": 2**20}, 0)
    assert len(connections) == 1
    assert connections.told({"event": zmq.EVENT_DISCONNECTED, "value": 2**20}, 1)
    assert len(connections) == 0


def test_mute_connections_by_the_dozen_end_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "shares_of", lambda _: (6, 100))
    monkeypatch.setattr(sockets, "HANDSHAKE_MS", 600_000)  # which else is over for the others, too, on a busy machine
    with Store.open(tmp_path) as store, contextlib.ExitStack() as stack:
        ingest = Ingest(store, "tcp://127.0.0.1:0")
        ingest.start()
        stack.callback(ingest.stop)
        host, port = ingest.address.removeprefix("tcp://").split(":")
        mute = [stack.enter_context(socket.create_connection((host, int(port) + n % 2))) for n in range(30)]
        for each in mute:
            each.setblocking(False)

        def over() -> int:
            return sum(closed(each) for each in mute)

        wait_for(lambda: over() >= 24, "those that are too many to be hung up on")
        assert over() == 24
        ingest.wait(0)
        assert ingest.stats()["state"] == "up"


def closed(peer: socket.socket) -> bool:
    """Whether the other side has hung up; its greeting is no matter."""
    try:
        while True:
            if not peer.recv(4096):
                return True
    except BlockingIOError:
        return False
    except ConnectionError:
        return True
