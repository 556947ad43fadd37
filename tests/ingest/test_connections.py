"""Connections take descriptors: those that would be too many are hung up on, and nothing else is touched for it."""

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from sensorium.ingest import server
from sensorium.ingest.connections import Connections
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
        made = [socket.socketpair() for _ in range(count)]
        for pair in made:
            for end in pair:
                stack.enter_context(end)
                end.settimeout(0.0)
        yield made


def is_over(peer: socket.socket) -> bool:
    try:
        return peer.recv(1) == b""
    except BlockingIOError:
        return False


def test_as_many_as_may_be_stay_and_one_that_goes_makes_room(caplog: pytest.LogCaptureFixture) -> None:
    connections = Connections(MOST, Refusals())
    with pairs(MOST + 2) as made:
        for ours, _ in made[:-1]:
            assert connections.told(accepted(ours.fileno()))
        assert [is_over(peer) for _, peer in made] == [False] * MOST + [True, False]
        for ours, _ in made[:2] + made[MOST : MOST + 1]:
            connections.told({"event": zmq.EVENT_DISCONNECTED, "value": ours.fileno()})
        connections.told(accepted(made[-1][0].fileno()))
        assert not is_over(made[-1][1])
        assert len(connections) == MOST - 1
    assert len(caplog.records) == 1
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


def test_mute_connections_by_the_dozen_end_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "shares_of", lambda _: (6, 100))
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
