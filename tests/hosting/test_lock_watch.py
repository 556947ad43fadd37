"""The lock watch ends a process in which nothing of Python runs, says so and where it was, and leaves every other."""

import logging
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from sensorium.hosting import lock_watch
from sensorium.hosting.lock_watch import LockWatch
from sensorium.hosting.lock_watcher import is_stopped
from tests.spine.commands import wait_for
from tests.spine.killing import injected, kills

KEEPS = """
import ctypes
from sensorium.hosting.lock_watch import LockWatch

def keeps():
    ctypes.PyDLL(None).sleep(3600)

with LockWatch("a {test} of locks", most_s=3.0):
    keeps()
"""
GOES_ON = """
import sys
from sensorium.hosting.lock_watch import LockWatch
with LockWatch("a test") as watch:
    print(watch._process.pid, flush=True)
    sys.stdin.read()
"""


def gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def test_one_that_keeps_the_lock_is_ended_and_says_where(tmp_path: Path) -> None:
    (tmp_path / "keeping.py").write_text(KEEPS)
    done = subprocess.run([sys.executable, "keeping.py"], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == -signal.SIGKILL
    *stacks, said = done.stderr.splitlines()
    assert any('keeping.py", line 6 in keeps' in line for line in stacks), done.stderr
    assert said.startswith("sensorium: a {test} of locks: nothing of Python ran for 3 s, as where a call")


def test_one_that_leaves_or_is_killed_leaves_nothing() -> None:
    for end in ("leave", "kill"):
        process = subprocess.Popen(
            [sys.executable, "-c", GOES_ON], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert process.stdout is not None
        watcher = int(process.stdout.readline())
        assert not gone(watcher)
        if end == "kill":
            process.kill()
        _, said = process.communicate(timeout=60.0)
        assert said == b""
        assert process.returncode == (-signal.SIGKILL if end == "kill" else 0)
        wait_for(partial(gone, watcher), "it to end")


def test_one_that_is_stopped_for_now_is_told_from_one_that_hangs() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert not is_stopped(process.pid)
        process.send_signal(signal.SIGSTOP)
        wait_for(lambda: is_stopped(process.pid), "it to stop")
        process.send_signal(signal.SIGCONT)
        wait_for(lambda: not is_stopped(process.pid), "it to go on")
    finally:
        process.kill()
        process.communicate()
    assert not is_stopped(process.pid)


@kills("lock-watch")
def test_where_nothing_can_be_said_any_more_nobody_is_ended(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(lock_watch, "BEAT_S", 0.01)
    with LockWatch("a test") as watch:
        monkeypatch.setattr(watch, "_say", injected)
        assert watch._process.wait(60.0) == 0, "it looks no more"
    assert "thread lock-watch, which says that Python's lock is given back, died of KeyError: 'injected'" in caplog.text


def test_what_is_slow_is_said_once(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(lock_watch, "BEAT_S", 0.01)
    monkeypatch.setattr(lock_watch, "IMPORT_S", 0.0)
    with caplog.at_level(logging.WARNING), LockWatch("a test", slow="it takes long") as watch:
        wait_for(lambda: caplog.messages, "it to be said")
        wait_for(lambda: not watch._slow, "it to be done")
    assert caplog.messages == ["it takes long"]
