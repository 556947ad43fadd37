"""Awaited frames: those of packets that went into a decoder, until they come out; what never does is lost."""

from collections import Counter, deque


class AwaitedFrames:
    """Times are those of presentation, in any unit; what goes in is in the order of decoding, what comes out in that of
    presentation. Where time begins anew, as in films that were joined, what is awaited of the time before comes first.

    Where a packet need not be of one frame (not `one_to_one`), only those are awaited that could not be decoded.

    >>> awaited = AwaitedFrames()
    >>> for at in (0, 3, 1, 2):
    ...     awaited.put(at, at)
    >>> awaited.came(0), awaited.came(2), awaited.rest()
    ([], [1], [3])
    """

    def __init__(self, *, one_to_one: bool = True) -> None:
        self._one_to_one = one_to_one
        self._times: deque[Counter[int]] = deque([Counter()])
        self._failed: Counter[int] = Counter()
        self._last: int | None = None

    def put(self, at: int, order: int | None) -> None:
        """A packet went in, with its time and, if it is known, its place in the order of decoding, which a new time
        begins anew."""
        if order is not None:
            if self._last is not None and order < self._last and self._times[-1]:
                self._times.append(Counter())
            self._last = order
        if self._one_to_one:
            self._times[-1][at] += 1

    def failed(self, at: int) -> None:
        """It, the last one, cannot be decoded."""
        self._failed[at] += 1
        if not self._one_to_one:
            self._times[-1][at] += 1

    def loosen(self) -> None:
        """A packet need not be of one frame, as it shows."""
        if self._one_to_one:
            self._one_to_one = False
            for times in self._times:
                for at in list(times):
                    times[at] = min(times[at], self._failed[at])
                times += Counter()

    def least(self) -> int | None:
        """The first time that is awaited of what could be decoded."""
        return min((at for at, count in self._times[0].items() if count > self._failed[at]), default=None)

    def came(self, at: int) -> list[int]:
        """A frame came out; those that should have come before it, in their order."""
        lost: list[int] = []
        place = next((place for place, times in enumerate(self._times) if times[at]), None)
        for _ in range(place or 0):
            lost += sorted(self._times.popleft().elements())
        if place is None and self._one_to_one:
            return []
        times = self._times[0]
        for before in sorted(each for each in times if each < at):
            lost += [before] * times.pop(before)
        if place is not None and self._one_to_one:
            times[at] -= 1
            if not times[at]:
                del times[at]
        return lost

    def rest(self) -> list[int]:
        """No more comes out: what is awaited still."""
        lost = [at for times in self._times for at in sorted(times.elements())]
        self._times = deque([Counter()])
        return lost
