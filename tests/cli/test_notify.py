"""What systemd hears of a process that it started, and what a log says as JSON."""

import json
import logging
import socket
import sys
from pathlib import Path

import pytest

from sensorium.cli.json_log import JsonLines
from sensorium.cli.notify import Notify


def test_it_hears_that_it_is_ready_lives_and_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listens:
        listens.bind(str(tmp_path / "notify"))
        listens.settimeout(60.0)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "60000000")
        notify = Notify()
        notify.ready()
        for _ in range(5):
            notify.lives()
        notify.stopping()
        assert [listens.recv(99) for _ in range(3)] == [b"READY=1", b"WATCHDOG=1", b"STOPPING=1"]


def test_nobody_hears_it_elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    Notify().ready()
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    Notify().ready()


def test_a_line_is_an_object_whatever_it_says() -> None:
    try:
        raise KeyError("a\nb")
    except KeyError:
        record = logging.getLogger("x").makeRecord("x", logging.ERROR, "", 1, "ä %s\n", ("b",), None)
        record.exc_info = sys.exc_info()
    text = JsonLines().format(record)
    assert "\n" not in text
    said = json.loads(text)
    assert (said["level"], said["message"]) == ("error", "ä b\n")
    assert "KeyError" in said["error"]
