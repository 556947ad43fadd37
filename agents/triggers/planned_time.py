"""Planned time: which of the captured time a plan has caused, as far as that is known."""

from sensorium.agents.triggers.trigger import FOREVER_NS

_MOST = 256


class PlannedTime:
    """Of one time, up to a clock reset. What was said of later stamps is taken back by what is said of an earlier one.

    >>> planned = PlannedTime()
    >>> planned.put(10, is_planned=True)
    >>> planned.put(15, is_planned=False)
    >>> planned.share(0, 10), planned.share(8, 12), planned.share(10, 15), planned.share(0, 20)
    (0.0, 0.5, 1.0, 0.25)
    """

    def __init__(self) -> None:
        self._said: list[tuple[int, bool]] = []

    def put(self, at_ns: int, *, is_planned: bool) -> None:
        """From a stamp on a plan is the cause of what is captured, or none is."""
        self._said = [each for each in self._said if each[0] < at_ns][-_MOST:]
        self._said.append((at_ns, is_planned))

    def share(self, start_ns: int, end_ns: int) -> float:
        """The part of [start_ns, end_ns) that plans have caused."""
        ends_ns = [at_ns for at_ns, _ in self._said[1:]] + [FOREVER_NS]
        caused_ns = sum(
            max(0, min(until_ns, end_ns) - max(at_ns, start_ns))
            for (at_ns, is_planned), until_ns in zip(self._said, ends_ns, strict=False)
            if is_planned
        )
        return caused_ns / max(1, end_ns - start_ns)
