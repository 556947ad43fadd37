"""An ingest may open as many files as its transfers need, though the system begins with few."""

import subprocess
import sys
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
