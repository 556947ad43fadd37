"""UTC as text that sorts as the times do."""

import functools
import re
from datetime import UTC, datetime

_PART_OF_A_DATE = re.compile(r"\d{4}(-\d\d)?")


def utc_text(utc_ns: int | None) -> str | None:
    """ISO 8601 with microseconds and Z, of nanoseconds since 1970; None for a year beyond 1 to 9999.

    >>> utc_text(1_700_000_000_123_456_789)
    '2023-11-14T22:13:20.123456Z'
    """
    if utc_ns is None:
        return None
    second = _second_text(utc_ns // 1_000_000_000)
    return None if second is None else f"{second}.{utc_ns % 1_000_000_000 // 1000:06d}Z"


def utc_ns_of(moment: str | datetime) -> int:
    """Nanoseconds since 1970 of a time, or of ISO 8601 text, to a microsecond; UTC where it has no zone. Of a year or
    a month it is the begin.

    >>> utc_ns_of("2023-11-14T23:13:20.5+01:00")
    1700000000500000000
    >>> utc_text(utc_ns_of("2023-11")), utc_text(utc_ns_of("2023"))
    ('2023-11-01T00:00:00.000000Z', '2023-01-01T00:00:00.000000Z')

    Raises:
        ValueError: the text is no such time.
    """
    try:
        found = datetime.fromisoformat(_whole_date(moment)) if isinstance(moment, str) else moment
        since = (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC) - datetime(
            1970, 1, 1, tzinfo=UTC
        )
    except OverflowError as error:
        raise ValueError(str(error)) from error
    return (since.days * 86_400 + since.seconds) * 1_000_000_000 + since.microseconds * 1000


def _whole_date(moment: str) -> str:
    return moment + "-01-01"[len(moment) - 4 :] if _PART_OF_A_DATE.fullmatch(moment) else moment


@functools.lru_cache(64)
def _second_text(utc_s: int) -> str | None:
    """Up to the second, in which hundreds of episodes may be committed."""
    try:
        return f"{datetime.fromtimestamp(utc_s, UTC):%Y-%m-%dT%H:%M:%S}"
    except (ValueError, OverflowError, OSError):
        return None
