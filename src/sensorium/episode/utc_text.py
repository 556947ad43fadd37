"""UTC as text that sorts as the times do."""

from datetime import UTC, datetime


def utc_text(utc_ns: int | None) -> str | None:
    """ISO 8601 with microseconds and Z, of nanoseconds since 1970; None for a year beyond 1 to 9999.

    >>> utc_text(1_700_000_000_123_456_789)
    '2023-11-14T22:13:20.123456Z'
    """
    if utc_ns is None:
        return None
    try:
        moment = datetime.fromtimestamp(utc_ns // 1_000_000_000, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{utc_ns % 1_000_000_000 // 1000:06d}Z"
