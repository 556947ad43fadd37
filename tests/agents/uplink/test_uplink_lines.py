"""Whatever an ingest says, and however often: of one cause the device's log has a line now and then."""

import logging
import os
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
import zmq

from sensorium.agents.device_file import check_device
from sensorium.agents.directives.obeying import Obeying
from sensorium.agents.spool.spool import Spool
from sensorium.agents.uplink.uplink import Uplink
from sensorium.link import wire
from sensorium.link.lines import EVERY_S, SeldomLog
from sensorium.link.operators import new_operator, read_pair
from tests.spine.commands import wait_for

TIMES = 500
SESSIONS = 20
SESSION = 5


class HostileIngest:
    """It welcomes a device, and says what it likes."""

    def __init__(self) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._control, self._bulk = (self._context.socket(zmq.ROUTER) for _ in range(2))
        while True:
            self.port = self._control.bind_to_random_port("tcp://127.0.0.1")
            try:
                self._bulk.bind(f"tcp://127.0.0.1:{self.port + 1}")
            except zmq.ZMQError:
                self._control.unbind(f"tcp://127.0.0.1:{self.port}")
            else:
                return

    def hears(self) -> tuple[bytes, int]:
        """HELLO: where it came from, and its nonce."""
        while True:
            assert self._control.poll(30_000)
            route, frame = self._control.recv_multipart()
            said = msgspec.msgpack.decode(frame)
            if said["t"] == "hello":
                return route, said["nonce"]

    def ends(self, number: int) -> None:
        """A session, which it ends for a reason of its own, after an answer that makes the device hurry."""
        route, nonce = self.hears()
        committed = wire.Committed(session=SESSION, episode=episode(), ordinal=number, digest=os.urandom(32))
        last = wire.Error(session=SESSION, code=f"code{number}", reason=f"reason {number}")
        for each in (wire.Welcome(session=SESSION, nonce=nonce), committed, last):
            self._control.send_multipart([route, wire.encode(each)])

    def says(self, messages: Callable[[int], bytes]) -> None:
        """So many of them, and then that the session is over."""
        route, nonce = self.hears()
        last = wire.Error(session=SESSION, code="session", reason="that is all")
        welcome = wire.encode(wire.Welcome(session=SESSION, nonce=nonce))
        for each in (welcome, *map(messages, range(TIMES)), wire.encode(last)):
            self._control.send_multipart([route, each])

    def close(self) -> None:
        self._context.destroy(linger=0)


@pytest.fixture
def ingest() -> Iterator[HostileIngest]:
    made = HostileIngest()
    yield made
    made.close()


def episode() -> bytes:
    return uuid.uuid4().bytes


def directive(number: int) -> wire.Directive:
    said = {"id": f"{number}", "signed": os.urandom(50), "operator": bytes(32), "signature": bytes(64)}
    return wire.Directive(session=SESSION, kind="settings", version=1, document=said)


KINDS: dict[str, Callable[[int], wire.Message | bytes]] = {
    "not known": lambda _: b"\x82\xa1t\xa5later\xa7session\x05",
    "that ours is not known": lambda n: wire.Error(session=SESSION, code="unknown", reason=f"reason {n}"),
    "put off": lambda n: wire.Error(session=SESSION, code="busy", reason=f"reason {n}", episode=episode(), retry_s=1.0),
    "rejected": lambda n: wire.Rejected(session=SESSION, episode=episode(), code=f"c{n}", reason=f"reason {n}"),
    "committed": lambda n: wire.Committed(session=SESSION, episode=episode(), ordinal=n, digest=os.urandom(32)),
    "directives": directive,
    "no directives": lambda n: wire.Directive(session=SESSION, kind=f"k{n}", version=1, document={"a": n}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_an_ingest_says_again_and_again_is_a_line_now_and_then(
    ingest: HostileIngest, tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    """60,000 of one kind made as many lines, in two seconds."""
    began_s = time.monotonic()
    spool = Spool(tmp_path / "spool", "rig-1")
    read_pair(new_operator("anna", tmp_path / "keys")[1])
    document = {
        "device": "rig-1",
        "sensors": {"sim": {"kind": "sim-planar"}},
        "trigger": {"kind": "interval", "length_s": 10},
        "obey": {"operator": str(tmp_path / "keys" / "anna.operator"), "may": ["settings"]},
    }
    obeys = Obeying(
        tmp_path / "spool" / "directives",
        check_device(document, tmp_path),
        clock=None,
        doing={},
        change=lambda _, settled: settled(""),
    )
    uplink = Uplink(spool, f"tcp://127.0.0.1:{ingest.port}", obeys=obeys)
    uplink.start()
    try:

        def frame(number: int) -> bytes:
            said = KINDS[kind](number)
            return said if isinstance(said, bytes) else wire.encode(said)

        ingest.says(frame)
        wait_for(lambda: "that is all" in uplink.stats()["last_error"], "all to be heard")
    finally:
        uplink.stop()
        spool.close()
    said = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    ours = [each for each in said if "that is all" not in each]
    assert 1 <= len(ours) <= 1 + (time.monotonic() - began_s) / EVERY_S, ours[:5]


def test_sessions_that_end_each_for_another_reason_are_a_line_now_and_then(
    ingest: HostileIngest, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """They were two lines each, of the end and of the next one."""
    caplog.set_level(logging.INFO)
    began_s, spool = time.monotonic(), Spool(tmp_path / "spool", "rig-1")
    uplink = Uplink(spool, f"tcp://127.0.0.1:{ingest.port}")
    uplink.start()
    try:
        for number in range(SESSIONS):
            ingest.ends(number)
        wait_for(lambda: f"reason {SESSIONS - 1}" in uplink.stats()["last_error"], "the last to be heard")
    finally:
        uplink.stop()
        spool.close()
    bound = 1 + (time.monotonic() - began_s) / EVERY_S
    said = [record.getMessage() for record in caplog.records]
    assert 1 <= sum("ended the session" in each for each in said) <= bound, said
    assert 1 <= sum("session with" in each for each in said) <= 1 + bound, said  # one more than ends that were said
    assert "reason 0" in next(each for each in said if "ended the session" in each)


def test_a_cause_has_its_own_lines_and_its_level(caplog: pytest.LogCaptureFixture) -> None:
    seldom, began_s = SeldomLog(logging.getLogger("some")), time.monotonic()
    for number in range(TIMES):
        seldom.say("one", f"text {number}")
        seldom.say("other", "text", logging.ERROR)
    assert [record.levelname for record in caplog.records[:2]] == ["WARNING", "ERROR"]
    assert len(caplog.records) <= 2 * (1 + (time.monotonic() - began_s) / EVERY_S)
