"""The log of an actor: its lines are kept for who asks for its status, to be written where the asker's own are.

What Ray prints of a worker has a prefix of Ray's, and so is no line of whatever form the asker's log has.
"""

import logging
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

MOST_LINES = 1000
"""Of what nobody asks for the latest are kept."""


class KeptLog(logging.Handler):
    """Keeps lines until they are taken, from any thread."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: deque[dict[str, Any]] = deque(maxlen=MOST_LINES)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one line, as plain values."""
        said = record.getMessage()
        if record.exc_info:
            said = f"{said}\n{logging.Formatter().formatException(record.exc_info)}"
        told = {"name": record.name, "levelno": record.levelno, "levelname": record.levelname}
        self._lines.append({**told, "created": record.created, "msg": said})

    def take(self) -> list[dict[str, Any]]:
        """What was kept since."""
        return [self._lines.popleft() for _ in range(len(self._lines))]


def write_here(lines: Iterable[Mapping[str, Any]]) -> None:
    """Log lines in this process that were kept in another, with the times that they have."""
    for each in lines:
        logging.getLogger(each["name"]).handle(logging.makeLogRecord(dict(each)))
