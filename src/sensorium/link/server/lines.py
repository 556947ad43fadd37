"""Lines for the log of what peers cause: of one cause the first few, then how many there were since, now and then."""

from collections import OrderedDict

SECOND = 1_000_000_000
EVERY_S = 10.0
FIRST = 3
MAX_CAUSES = 4096


class SeldomLines(list[str]):
    """The lines to write. Whoever causes them, there are at most `FIRST` in ten seconds of one device and cause.

    >>> lines = SeldomLines()
    >>> for at in range(6): lines.say("rig-1", "violation", f"rig-1: violation {at}", at)
    >>> lines.say("rig-1", "violation", "rig-1: violation 6", 10 * SECOND)
    >>> lines[2:]
    ['rig-1: violation 2', 'rig-1: violation 6 (3 more of this kind since)']
    """

    def __init__(self) -> None:
        super().__init__()
        self._said: OrderedDict[tuple[str, str], tuple[int, int]] = OrderedDict()

    def say(self, device: str, cause: str, text: str, now_ns: int) -> None:
        """Write it, or count it for the next one of its kind."""
        since_ns, count = self._said.get((device, cause), (now_ns, 0))
        if now_ns - since_ns >= EVERY_S * SECOND:
            held = max(0, count - FIRST)
            since_ns, count = now_ns, 0
            text += f" ({held} more of this kind since)" if held else ""
        if count < FIRST:
            self.append(text)
        self._said[device, cause] = since_ns, count + 1
        self._said.move_to_end((device, cause))
        if len(self._said) > MAX_CAUSES:
            self._said.popitem(last=False)

    def take(self) -> list[str]:
        """Those that are to be written now."""
        taken = list(self)
        self.clear()
        return taken
