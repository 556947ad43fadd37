"""The lock watcher: a process of its own that ends another in which nothing of Python runs any more, and says so.

It runs from its file, by itself: it takes but the standard library. See `sensorium.hosting.lock_watch`.
"""

import contextlib
import os
import select
import signal
import sys
import time
from pathlib import Path

POLL_S, TELL_S = 1.0, 0.5


def is_stopped(pid: int) -> bool:
    """Whether a process was told to stop for now, as by Ctrl-Z, or is held by a debugger."""
    with contextlib.suppress(OSError, ValueError):
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        return text[text.rindex(")") + 2] in "Tt"
    return False


def main() -> None:
    """Watch the process `argv[1]`, which says at the other end of standard input for how long it may be silent now, s;
    one that is silent for longer is asked where it is, and ended, and `argv[2]` is said."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    parent, said = int(sys.argv[1]), sys.argv[2]
    most_s, silent_s = float("inf"), 0.0
    while os.getppid() == parent:
        if select.select([sys.stdin], [], [], POLL_S)[0]:
            told = os.read(sys.stdin.fileno(), 1 << 16)
            if not told:
                return
            most_s, silent_s = float(told.split()[-1]), 0.0
        elif is_stopped(parent):
            silent_s = 0.0
        else:  # counted by what passes here: while this process does not run either, nothing is late
            silent_s += POLL_S
        if silent_s >= most_s:
            with contextlib.suppress(ProcessLookupError):
                os.kill(parent, signal.SIGUSR1)  # it says where it is
                time.sleep(TELL_S)
                os.kill(parent, signal.SIGKILL)
            sys.stderr.write(f"{said.format(seconds=f'{most_s:.0f}')}\n")
            return


if __name__ == "__main__":
    main()
