"""Logs as JSON: one object a line, for whoever collects logs."""

import json
import logging
import sys
from datetime import UTC, datetime


class JsonLines(logging.Formatter):
    """`utc`, `level`, `logger`, `message`, and `error` where there is a traceback to tell.

    >>> record = logging.LogRecord("a", logging.INFO, "", 1, "%s lost", ("one",), None)
    >>> record.created = 0.5
    >>> JsonLines().format(record)
    '{"utc": "1970-01-01T00:00:00.500000Z", "level": "info", "logger": "a", "message": "one lost"}'
    """

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        said = {"utc": at, "level": record.levelname.lower(), "logger": record.name, "message": record.getMessage()}
        if record.exc_info:
            said["error"] = self.formatException(record.exc_info)
        return json.dumps(said, ensure_ascii=False, default=str)


def logs_json() -> bool:
    """Whether this process logs so."""
    return any(isinstance(each.formatter, JsonLines) for each in logging.getLogger().handlers)


def tell(line: str, level: int = logging.INFO, before: str = "") -> None:
    """Write a line that is for whoever watches to standard error, as an object where logs are such, else behind
    `before`."""
    forms = [each.formatter for each in logging.getLogger().handlers if isinstance(each.formatter, JsonLines)]
    if forms:
        said = {"name": "sensorium", "levelno": level, "levelname": logging.getLevelName(level), "msg": line}
        sys.stderr.write(forms[0].format(logging.makeLogRecord(said)) + "\n")
    else:
        sys.stderr.write(f"{before}{line}\n")
