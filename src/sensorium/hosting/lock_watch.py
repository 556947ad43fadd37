"""The lock watch: a command in which somebody else's code keeps Python's lock for ever says so, and ends.

Nothing of Python runs then in its process: no bound of time is looked at, and no Ctrl-C heard. So a process of its own
looks on, `sensorium.hosting.lock_watcher`.
"""

import contextlib
import faulthandler
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from types import TracebackType
from typing import Self

from sensorium.hosting import lock_watcher
from sensorium.patience import IMPORT_S
from sensorium.threads import Thread

log = logging.getLogger(__name__)

BEAT_S = 1.0
MOST_S = IMPORT_S + 10.0
"""How long a call may keep the lock, if nobody says so: some more than a module may take to be imported."""


class LockWatch:
    """From entering to leaving, ends this process where nothing of Python ran in it for `most_s`, which may be set.

    Args:
        doing: What is going on, for who reads that it was ended, with the stacks of all threads.
        slow: What to log once it has not been left for as long as a module may take to be imported; empty, nothing.
    """

    def __init__(self, doing: str, slow: str = "", most_s: float = MOST_S) -> None:
        self.most_s = most_s
        self._slow, self._begun_s = slow, time.monotonic()
        self._left = threading.Event()
        doing = doing.replace("{", "{{").replace("}", "}}")
        said = (
            f"sensorium: {doing}: nothing of Python ran for {{seconds}} s, as where a call of an extension keeps"
            " Python's lock: where it was is above; it was ended, and what was recorded is safe"
        )
        if sys.__stderr__ is not None:
            faulthandler.register(signal.SIGUSR1, file=sys.__stderr__)
        command = [sys.executable, "-IS", lock_watcher.__file__, str(os.getpid()), said]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, bufsize=0)
        self._say()
        self._thread = Thread("lock-watch", "says that Python's lock is given back", self._run, self._blind)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._left.set()
        self._thread.join()
        self._blind()
        self._process.wait()
        faulthandler.unregister(signal.SIGUSR1)

    def _blind(self, _: object = None) -> None:
        """Who looks on looks no more: what says nothing would be ended, though it runs."""
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()

    def _run(self) -> None:
        while not self._left.wait(BEAT_S):
            self._say()
            if self._slow and time.monotonic() >= self._begun_s + IMPORT_S:
                log.warning("%s", self._slow)
                self._slow = ""

    def _say(self) -> None:
        if self._process.stdin is not None:
            with contextlib.suppress(OSError, ValueError):  # somebody ended it, or it looks no more
                self._process.stdin.write(f"{self.most_s}\n".encode())
