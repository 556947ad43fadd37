"""The budget of the trace: a token bucket of bytes over captured time, apart from that of what is kept."""

SECOND_NS = 1_000_000_000
BURST_S = 60.0


class TraceBucket:
    """Fills at `bytes_per_s` up to what 60 s bring, or `least`, what it must hold for anything to be written at all.

    What has to be written whatever it holds is a debt: nothing else is until it is paid.
    """

    def __init__(self, bytes_per_s: float) -> None:
        self._per_s = bytes_per_s
        self.capacity = bytes_per_s * BURST_S
        self.level = self.capacity

    def require(self, least: float, *, fill: bool = False) -> None:
        """Hold at least so much; with `fill` so much is there."""
        self.capacity = max(self.capacity, least)
        if fill:
            self.level = self.capacity

    def earn(self, captured_ns: int) -> None:
        """So much time was captured."""
        self.level = min(self.level + self._per_s * captured_ns / SECOND_NS, self.capacity)

    def spend(self, size: int) -> None:
        """So many bytes were written."""
        self.level -= size
