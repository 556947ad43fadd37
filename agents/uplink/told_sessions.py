"""Told sessions: what the log says of each that began and ended; of ends of one cause a line now and then."""

import logging

from sensorium.link.lines import SeldomLog

log = logging.getLogger(__name__)


class ToldSessions:
    """`last_error` is why the last one ended, or could not begin; "" while one is open."""

    def __init__(self, seldom: SeldomLog) -> None:
        self.last_error = ""
        self._seldom = seldom
        self._said = ""
        self._is_first = True

    def ended(self, why: str, cause: str) -> None:
        """One has ended, or could not begin: that is said unless it was said last, or of its cause just now."""
        self.last_error = why
        if why != self._said and self._seldom.say(cause, f"uplink: {why}"):
            self._said = why

    def begun(self, url: str) -> None:
        """One has begun: that is said, but where the end of the one before was not."""
        if self._said or self._is_first:
            log.info("uplink: session with %s", url)
        self.last_error = self._said = ""
        self._is_first = False
