"""The keys of `collect`, through a terminal: they open, close, judge and discard episodes, and end it."""

import os
import pty
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import yaml

from sensorium.agents.spool.inspect import inspect_spool
from tests.agents.triggers.test_triggers import cuts, sim, until


def test_keys_in_a_terminal(tmp_path: Path) -> None:
    """space s, space f, space x, space space, q; two keys at once are two keys."""
    document = {"device": "rig", "sensors": {"sim": sim()}, "trigger": {"kind": "manual"}, "spool": {"path": "spool"}}
    (tmp_path / "rig.yaml").write_text(yaml.safe_dump(document))
    master, slave = pty.openpty()
    command = [str(Path(sys.executable).with_name("sensorium")), "collect", "rig.yaml", "--local"]
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
        until(lambda: begun() == n, f"episode {n} opens")

    try:
        until(lambda: b"sim.imu" in b"".join(shown), "the live table")
        for number, key in enumerate((b"s", b"f", b"x", b" "), 1):
            opens(number)
            os.write(master, key)
            time.sleep(0.5)
        opens(5)
        os.write(master, b"fq")
        assert process.wait(30) == 0
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
