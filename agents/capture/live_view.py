"""The live view: what is captured goes through a pipe to a process that shows it in Rerun, as fast as that takes it.

No thread is begun and nothing waits: the pipe is written without blocking, and what has no room is left out of it.
A viewer that is slow keeps that process waiting, one that is gone ends it; neither touches what is recorded.
"""

import contextlib
import fcntl
import importlib.util
import logging
import os
import struct
import subprocess
import sys
from collections import deque
from collections.abc import Sequence

import msgspec
import numpy as np

from sensorium.corpus.rerun_log import check_display
from sensorium.drivers.stream import Block, StreamSpec
from sensorium.errors import ConfigError

log = logging.getLogger(__name__)

SHOWER = "sensorium.agents.capture.live_view_process"
MOST_WAITING_BYTES = 8 << 20
"""So much waits for the pipe, beside what that holds; of a block that is larger the last sample alone is shown."""
PIPE_BYTES = 1 << 20
END_S, HURRY_S = 10.0, 1.0
"""So long the process may take at the end to show what it was given, before it is ended; the latter behind a signal."""
LENGTH = struct.Struct("<I")
ELSEWHERE = "say where one listens, `--view-at rerun+http://HOST:9876/proxy`, or a file, `--view-at FILE.rrd`"


class ViewBlock(msgspec.Struct, frozen=True):
    """A block on its way, behind its length: the spec of its stream, stamps as int64, and the samples as they are in
    memory, or items of `media_type` of these lengths."""

    spec: msgspec.Raw
    stamps: bytes
    data: bytes
    media_type: str = ""
    lengths: tuple[int, ...] = ()


class LiveView:
    """Shown blocks as they are captured, or where filters redact behind those. One thread calls it.

    Args:
        at: Where a viewer listens, a file to keep the view in, or empty: the viewer of this machine, which is started.
        command: What is run with `at` behind it, and reads the blocks.

    Raises:
        ConfigError: Rerun is not installed here, or there is no display for its viewer.
    """

    def __init__(self, at: str, device: str, specs: Sequence[StreamSpec], command: Sequence[str] = ()) -> None:
        if not command:
            if importlib.util.find_spec("rerun") is None:
                raise ConfigError("--view: Rerun is missing: pip install 'sensorium[view]'")
            if not at:
                check_display(ELSEWHERE)
        self._specs: dict[str, msgspec.Raw] = {}
        self.join(specs)
        self.left_out = 0
        self._waiting: deque[memoryview] = deque()
        self._waiting_bytes = 0
        whole = [*(command or (sys.executable, "-m", SHOWER)), at, device]
        # In a session of its own: a Ctrl-C is for the agent, which ends it.
        self._process: subprocess.Popen[bytes] | None = subprocess.Popen(
            whole, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, bufsize=0, start_new_session=True
        )
        assert self._process.stdin is not None
        self._fd = self._process.stdin.fileno()
        os.set_blocking(self._fd, False)
        with contextlib.suppress(OSError):  # who may have no larger one
            fcntl.fcntl(self._fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)

    def join(self, specs: Sequence[StreamSpec]) -> None:
        """These streams are captured too."""
        self._specs |= {spec.name: msgspec.Raw(msgspec.msgpack.encode(spec)) for spec in specs}

    def see(self, block: Block) -> None:
        """A block was captured."""
        if self._process is None or not len(block):
            return
        self._write()
        if block.nbytes > MOST_WAITING_BYTES:
            self.left_out += len(block) - 1
            block = block.between(len(block) - 1, len(block))
        if self._waiting and self._waiting_bytes + block.nbytes > MOST_WAITING_BYTES:
            self.left_out += len(block)
            return
        message = msgspec.msgpack.encode(self._said(block))
        self._waiting.append(memoryview(LENGTH.pack(len(message)) + message))
        self._waiting_bytes += LENGTH.size + len(message)
        self._write()

    def refresh(self, state: str) -> None:
        """Pass on what waits."""
        del state
        self._write()

    def close(self, *, hurried: bool = False) -> None:
        """Nothing more comes: the process shows what it has, within a bound; twice is no error."""
        if self._process is not None:
            self._write()
            self._end(HURRY_S if hurried else END_S)

    def _said(self, block: Block) -> ViewBlock:
        spec, stamps = self._specs[block.stream], np.ascontiguousarray(block.captured_ns, "<i8").tobytes()
        if (media := block.media) is None:
            return ViewBlock(spec, stamps, np.ascontiguousarray(block.data).tobytes())
        return ViewBlock(spec, stamps, b"".join(media.items), media.media_type, tuple(map(len, media.items)))

    def _write(self) -> None:
        """Write what the pipe takes now."""
        if self._process is None:
            return
        try:
            while self._waiting:
                first = self._waiting[0]
                written = os.write(self._fd, first)
                self._waiting_bytes -= written
                if written < len(first):
                    self._waiting[0] = first[written:]
                else:
                    self._waiting.popleft()
        except BlockingIOError:
            pass
        except OSError as error:
            log.warning("the live view has ended (%s); what is captured is recorded as before", error.strerror)
            self._end(HURRY_S)

    def _end(self, within_s: float) -> None:
        process, self._process = self._process, None
        self._waiting.clear()
        if process is None or process.stdin is None:
            return
        process.stdin.close()
        try:
            process.wait(within_s)
        except subprocess.TimeoutExpired:
            log.warning("the live view was ended before it had shown all; what is captured is recorded as before")
            process.kill()
            process.wait()
        if self.left_out:
            log.warning("the live view left out %d samples, which are recorded", self.left_out)
