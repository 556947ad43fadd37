"""The gate: whom it lets in, at what cost, and that what it says is what the folder of keys says at that moment."""

import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq
from zmq.utils import z85

from sensorium.link import keys
from sensorium.link.zap import DOMAIN, Gate

KEYS = 20


class Asked:
    """A gate over a folder of many keys, asked as libzmq asks it, and how often the folder was looked through."""

    def __init__(self, folder: Path, context: "zmq.Context[zmq.Socket[bytes]]") -> None:
        for number in range(KEYS):
            keys.allow(folder, keys.new(f"rig-{number}", folder / "devices")[0])
        self.folder = folder
        self.gate = Gate(context, keys.AllowedKeys(folder), lambda: None, lambda _: None)
        self.socket = context.socket(zmq.REQ)
        self.socket.rcvtimeo = 10_000
        self.socket.connect("inproc://zeromq.zap.01")

    def lets_in(self, name: str) -> str:
        """The user id that it gives the key of a device; empty if it refuses it."""
        public = keys.server_key(self.folder / "devices" / f"{name}.key")
        said = [b"1.0", b"1", DOMAIN, b"127.0.0.1", b"", b"CURVE", z85.decode(public)]
        self.socket.send_multipart(said)
        _, _, status, _, user_id, _ = self.socket.recv_multipart()
        assert status == (b"200" if user_id else b"400")
        return user_id.decode().partition("/")[0]


@pytest.fixture
def asked(tmp_path: Path) -> Iterator[Asked]:
    with zmq.Context[zmq.Socket[bytes]]() as context:
        found = Asked(tmp_path, context)
        yield found
        assert found.gate.stop()
        found.socket.close(linger=0)


def test_many_handshakes_do_not_look_through_the_folder_once_each(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousand devices that come together, of a thousand keys, would take minutes."""
    keys.new("stranger", asked.folder / "devices")
    long_ago = time.time() - 60
    os.utime(asked.folder / "allowed", (long_ago, long_ago))
    assert asked.lets_in("rig-0") == "rig-0"
    looked = []
    scandir = os.scandir

    def looking(folder: Any) -> Any:
        looked.append(folder)
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", looking)
    begun_s = time.monotonic()
    for _ in range(200):
        assert asked.lets_in("rig-7") == "rig-7"
        assert asked.lets_in("stranger") == ""
    assert len(looked) <= 2 + (time.monotonic() - begun_s) / 0.1, "ten times a second, whoever comes"


def test_what_is_allowed_or_revoked_counts_in_the_next_handshake(asked: Asked) -> None:
    public, _ = keys.new("late", asked.folder / "devices")
    for _ in range(10):
        assert asked.lets_in("late") == ""
        keys.allow(asked.folder, public)
        assert asked.lets_in("late") == "late"
        keys.revoke(asked.folder, "late")
    long_ago = time.time() - 60
    os.utime(asked.folder / "allowed", (long_ago, long_ago))
    assert asked.lets_in("rig-3") == "rig-3"
    keys.revoke(asked.folder, "rig-3")
    keys.allow(asked.folder, public)
    assert (asked.lets_in("rig-3"), asked.lets_in("late")) == ("", "late")


def test_a_folder_that_cannot_be_read_now_and_then_is_said_seldom(
    asked: Asked, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As where strangers take every descriptor that there is, and are hung up on."""
    looks = 0

    def now_and_then(_: keys.AllowedKeys) -> bool:
        nonlocal looks
        looks += 1
        if looks % 2:
            raise OSError(errno.EMFILE, "Too many open files")
        return False

    begun_s = time.monotonic()
    monkeypatch.setattr(keys.AllowedKeys, "refresh", now_and_then)
    while looks < 10:
        time.sleep(0.02)
    said = caplog.messages.count("the folder of allowed keys cannot be read: Too many open files")
    assert 1 <= said <= 1 + (time.monotonic() - begun_s) / 10
