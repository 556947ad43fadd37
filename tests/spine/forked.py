"""Commands in processes forked from one that has imported them: the same program without a second of imports.

The imports of a command take about a CPU second, which a process started for each would spend some hundred times. A
forked one has all else of its own: its folder, environment, arguments, files, signals and end.
"""

import atexit
import multiprocessing
import os
import subprocess
import sys
import threading
import warnings
from pathlib import Path

from sensorium.cli.main import MODULES

_CONTEXT = multiprocessing.get_context("forkserver")


class Forked:
    """A process that runs `sensorium ARGS` in `folder`, with what it says in two files; with the words of Popen."""

    def __init__(self, folder: Path, out: Path, err: Path, args: tuple[str, ...], environment: dict[str, str]) -> None:
        _CONTEXT.set_forkserver_preload([f"sensorium.cli.{module}" for module in MODULES.values()])
        self._process = _CONTEXT.Process(target=_run, args=(folder, out, err, args, environment))
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("sensorium", timeout or 0.0)
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self._process.kill()


def _run(folder: Path, out: Path, err: Path, args: tuple[str, ...], environment: dict[str, str]) -> None:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for number, path in ((1, out), (2, err)):
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", closefd=False)
    sys.argv = ["sensorium", *args]
    warnings.simplefilter("error")
    status = _status()
    threading._shutdown()  # type: ignore[attr-defined]  # from here on as an interpreter ends, which a fork leaves out
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(status)


def _status() -> int:
    from sensorium.cli.main import main

    try:
        main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    return 0
