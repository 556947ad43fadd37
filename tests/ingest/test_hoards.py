"""Who brings much over a connection that is no message is hung up on; who waits for the ingest is not."""

import contextlib
import socket
import struct
from pathlib import Path

import pytest

from sensorium.ingest import hoards
from sensorium.ingest.connections import Connections
from sensorium.ingest.hoards import LOOK_S, MOST_BYTES, MOST_OF_ALL_BYTES, SMALL_BYTES, Hoards
from sensorium.ingest.server import Ingest
from sensorium.ingest.store import Store
from sensorium.link.zap import Refusals
from tests.spine.commands import wait_for

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x01" + b"NULL".ljust(20, b"\0") + bytes(32)
READY = b"\x05READY\x0bSocket-Type" + struct.pack(">I", 6) + b"DEALER"
PART_BYTES = 60 << 10


class Kernel:
    """What it says of connections, at a time."""

    def __init__(self) -> None:
        self.came: dict[int, int] = {}
        self.unread: dict[int, int] = {}
        self.held = SMALL_BYTES
        self.at_s = 0.0
        self.hoards = Hoards(
            lambda each: self.came.get(each, 0), lambda each: self.unread.get(each, 0), lambda: self.held, self.now_s
        )

    def now_s(self) -> float:
        return self.at_s

    def look(self) -> list[int]:
        self.at_s += 2 * LOOK_S
        return self.hoards.look(list(self.came))


def test_much_without_a_message_is_too_much_and_with_one_it_is_not() -> None:
    kernel = Kernel()
    kernel.came = {7: 1000, 8: 1000}
    assert kernel.look() == []
    for _ in range(3):
        kernel.came = {each: came + MOST_BYTES for each, came in kernel.came.items()}
        kernel.hoards.heard(8)
        found = kernel.look()
    assert found == [7]
    kernel.hoards.gone(7)
    kernel.hoards.heard(8)
    assert kernel.look() == [], "another by its descriptor begins anew"


def test_what_the_kernel_has_and_nobody_has_read_takes_no_memory_of_ours() -> None:
    kernel = Kernel()
    kernel.came = {7: 0}
    kernel.look()
    kernel.came, kernel.unread = {7: 2 * MOST_BYTES}, {7: MOST_BYTES + 1}
    assert kernel.look() == []
    kernel.unread = {}
    assert kernel.look() == [7]


def test_of_many_that_have_little_those_with_most_go_until_it_is_bearable() -> None:
    kernel = Kernel()
    kernel.came = dict.fromkeys(range(100), 0)
    kernel.look()
    each = MOST_OF_ALL_BYTES // 99
    kernel.came = dict.fromkeys(range(100), each) | {42: each + 1}
    assert kernel.look() == [42]


def test_where_the_process_is_small_or_it_was_looked_a_moment_ago_nobody_is_looked_at() -> None:
    kernel = Kernel()
    kernel.came = {7: 0}
    kernel.look()
    kernel.came, kernel.held = {7: 2 * MOST_BYTES}, SMALL_BYTES - 1
    assert kernel.look() == []
    kernel.held = SMALL_BYTES
    assert kernel.look() == [], "since when it has that is not known"
    kernel.came = {7: 4 * MOST_BYTES}
    assert kernel.hoards.look(kernel.came) == []
    assert kernel.look() == [7]


@pytest.mark.parametrize("bulk", [False, True])
def test_a_message_whose_parts_never_end_is_cut_and_costs_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, bulk: bool
) -> None:
    """Of 500 parts of 1 MiB an ingest took 570 MB, of more as much as there were."""
    monkeypatch.setattr(hoards, "SMALL_BYTES", 0)
    monkeypatch.setattr(hoards, "MOST_BYTES", 4 << 20)
    with Store.open(tmp_path) as store, contextlib.ExitStack() as stack:
        ingest = Ingest(store, "tcp://127.0.0.1:0")
        ingest.start()
        stack.callback(ingest.stop)
        host, port = ingest.address.removeprefix("tcp://").split(":")
        hostile, quiet = (stack.enter_context(socket.create_connection((host, int(port) + bulk))) for _ in range(2))
        for each in (hostile, quiet):
            each.settimeout(20.0)
            each.sendall(GREETING + bytes([4, len(READY)]) + READY)
            while b"Identity" not in each.recv(4096):
                pass
        part = b"\x03" + struct.pack(">Q", PART_BYTES) + bytes(PART_BYTES)

        sent: list[int] = []

        def is_cut() -> bool:
            assert sum(sent) <= 512 << 20, "all of it is held"
            sent.append(16 * len(part))
            try:
                hostile.sendall(part * 16)
            except ConnectionError:
                return True
            return False

        wait_for(is_cut, "the connection to be cut")
        assert ingest.stats()["state"] == "up"
        quiet.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                assert quiet.recv(4096), "who has sent nothing stays"
    (said,) = {record.getMessage() for record in caplog.records if "hung up on" in record.getMessage()}
    assert "no message, and too much to be held" in said


def test_a_descriptor_that_is_no_connection_has_brought_nothing(tmp_path: Path) -> None:
    with (tmp_path / "a").open("wb") as file:
        connections = Connections(5, Refusals())
        assert connections.hoards.look([file.fileno(), 10_000]) == []
        assert hoards._unread(file.fileno()) == hoards._unread(10_000) == 0


def test_where_nothing_can_be_opened_it_looks_all_the_same(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(hoards, "_STATM", tmp_path / "nothing")
    came = {7: 0}
    at_s = iter(range(1, 10))
    mine = Hoards(came.__getitem__, lambda _: 0, now_s=lambda: next(at_s))
    assert mine.look([7]) == []
    came[7] = 2 * MOST_BYTES
    assert mine.look([7]) == [7]
