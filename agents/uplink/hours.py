"""Hours of the day, as a device file has them: "22:00-06:00", of local time."""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

_FORM = re.compile(r"([01]?\d|2[0-4]):([0-5]\d) *- *([01]?\d|2[0-4]):([0-5]\d)")
DAY_MINUTES = 24 * 60


class HoursOfDay(NamedTuple):
    """From minute `begin` of the day to `end`, which may lie in the next: half-open."""

    begin: int
    end: int

    @classmethod
    def of(cls, text: str) -> "HoursOfDay":
        """
        >>> HoursOfDay.of("22:00-06:00")
        HoursOfDay(begin=1320, end=1800)

        Raises:
            ValueError: it is none.
        """
        found = _FORM.fullmatch(text.strip())
        hours = [] if found is None else [int(part) for part in found.groups()]
        if not hours or (hours[0], hours[1]) >= (24, 0) or (hours[2], hours[3]) > (24, 0):
            raise ValueError(f"expected HH:MM-HH:MM, for example 22:00-06:00, got {text!r}")
        begin, end = hours[0] * 60 + hours[1], hours[2] * 60 + hours[3]
        if begin == end:
            raise ValueError(f"{text!r} is no time at all; leave `hours` out for the whole day")
        return cls(begin, end if end > begin else end + DAY_MINUTES)


class Hours:
    """When it is open: in any of these stretches; without any, always."""

    def __init__(self, texts: Sequence[str] | None) -> None:
        texts = texts or ()
        self._stretches = [HoursOfDay.of(text) for text in texts]
        self._texts = ", ".join(text.replace(" ", "") for text in texts)

    def __str__(self) -> str:
        return self._texts

    def is_open(self, at: datetime) -> bool:
        """Whether it is, at a local time."""
        minute = at.hour * 60 + at.minute
        return not self._stretches or any(
            begin <= minute < end or begin <= minute + DAY_MINUTES < end for begin, end in self._stretches
        )

    def next_open(self, at: datetime) -> datetime:
        """That local time itself if it is open then, or the next at which it will be."""
        if self.is_open(at):
            return at
        minute = at.hour * 60 + at.minute
        wait = min((begin - minute) % DAY_MINUTES for begin, _ in self._stretches)
        return at.replace(second=0, microsecond=0) + timedelta(minutes=wait)
