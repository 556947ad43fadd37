"""Spans around events: pre-roll, post-roll, extension, and disjointness, for the triggers that know events."""

from sensorium.agents.triggers.trigger import FOREVER_NS, EpisodeSpan, Placement, Trigger

KEPT_SPANS = 64


class EventSpans:
    """Events come with their stamps; `horizon_ns` is how far they are known: none comes before it any more.

    A span begins `pre_roll_ns` before its event, but not before the previous one's end nor in time that was
    already decided to be in none.

    >>> spans = EventSpans(pre_roll_ns=10, post_roll_ns=5, max_ns=100)
    >>> spans.place(80).decided
    False
    >>> spans.fire(100)
    >>> spans.advance(100)
    >>> spans.place(80).span is None, spans.place(95).span.end_ns
    (True, 106)
    """

    def __init__(self, pre_roll_ns: int, post_roll_ns: int, max_ns: int) -> None:
        self._pre_roll_ns = pre_roll_ns
        self._post_roll_ns = post_roll_ns
        self._max_ns = max_ns
        self.reset()

    def reset(self) -> None:
        """Forget everything: the clock was set back."""
        for span in getattr(self, "_spans", []):
            span.closed = True
        self._spans: list[EpisodeSpan] = []
        self.seen_ns = -FOREVER_NS
        self._horizon_ns = -FOREVER_NS
        # Time that was answered for with "in none": its samples are gone, so that no later span may begin in it. One
        # would by its pre-roll, or by the event of a stream that had ended and is back.
        self._out_until_ns = -FOREVER_NS

    @property
    def current(self) -> EpisodeSpan | None:
        """The span that is not closed."""
        return self._spans[-1] if self._spans and not self._spans[-1].closed else None

    def fire(self, at_ns: int, event: str = "") -> None:
        """An event: extend the span that it falls in, or begin one."""
        current = self.current
        if current is not None and at_ns < current.end_ns:
            current.end_ns = max(current.end_ns, self._end(current.start_ns, at_ns))
        else:
            start_ns = self._start(at_ns)
            end_ns = self._end(start_ns, at_ns)
            if start_ns < end_ns:  # else all that it would keep was already decided
                self._begin(start_ns, end_ns, event)

    def open(self, at_ns: int, event: str) -> EpisodeSpan:
        """Begin a span that lasts until it is told to close, or its maximum."""
        start_ns = self._start(at_ns)
        return self._begin(start_ns, start_ns + self._max_ns, event)

    def close(self, at_ns: int) -> None:
        """End the current span `post_roll_ns` after `at_ns`, if it lasts that long; what was placed in it stays."""
        current = self.current
        if current is not None:
            current.end_ns = min(
                current.end_ns, max(at_ns, self._horizon_ns, current.start_ns) + self._post_roll_ns + 1
            )
            current.closed = True

    def saw(self, stamp_ns: int) -> None:
        """No stamp later than the latest of these is asked for yet."""
        self.seen_ns = max(self.seen_ns, stamp_ns)

    def advance(self, horizon_ns: int) -> None:
        """No event comes before `horizon_ns` any more; FOREVER_NS while the streams that decide have ended."""
        if self._horizon_ns == FOREVER_NS > horizon_ns:  # back: a pre-roll ends where it has
            self._out_until_ns = max(self._out_until_ns, horizon_ns)
        self._horizon_ns = horizon_ns
        current = self.current
        if current is not None and horizon_ns >= current.end_ns:
            current.closed = True

    def place(self, stamp_ns: int) -> Placement:
        """See `Trigger.place`."""
        following_ns = FOREVER_NS
        for span in reversed(self._spans):
            if span.start_ns <= stamp_ns < span.end_ns:
                return Placement(span.end_ns, span)
            if stamp_ns >= span.end_ns:
                break
            following_ns = span.start_ns
        if following_ns < FOREVER_NS:
            return Placement(following_ns)
        safe_ns = self._horizon_ns - self._pre_roll_ns
        if self._horizon_ns == FOREVER_NS:
            # None comes for now, but the streams that decide may be back: only what was seen is answered for.
            safe_ns = max(stamp_ns, self.seen_ns) + 1
        if stamp_ns < safe_ns:
            self._out_until_ns = max(self._out_until_ns, safe_ns)
            return Placement(safe_ns)
        return Placement(FOREVER_NS, decided=False)

    def _start(self, at_ns: int) -> int:
        previous_ns = self._spans[-1].end_ns if self._spans else -FOREVER_NS
        # While the streams that decide had ended nobody watched: the event that they come back with has no pre-roll.
        reach_ns = 0 if self._horizon_ns == FOREVER_NS else self._pre_roll_ns
        return max(at_ns - reach_ns, previous_ns, self._out_until_ns)

    def _end(self, start_ns: int, at_ns: int) -> int:
        return min(start_ns + self._max_ns, at_ns + self._post_roll_ns + 1)

    def _begin(self, start_ns: int, end_ns: int, event: str) -> EpisodeSpan:
        if self._spans:
            self._spans[-1].closed = True
        span = EpisodeSpan(start_ns, end_ns, event=event)
        self._spans = [*self._spans[-KEPT_SPANS:], span]
        return span


class EventTrigger(Trigger):
    """A trigger that knows events: it tells `spans` of each with `fire`, and with `advance` how far they are known."""

    def __init__(self, spans: EventSpans) -> None:
        self.spans = spans

    def passed(self, stream: str, stamp_ns: int) -> None:
        """What has come may be asked for; one that overrides this calls it."""
        del stream
        self.spans.saw(stamp_ns)

    def place(self, stamp_ns: int) -> Placement:
        """In the span that holds it, once no event can claim it any more."""
        return self.spans.place(stamp_ns)

    def reset(self) -> None:
        """Forget the events of the old clock."""
        self.spans.reset()
