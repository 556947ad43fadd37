"""The reaper ends what Ray's daemons are, and what those have started, when who began it is gone; without Ray."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sensorium.hosting import reaper
from tests.spine.commands import wait_for

DAEMON = "#!/bin/sh\ntrap '' TERM\nsleep 600 &\necho $$ $! >> pids\nwait\nwait\n"
OWNER = """
import subprocess, sys, time
reaper = subprocess.Popen([sys.executable, "-IS", sys.argv[1]], stdin=subprocess.PIPE)
daemon = subprocess.Popen(["./raylet"])
other = subprocess.Popen(["sleep", "600"])
open("others", "w").write(f"{other.pid} {reaper.pid}")
while sys.stdin.readline().strip() != "leave":
    time.sleep(0.01)
reaper.stdin.close()
reaper.wait()
"""


class Owner:
    """A process with a daemon, which has a child and heeds no SIGTERM, and with a child that is none of Ray's."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "raylet").write_text(DAEMON)
        (folder / "raylet").chmod(0o755)
        self.process = subprocess.Popen(
            [sys.executable, "-c", OWNER, reaper.__file__], cwd=folder, stdin=subprocess.PIPE, text=True
        )
        wait_for(lambda: len(self.pids("pids")) == 2 and len(self.pids("others")) == 2, "all to run")
        self.daemons, (self.other, self.reaper) = self.pids("pids"), self.pids("others")
        wait_for(lambda: {pid for pid, _ in reaper.of_ray(self.process.pid)} == set(self.daemons), "a tree")

    def pids(self, name: str) -> list[int]:
        path = self._folder / name
        return [int(word) for word in path.read_text().split()] if path.exists() else []

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()
        for pid in (*self.daemons, self.other):
            if pid in reaper.processes():
                os.kill(pid, signal.SIGKILL)


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[Owner]:
    made = Owner(tmp_path)
    yield made
    made.end()


def gone(*pids: int) -> bool:
    return not reaper.processes().keys() & set(pids)


def test_it_ends_what_is_left_of_one_that_was_killed(owner: Owner) -> None:
    known(owner)
    os.kill(owner.reaper, signal.SIGTERM)  # as a service's stop sends it to all
    owner.process.kill()
    wait_for(lambda: gone(*owner.daemons, owner.reaper), "all to end")
    assert not gone(owner.other), "what is none of Ray's is none of its business"


def test_it_ends_what_hangs_when_its_owner_leaves(owner: Owner) -> None:
    known(owner)
    assert owner.process.stdin is not None
    owner.process.stdin.write("leave\n")
    owner.process.stdin.flush()
    assert owner.process.wait(30.0) == 0
    assert gone(*owner.daemons, owner.reaper)


def known(owner: Owner) -> None:
    """Wait until it has looked at what runs: it heeds no SIGTERM then, and has waited twice since."""
    told = Path(f"/proc/{owner.reaper}/status")

    def of(name: str, base: int = 10) -> int:
        return int(next(line for line in told.read_text().splitlines() if line.startswith(name)).split()[1], base)

    wait_for(lambda: of("SigIgn:", 16) & 1 << (signal.SIGTERM - 1), "it to begin")
    before = of("voluntary_ctxt_switches:")
    wait_for(lambda: of("voluntary_ctxt_switches:") >= before + 2, "it to have looked")
