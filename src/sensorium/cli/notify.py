"""What systemd is told, where it started this process: that it is ready, lives, and stops. Elsewhere nothing."""

import contextlib
import os
import socket
import time


class Notify:
    """`READY=1` once, `WATCHDOG=1` at most every third of the time that the unit gives, `STOPPING=1` at the end."""

    def __init__(self) -> None:
        self._address = os.environ.get("NOTIFY_SOCKET", "")
        watchdog = os.environ.get("WATCHDOG_USEC", "")
        self._every_s = float(watchdog) / 3e6 if watchdog.isdecimal() else 0.0
        self._due_s = 0.0
        self._is_stopping = False

    def ready(self) -> None:
        """It does what it is for."""
        self._say("READY=1")

    def lives(self) -> None:
        """Called at each look of a loop that looks often."""
        now_s = time.monotonic()
        if self._every_s and now_s >= self._due_s:
            self._due_s = now_s + self._every_s
            self._say("WATCHDOG=1")

    def stopping(self) -> None:
        """It ends; said once."""
        if not self._is_stopping:
            self._is_stopping = True
            self._say("STOPPING=1")

    def _say(self, word: str) -> None:
        if not self._address:
            return
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
            to.sendto(word.encode(), address)
