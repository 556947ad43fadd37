"""Allowances: how much of something each key may have at once, and a second, whatever it asks for."""

from collections import Counter, OrderedDict

from sensorium.drivers.clock import SECOND_NS

MAX_KEYS = 4096


class Allowance:
    """`most` at once, `a_second` after that, for each key.

    >>> hellos = Allowance(most=2, a_second=1)
    >>> [hellos.take("rig-1", 1, now_ns) for now_ns in (0, 0, 0, SECOND_NS, SECOND_NS)]
    [True, True, False, True, False]
    >>> hellos.take("rig-2", 1, SECOND_NS)
    True
    """

    def __init__(self, most: int, a_second: int) -> None:
        self._most, self._a_second = most, a_second
        self._left: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def take(self, key: str, count: int, now_ns: int) -> bool:
        """Whether the key may have so many now, which are then taken."""
        left, then_ns = self._left.get(key, (float(self._most), now_ns))
        left = min(self._most, left + (now_ns - then_ns) / SECOND_NS * self._a_second)
        allowed = left >= count
        self._left[key] = left - count * allowed, now_ns
        self._left.move_to_end(key)
        if len(self._left) > MAX_KEYS:
            self._left.popitem(last=False)
        return allowed


class UnderWay:
    """How many jobs of each key are under way, of at most `most`; one ends by the session that asked for it.

    >>> notes = UnderWay(most=2)
    >>> [notes.begin("rig-1", session) for session in (7, 8, 8)], notes.end(7), notes.begin("rig-1", 9)
    ([True, True, False], None, True)
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._by_key: Counter[str] = Counter()
        self._asked: dict[int, list[str]] = {}

    def begin(self, key: str, session: int) -> bool:
        """Whether one more may begin, which then has."""
        if self._by_key[key] >= self._most:
            return False
        self._by_key[key] += 1
        self._asked.setdefault(session, []).append(key)
        return True

    def end(self, session: int) -> None:
        """One that this session asked for has ended; the session may be over."""
        asked = self._asked.get(session)
        if asked:
            key = asked.pop()
            self._by_key[key] -= 1
            if not self._by_key[key]:
                del self._by_key[key]
            if not asked:
                del self._asked[session]
