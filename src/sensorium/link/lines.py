"""Lines for the log of what peers cause: of one cause the first, then how many there were since, now and then."""

import logging
import time
from collections import OrderedDict

from sensorium.drivers.clock import SECOND_NS

EVERY_S = 10.0
MAX_CAUSES = 4096


class SeldomLines(list[str]):
    """The lines to write. Whoever causes them, there is at most one in ten seconds of one device and cause.

    >>> lines = SeldomLines()
    >>> for at in range(6): lines.say("rig-1", "violation", f"rig-1: violation {at}", at)
    >>> lines.say("rig-1", "violation", "rig-1: violation 6", 10 * SECOND_NS)
    >>> lines
    ['rig-1: violation 0', 'rig-1: violation 6 (5 more of this kind since)']
    """

    def __init__(self) -> None:
        super().__init__()
        self._said: OrderedDict[tuple[str, str], tuple[int, int]] = OrderedDict()

    def say(self, device: str, cause: str, text: str, now_ns: int) -> None:
        """Write it, or count it for the next one of its kind."""
        said_ns, held = self._said.get((device, cause), (now_ns - int(EVERY_S * SECOND_NS), 0))
        if now_ns - said_ns < EVERY_S * SECOND_NS:
            self._said[device, cause] = said_ns, held + 1
        else:
            self.append(f"{text} ({held} more of this kind since)" if held else text)
            self._said[device, cause] = now_ns, 0
        self._said.move_to_end((device, cause))
        if len(self._said) > MAX_CAUSES:
            self._said.popitem(last=False)

    def take(self) -> list[str]:
        """Those that are to be written now."""
        taken = list(self)
        self.clear()
        return taken


class SeldomLog:
    """What peers cause goes to a log so: of each cause at most a line in ten seconds."""

    def __init__(self, log: logging.Logger) -> None:
        self._log, self._lines = log, SeldomLines()

    def say(self, cause: str, text: str, level: int = logging.WARNING) -> bool:
        """Write it, or count it for the next of its cause; whether it was written."""
        self._lines.say("", cause, text, time.monotonic_ns())
        lines = self._lines.take()
        for line in lines:
            self._log.log(level, "%s", line)
        return bool(lines)
