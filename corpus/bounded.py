"""Work in processes that may hang or die: each item is answered within a time, or it is said why not."""

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from sensorium.errors import SensoriumError

START_S = 120.0
"""How long a process may take until its first line."""


class Answered(NamedTuple):
    """What a process answered to an item, a line without its end; or None, and why."""

    item: str
    line: bytes | None
    why: str = ""


def answers(
    command: Sequence[str],
    environment: Mapping[str, str],
    items: Iterable[str],
    *,
    jobs: int,
    timeout_s: float,
    began: Callable[[bytes], None],
) -> Iterator[Answered]:
    """Have up to `jobs` processes, which run `command`, answer the items, in the order in which they come to it.

    A process says a line when it is ready, which `began` is given and may raise at; then it gets an item a line on its
    standard input and answers it with a line. One that takes longer than `timeout_s` for it is killed, with all that it
    started; another takes its place, as that of one that died.

    Raises:
        SensoriumError: a process ended, or took longer than `START_S` and `timeout_s`, before its first line.
    """
    rest = iter(items)
    idle: list[_Process] = []
    working: list[_Process] = []
    try:
        while True:
            while len(working) < max(1, jobs) and (item := next(rest, None)) is not None:
                process = idle.pop() if idle else _Process(command, environment, timeout_s, began)
                working.append(process)
                process.ask(item)
            if not working:
                return
            soonest_s = min(process.deadline_s for process in working) - time.monotonic()
            heard = select.select([process.output for process in working], [], [], max(0.0, soonest_s))[0]
            for process in tuple(working):
                found = process.hear(process.output in heard)
                if found is not None:
                    working.remove(process)
                    if not process.killed:
                        idle.append(process)
                    yield found
    finally:
        for process in (*working, *idle):
            process.kill()


class _Process:
    """One process, the item that it is at, and until when it may take."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        timeout_s: float,
        began: Callable[[bytes], None],
    ) -> None:
        # In a session of its own, so that whatever it starts can be ended with it, and a Ctrl-C is for us alone.
        self._process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=dict(environment),
            start_new_session=True,
            bufsize=0,
        )
        pipes = self._process.stdin, self._process.stdout
        self._input, self.output = (-1 if pipe is None else pipe.fileno() for pipe in pipes)
        self._command = " ".join(command)
        self._timeout_s = timeout_s
        self._began: Callable[[bytes], None] | None = began
        self._item = ""
        self._heard = b""
        self.killed = False
        self._start_s = max(START_S, timeout_s)
        self.deadline_s = time.monotonic() + self._start_s

    def ask(self, item: str) -> None:
        """Give it an item, as soon as it is ready."""
        self._item = item
        if self._began is None:
            self.deadline_s = time.monotonic() + self._timeout_s
            with contextlib.suppress(BrokenPipeError):  # that it died is heard
                os.write(self._input, f"{item}\n".encode())

    def hear(self, readable: bool) -> Answered | None:
        """What it answered, or why it did not; None while it is at it."""
        part = os.read(self.output, 1 << 16) if readable else b""
        self._heard += part
        line, end, self._heard = self._heard.partition(b"\n") if b"\n" in part else (b"", b"", self._heard)
        if not end:
            ended = readable and not part
            if not ended and time.monotonic() < self.deadline_s:
                return None
            most_s = self._timeout_s if self._began is None else self._start_s
            why = f"its process {self._how()}" if ended else f"it took longer than {most_s:g} s"
            self.kill()
            if self._began is not None:
                raise SensoriumError(f"{self._command}: {why} before it was ready; run it by hand to see")
            return Answered(self._item, None, why)
        if self._began is not None:
            self._began(line)
            self._began = None
            self.ask(self._item)
            return None
        return Answered(self._item, line)

    def kill(self) -> None:
        """End it, and all that it started; twice is no error."""
        if not self.killed:
            self.killed = True
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    pipe.close()

    def _how(self) -> str:
        """How it ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            status = self._process.wait(1.0)
            if status < 0:
                return f"was killed by {signal.Signals(-status).name}"
            return f"ended with status {status}"
        return "closed its output"
