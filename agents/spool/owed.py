"""What is owed: changes of the disk that it would not make when they were due, tried again until it does."""

import logging
from collections.abc import Callable

from sensorium.errors import SpoolError

log = logging.getLogger(__name__)


class Owed:
    """Each change is named, and harmless to repeat. May be called from any thread."""

    def __init__(self) -> None:
        self._changes: dict[str, Callable[[], object]] = {}

    def __bool__(self) -> bool:
        return bool(self._changes)

    def do(self, what: str, change: Callable[[], object]) -> bool:
        """Make a change, or note that it is owed; whether it is made."""
        try:
            change()
        except (SpoolError, OSError) as error:
            if what not in self._changes:
                log.error("spool: %s: %s; tried again until it can be done", what, error)
            self._changes[what] = change
            return False
        if self._changes.pop(what, None) is not None:
            log.warning("spool: %s: done at last", what)
        return True

    def again(self) -> bool:
        """Try what is owed; whether nothing is any more."""
        for what, change in list(self._changes.items()):
            self.do(what, change)
        return not self._changes
