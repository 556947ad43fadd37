"""Where a process may open no more files that is what is said, whatever the library in between makes of it."""

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import os, resource, sys
from pathlib import Path
import sqlalchemy
from sensorium.agents.selection.memory_file import Memory, write_memory
from sensorium.agents.selection.trouble import FileTrouble
from sensorium.agents.spool.folder import Folder
from sensorium.agents.spool.ledger_file import LedgerFile
from sensorium.errors import SpoolFull
from sensorium.ingest.store_folder import store_errors
path = Path(sys.argv[1])
engine = sqlalchemy.create_engine(f"sqlite:///{path / 'catalog.sqlite'}")
engine.connect().close()
engine.dispose()

def look():
    with store_errors(path), engine.connect() as catalog:
        catalog.execute(sqlalchemy.text("SELECT 1"))

resource.setrlimit(resource.RLIMIT_NOFILE, (60, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
held = []
while True:
    try:
        held.append(os.open("/", os.O_RDONLY))
    except OSError:
        break
calls = [lambda: LedgerFile(path / "ledger", "CREATE TABLE episodes (id)", {}), lambda: Folder(path / "spool", 0), look]
for free in (0, 1):
    for call in calls[: 3 - 2 * free]:
        try:
            call()
        except Exception as error:
            print(isinstance(error, SpoolFull), error)
    os.close(held.pop())
"""


def test_too_few_files_are_not_a_full_disk_nor_a_broken_ledger(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT, tmp_path], capture_output=True, text=True, check=True)
    said = done.stdout.splitlines()
    assert len(said) == 4, done
    for line in said:
        assert line.startswith("False ")
        assert "Too many open files; let it open more files (ulimit -n)" in line
        assert "move it away" not in line
