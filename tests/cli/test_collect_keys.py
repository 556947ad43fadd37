"""The keys of `collect`, through a terminal: they open, close, judge and discard episodes, and end it."""

import contextlib
import os
import pty
import signal
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path
from uuid import UUID

import pytest
import yaml

from sensorium.agents.spool.inspect import inspect_spool
from sensorium.episode.documents import Seal
from sensorium.episode.records import Record, scan
from tests.agents.triggers.test_triggers import cuts, sim
from tests.spine.commands import wait_for


@pytest.mark.parametrize(
    "how", ["--local", pytest.param("under Ray", marks=[pytest.mark.slow, pytest.mark.timeout(240)])]
)
def test_keys_in_a_terminal(tmp_path: Path, how: str) -> None:
    """space s, space f, space x, space space, q; two keys at once are two keys."""
    document = {"device": "rig", "sensors": {"sim": sim()}, "trigger": {"kind": "manual"}, "spool": {"path": "spool"}}
    (tmp_path / "rig.yaml").write_text(yaml.safe_dump(document))
    master, slave = pty.openpty()
    command = [str(Path(sys.executable).with_name("sensorium")), "collect", "rig.yaml", *[how][how != "--local" :]]
    environment = os.environ | {"COLUMNS": "200", "LINES": "40", "TERM": "xterm"}
    process = subprocess.Popen(
        command, cwd=tmp_path, stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True
    )
    os.close(slave)
    shown: list[bytes] = []

    def drain() -> None:
        try:
            while data := os.read(master, 1 << 16):
                shown.append(data)
        except OSError:
            return  # the other end is closed

    reader = threading.Thread(target=drain)
    reader.start()

    def begun() -> int:
        """How many episodes the ledger has."""
        return len(inspect_spool(tmp_path / "spool")["episodes"])

    def opens(n: int) -> None:
        os.write(master, b" ")
        wait_for(lambda: begun() == n, f"episode {n} opens")

    def is_over(n: int) -> bool:
        """Whether one is sealed, or its file is gone as it was discarded."""
        (each,) = [each for each in inspect_spool(tmp_path / "spool")["episodes"] if each["ordinal"] == n - 1]
        if each["file"] is None:
            return True
        with contextlib.suppress(FileNotFoundError):
            found = scan(UUID(each["episode"]).bytes, (tmp_path / "spool" / each["file"]).read_bytes())
            return any(isinstance(item, Record) and isinstance(item.header, Seal) for item in found)
        return True

    try:
        wait_for(lambda: b"sim.imu" in b"".join(shown), "the live table", timeout_s=90.0)
        for number, key in enumerate((b"s", b"f", b"x", b" "), 1):
            opens(number)
            os.write(master, key)
            wait_for(partial(is_over, number), f"episode {number} is over")
        opens(5)
        os.write(master, b"fq")
        assert process.wait(60) == 0
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            process.wait()
        reader.join()
        os.close(master)
    screen = b"".join(shown).decode()
    assert "Traceback" not in screen
    assert "space: open/close an episode" in screen
    assert [cut.outcome for cut in cuts(tmp_path / "spool")] == ["success", "failure", "", "failure"]
