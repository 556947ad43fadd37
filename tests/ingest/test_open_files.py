"""An ingest may open as many files as its transfers need, though the system begins with few."""

import contextlib
import socket
import subprocess
import sys
import time
from pathlib import Path

SCRIPT = """
import resource, sys
from sensorium.ingest.server import Ingest
from sensorium.ingest.store import Store
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
with Store.open(sys.argv[1]) as store:
    ingest = Ingest(store, "tcp://127.0.0.1:0")
    ingest.start()
    ingest.stop()
print(resource.getrlimit(resource.RLIMIT_NOFILE)[0] == min(hard, 16384))
"""


def test_the_soft_limit_is_raised(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT, tmp_path], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


NONE_LEFT = """
import os, resource, sys
from sensorium.ingest.server import Ingest
from sensorium.ingest.store import Store
with Store.open(sys.argv[1]) as store:
    ingest = Ingest(store, "tcp://127.0.0.1:0")
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 40, ) * 2)
    ingest.start()
    print(ingest.address, flush=True)
    input()
    print(ingest.stats()["state"], flush=True)
    ingest.stop()
"""


def test_an_ingest_that_has_none_left_goes_on(tmp_path: Path) -> None:
    """As many connect as take all that there are, again and again."""
    command = [sys.executable, "-c", NONE_LEFT, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            host, _, port = process.stdout.readline().strip().removeprefix("tcp://").rpartition(":")
            until = time.monotonic() + 3.0
            while time.monotonic() < until:
                crowd(host, int(port))
            said, _ = process.communicate("\n", timeout=60.0)
            assert (said, process.returncode) == ("up\n", 0)
        finally:
            process.kill()


def crowd(host: str, port: int) -> None:
    with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
        for number in range(100):
            stack.enter_context(socket.create_connection((host, port + number % 2), timeout=5.0))
