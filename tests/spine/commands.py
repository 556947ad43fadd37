"""The commands as a user runs them: real processes in a folder of the test's own, ended when the test ends."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from tests.spine.forked import Forked

HERE = Path(__file__).parent
Mount = Callable[[Path, str], None]
SENSORIUM = Path(sys.executable).with_name("sensorium")
WITHOUT_SENSORIUM = (
    "import runpy, sys; sys.modules['sensorium'] = None; sys.argv = sys.argv[1:]; "
    "runpy.run_path(sys.argv[0], run_name='__main__')"
)


def wait_for(holds: Callable[[], Any], what: str, timeout_s: float = 30.0, every_s: float = 0.02) -> Any:
    """The first true answer of `holds`."""
    deadline = time.monotonic() + timeout_s
    while not (answer := holds()):
        assert time.monotonic() < deadline, f"waited {timeout_s} s in vain: {what}"
        time.sleep(every_s)
    return answer


class Command:
    """One `sensorium` process; its output is in files, so that it never waits for a reader."""

    def __init__(
        self, folder: Path, name: str, args: tuple[object, ...], environment: dict[str, str], *, forked: bool = False
    ) -> None:
        self.args = tuple(map(str, args))
        self._out, self._err = folder / f"{name}.out", folder / f"{name}.err"
        environment = os.environ | {"PYTHONWARNINGS": "error"} | environment  # as they are in the tests themselves
        self.process: subprocess.Popen[bytes] | Forked
        if forked:
            self.process = Forked(folder, self._out, self._err, self.args, environment)
            return
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [SENSORIUM, *self.args], cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=environment
            )

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def err(self) -> str:
        return self._err.read_text()

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def wait(self, expect: int = 0, timeout_s: float = 60.0) -> "Command":
        """Wait for the end, which must be `expect`, without a traceback."""
        try:
            status: int | None = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            status = None  # it is ended by the site
        said = f"{self.args}: exit {status}, expected {expect}\n{self.out}\n{self.err}"
        assert "Traceback" not in self.err + self.out, said
        assert status == expect, said
        return self

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL: nothing that the process does can make this end well."""
        self.process.kill()
        self.process.wait()

    def interrupt(self, expect: int = 0) -> "Command":
        """Ctrl-C, and wait."""
        self.signal(signal.SIGINT)
        return self.wait(expect)

    def until(self, pattern: str, timeout_s: float = 30.0) -> re.Match[str]:
        """Wait until the process has said something that matches."""

        def found() -> re.Match[str] | None:
            match = re.search(pattern, self.out + self.err)
            assert match or self.running, f"{self.args} ended before it said {pattern!r}:\n{self.out}\n{self.err}"
            return match

        match: re.Match[str] = wait_for(found, f"{self.args} to say {pattern!r}", timeout_s)
        return match


class Site:
    """A folder with a store, device files, spools and keys, and the processes that work on them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment: dict[str, str] = {}
        self._commands: list[Command] = []

    def start(self, *args: object) -> Command:
        """Start `sensorium ARGS`."""
        command = Command(self.folder, f"{len(self._commands)}", args, self.environment)
        self._commands.append(command)
        return command

    def run(self, *args: object, expect: int = 0) -> Command:
        """Run `sensorium ARGS` to its end; forked, if it imports nothing that the test has put there for it."""
        forked = "PYTHONPATH" not in os.environ | self.environment
        command = Command(self.folder, f"{len(self._commands)}", args, self.environment, forked=forked)
        self._commands.append(command)
        return command.wait(expect)

    def json(self, *args: object, expect: int = 0) -> Any:
        """What `sensorium ARGS --format json` prints."""
        return json.loads(self.run(*args, "--format", "json", expect=expect).out)

    def refused(self, *args: object, expect: int, says: tuple[str, ...]) -> str:
        """Run what must fail: one line on stderr, which holds all of `says`; the line."""
        command = self.run(*args, expect=expect)
        lines = [line for line in command.err.splitlines() if line.startswith("sensorium: ")]
        assert len(lines) == 1, command.err
        assert not (missing := [part for part in says if part not in lines[0]]), f"{missing} not in: {lines[0]}"
        assert len(lines[0]) < 500, lines[0]
        return lines[0]

    def ingest(self, *args: object, store: str = "store", port: int = 0) -> tuple[Command, int]:
        """Start an ingest and wait until it accepts; the process and its port."""
        command = self.start("ingest", "--store", store, "--listen", f"tcp://127.0.0.1:{port}", *args)
        return command, int(command.until(r"ready tcp://127\.0\.0\.1:(\d+)\n")[1])

    def device(self, name: str, sensors: dict[str, Any], port: int | None = None, **parts: Any) -> Path:
        """Write a device file: one-second episodes, its spool beside it."""
        document: dict[str, Any] = {
            "device": name,
            "spool": {"path": f"spool-{name}", **parts.pop("spool", {})},
            "sensors": sensors,
            "trigger": parts.pop("trigger", {"kind": "interval", "length_s": 1}),
            **parts,
        }
        if port is not None:
            document["ingest"] = {"url": f"tcp://127.0.0.1:{port}", **parts.get("ingest", {})}
        path = self.folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(document, sort_keys=False))
        return path

    def spooled(self, name: str) -> list[Path]:
        """The episode files in a device's spool, by ordinal."""
        return sorted((self.folder / f"spool-{name}" / "episodes").glob("*.episode"))

    def peer(self, script: str, *args: object, timeout_s: float = 120) -> Any:
        """What a script of this folder, which cannot import sensorium, prints as JSON."""
        made = subprocess.run(
            [sys.executable, "-c", WITHOUT_SENSORIUM, str(HERE / script), *map(str, args)],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        assert made.returncode == 0, made.stderr
        return json.loads(made.stdout)

    def end(self) -> None:
        """End what still runs, and see that nobody left a traceback."""
        for command in self._commands:
            if command.running:
                os.kill(command.process.pid, signal.SIGCONT)
                command.kill()
        spoken = "".join(command.err for command in self._commands)
        assert "Traceback" not in spoken, spoken
        assert "Exception ignored" not in spoken, spoken


def sim(**changes: Any) -> dict[str, Any]:
    """A simulated camera and IMU, as fast as it can."""
    return {"kind": "sim-planar", "pace": "fast", "size": [160, 120], "camera_hz": 20, "imu_hz": 100, **changes}
