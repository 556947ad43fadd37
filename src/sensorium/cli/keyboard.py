"""Single keys from the terminal while a live table is shown."""

import os
import select
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager

KEYS_HELP = "space: open/close an episode   x: discard it   s/f: close as success/failure   q: drain and quit"


class Keyboard:
    """`pressed` returns the keys since the last call; never waits."""

    def pressed(self) -> str:
        """The keys, in order."""
        keys = ""
        while select.select([sys.stdin], [], [], 0)[0]:
            typed = os.read(sys.stdin.fileno(), 64)  # not read(), whose buffer `select` cannot see
            if not typed:
                break
            keys += typed.decode("ascii", "ignore")
        return keys


@contextmanager
def keyboard() -> Iterator[Keyboard | None]:
    """The keyboard, without echo or line editing; None where standard input is no terminal."""
    if not sys.stdin.isatty():
        yield None
        return
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor)
        yield Keyboard()
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
